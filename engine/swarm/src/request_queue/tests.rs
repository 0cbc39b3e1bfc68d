use super::*;
use proptest::prelude::*;

const HEADER_BYTES: u32 = 13;
const NOW: Duration = Duration::from_secs(5);

/// Four pieces of 64 KiB.
fn layout() -> metainfo::FileLayout {
    let info = format!("d6:lengthi{}e4:name1:f12:piece lengthi65536e6:pieces80:{}e", 4 * 65536, "h".repeat(80));
    metainfo::Torrent::from_info(info.as_bytes()).unwrap().layout().clone()
}

/// Blocks the way peers ask for them: mostly one behind the other, now and then of odd sizes, now and then twice.
fn block() -> impl Strategy<Value = (u32, u32, u32)> {
    prop_oneof![
        4 => (0u32..4, 0u32..4).prop_map(|(piece, n)| (piece, n * 16384, 16384)),
        1 => (0u32..4, 0u32..60_000, 1u32..500),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Push((u32, u32, u32)),
    PushPiece(u32),
    Cancel((u32, u32, u32)),
    Advance(u64),
    DrainAllBut(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        block().prop_map(Step::Push),
        (0u32..4).prop_map(Step::PushPiece),
        block().prop_map(Step::Cancel),
        (1u64..100_000).prop_map(Step::Advance),
        (0u32..4).prop_map(Step::DrainAllBut),
    ]
}

/// The queue without runs.
#[derive(Default)]
struct Naive {
    blocks: Vec<BlockRange>,
    front_sent: u64,
}

impl Naive {
    fn advance(&mut self, sent: u64) -> Advance {
        let mut advance = Advance::default();
        for _ in 0..sent {
            let front = self.blocks[0];
            advance.payload_bytes += u64::from(self.front_sent >= u64::from(HEADER_BYTES));
            self.front_sent += 1;
            if self.front_sent == u64::from(HEADER_BYTES + front.size()) {
                self.blocks.remove(0);
                self.front_sent = 0;
                advance.blocks += 1;
            }
        }
        advance
    }

    fn bytes(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.size() + HEADER_BYTES)).sum::<u64>() - self.front_sent
    }
}

proptest! {
    #[test]
    fn runs_behave_like_a_plain_list(steps in prop::collection::vec(step(), 1..40)) {
        let layout = layout();
        let at = |(piece, begin, size): (u32, u32, u32)| layout.block(piece, begin, size).unwrap();
        let (mut queue, mut naive) = (RequestQueue::default(), Naive::default());
        for step in steps {
            match step {
                Step::Push(block) => {
                    queue.push(at(block), NOW).unwrap();
                    naive.blocks.push(at(block));
                }
                Step::PushPiece(piece) => for n in 0..4 {
                    queue.push(at((piece, n * 16384, 16384)), NOW).unwrap();
                    naive.blocks.push(at((piece, n * 16384, 16384)));
                },
                Step::Cancel(block) => {
                    let from = usize::from(naive.front_sent > 0);
                    let found = naive.blocks.iter().skip(from).position(|queued| *queued == at(block));
                    if let Some(n) = found {
                        naive.blocks.remove(n + from);
                    }
                    prop_assert_eq!(queue.cancel(at(block)), found.is_some());
                }
                Step::Advance(bytes) => {
                    let sent = bytes.min(naive.bytes());
                    let (mut told, mut by_piece) = (0, 0);
                    queue.payload_by_piece(HEADER_BYTES, sent, |_, bytes| by_piece += bytes);
                    let advance = queue.advance(HEADER_BYTES, sent, NOW, |_, blocks| told += blocks);
                    prop_assert_eq!(advance, naive.advance(sent));
                    prop_assert_eq!(by_piece, advance.payload_bytes);
                    prop_assert_eq!(told, advance.blocks);
                }
                Step::DrainAllBut(piece) => {
                    let mut refused = Vec::new();
                    queue.drain(|block| block.piece().get() == piece, |block| refused.push(block));
                    let mut first = naive.front_sent > 0;
                    let mut expected = Vec::new();
                    naive.blocks.retain(|block| {
                        let keep = std::mem::take(&mut first) || block.piece().get() == piece;
                        if !keep {
                            expected.push(*block);
                        }
                        keep
                    });
                    prop_assert_eq!(refused, expected);
                }
            }
            prop_assert_eq!(queue.iter().collect::<Vec<_>>(), naive.blocks.clone());
            prop_assert_eq!(queue.len(), naive.blocks.len());
            prop_assert_eq!(u64::from(queue.front_sent_bytes()), naive.front_sent);
            let all = naive.bytes() + naive.front_sent;
            prop_assert_eq!(queue.message_bytes(HEADER_BYTES, u32::MAX), all);
            let two: u64 = naive.blocks.iter().take(2).map(|block| u64::from(block.size() + HEADER_BYTES)).sum();
            prop_assert_eq!(queue.message_bytes(HEADER_BYTES, 2), two);
            for limit in [two.saturating_sub(1), two, two + 20_000, 40_000] {
                let ends = naive.blocks.iter().scan(0, |end, block| {
                    *end += u64::from(block.size() + HEADER_BYTES);
                    Some(*end)
                });
                let whole = ends.take_while(|end| *end <= limit).last().unwrap_or(0);
                prop_assert_eq!(queue.whole_message_bytes(HEADER_BYTES, limit), whole);
            }
        }
    }
}

#[test]
fn a_full_queue_of_whole_pieces_is_small() {
    let info = format!("d6:lengthi{}e4:name1:f12:piece lengthi1048576e6:pieces640:{}e", 32 << 20, "h".repeat(640));
    let layout = metainfo::Torrent::from_info(info.as_bytes()).unwrap().layout().clone();
    let mut queue = RequestQueue::default();
    for n in 0..2048 {
        queue.push(layout.block(n / 64, n % 64 * 16384, 16384).unwrap(), NOW).unwrap();
    }
    assert!(queue.memory_bytes() <= 4096, "{} bytes", queue.memory_bytes());
    assert!(queue.push(layout.block(0, 0, 1).unwrap(), NOW).is_err(), "and full all the same");
}

#[test]
fn the_wait_counts_from_the_request_even_when_the_clock_wraps() {
    let layout = layout();
    let asked = Duration::from_micros(u64::from(u32::MAX) - 10);
    let mut queue = RequestQueue::default();
    queue.push(layout.block(0, 0, 100).unwrap(), asked).unwrap();
    let mut waits = Vec::new();
    queue.advance(0, 100, asked + Duration::from_micros(250), |wait, blocks| waits.push((wait, blocks)));
    assert_eq!(waits, [(Duration::from_micros(250), 1)]);
}
