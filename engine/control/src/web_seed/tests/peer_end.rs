//! The shard's end of the socket pair, played by a script; and what a script does that no shard would.

use std::collections::HashMap;

use bytes::{Buf, BytesMut};
use metainfo::BlockRange;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use wire::{HANDSHAKE_SIZE, Handshake, Limits, Message, Parsed, PeerExtensions, Reserved, parse, parse_handshake};

use super::server::{Reply, Server};
use super::*;

/// What the web seed says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    Choke,
    Unchoke,
    HaveAll,
    Bitfield(Vec<u8>),
    Piece(u32, u32, Vec<u8>),
    Reject(u32, u32, u32),
    Hello(PeerExtensions),
}

/// The other end.
pub(super) struct PeerEnd {
    stream: UnixStream,
    input: BytesMut,
    limits: Limits,
    pub(super) task: Option<JoinHandle<Ended>>,
}

impl PeerEnd {
    /// Spawns the web seed and shakes hands with it.
    pub(super) async fn meet(seed: &Arc<WebSeed>) -> PeerEnd {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let task = spawn(seed, theirs);
        let mut end = PeerEnd::over(ours, seed.source.torrent.layout().piece_count()).await;
        end.task = Some(task);
        end
    }

    /// Shakes hands with a web seed that is there.
    pub(super) async fn over(stream: UnixStream, piece_count: u32) -> PeerEnd {
        let limits = Limits::leech(piece_count);
        let mut end = PeerEnd { stream, input: BytesMut::new(), limits, task: None };
        let handshake = soon(async {
            loop {
                if let Some(handshake) = parse_handshake(&end.input).unwrap() {
                    break handshake;
                }
                end.stream.read_buf(&mut end.input).await.unwrap();
            }
        })
        .await;
        assert!(handshake.peer_id.0.starts_with(PEER_ID_PREFIX));
        end.input.advance(HANDSHAKE_SIZE);
        let peer_id = wire::PeerId(*b"-XX0001-abcdefghijkl");
        end.raw(&Handshake { peer_id, ..handshake }.encode()).await;
        end
    }

    /// As [`PeerEnd::meet`], past all that a good server's seed says first.
    pub(super) async fn greet(seed: &Arc<WebSeed>) -> PeerEnd {
        let mut end = PeerEnd::meet(seed).await;
        let Said::Hello(hello) = end.next().await else { panic!("the extension handshake comes first") };
        assert_eq!((hello.upload_only, hello.request_queue_limit), (true, Some(peer::MAX_REQUESTS as u32)));
        assert_eq!(end.next().await, Said::HaveAll);
        assert_eq!(end.next().await, Said::Unchoke);
        end
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        soon(self.stream.write_all(bytes)).await.unwrap();
    }

    pub(super) async fn say(&mut self, message: Message<'_>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.raw(&bytes).await;
    }

    pub(super) async fn request(&mut self, blocks: &[BlockRange]) {
        let mut bytes = Vec::new();
        for block in blocks {
            let (index, begin, length) = (block.piece().get(), block.begin(), block.size());
            Message::Request { index, begin, length }.encode(&mut bytes);
        }
        self.raw(&bytes).await;
    }

    /// The next thing that is said.
    pub(super) async fn next(&mut self) -> Said {
        soon(self.try_next()).await.expect("the seed closed")
    }

    /// The same, or `None` if the seed has closed.
    pub(super) async fn try_next(&mut self) -> Option<Said> {
        loop {
            let (said, consumed) = match parse(&self.input, &self.limits).unwrap() {
                Parsed::Incomplete { .. } => {
                    self.input.reserve(1 << 18);
                    if self.stream.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                        return None;
                    }
                    continue;
                }
                Parsed::Skip { .. } => panic!("an unknown message"),
                Parsed::Message { message, consumed } => (said(message), consumed),
            };
            self.input.advance(consumed);
            if said.is_some() {
                return said;
            }
        }
    }

    /// Asks for blocks, `depth` at a time, until each has come, and checks their bytes.
    pub(super) async fn fetch(&mut self, layout: &FileLayout, blocks: &[BlockRange], depth: usize) {
        let mut waiting = blocks.iter();
        let mut due = HashMap::new();
        loop {
            let next: Vec<BlockRange> = waiting.by_ref().take(depth - due.len()).copied().collect();
            due.extend(next.iter().map(|block| ((block.piece().get(), block.begin(), block.size()), *block)));
            self.request(&next).await;
            if due.is_empty() {
                return;
            }
            match self.next().await {
                Said::Piece(index, begin, data) => {
                    let block = due.remove(&(index, begin, data.len() as u32)).expect("it was asked for");
                    assert!(data == block_content(layout, block), "wrong bytes in {block:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits for the answers to so many requests: those that were rejected.
    pub(super) async fn rejects(&mut self, count: usize) -> usize {
        let (mut rejects, mut answers) = (0, 0);
        while answers < count {
            match self.next().await {
                Said::Reject(..) => rejects += 1,
                Said::Piece(..) => {}
                _ => continue,
            }
            answers += 1;
        }
        rejects
    }

    /// Closes this end and waits for the other.
    pub(super) async fn close(self) -> Ended {
        drop(self.stream);
        soon(self.task.unwrap()).await.unwrap()
    }

    /// Waits until the seed has closed its end.
    pub(super) async fn ended(mut self) -> Ended {
        while soon(self.try_next()).await.is_some() {}
        soon(self.task.unwrap()).await.unwrap()
    }
}

fn said(message: Message<'_>) -> Option<Said> {
    Some(match message {
        Message::KeepAlive => return None,
        Message::Choke => Said::Choke,
        Message::Unchoke => Said::Unchoke,
        Message::HaveAll => Said::HaveAll,
        Message::Bitfield(bits) => Said::Bitfield(bits.to_vec()),
        Message::Piece { index, begin, data } => Said::Piece(index, begin, data.to_vec()),
        Message::Reject { index, begin, length } => Said::Reject(index, begin, length),
        Message::Extended { id: 0, payload } => {
            let mut hello = PeerExtensions::default();
            hello.update(payload).unwrap();
            Said::Hello(hello)
        }
        other => panic!("{other:?}"),
    })
}

pub(super) fn spawn(seed: &Arc<WebSeed>, socket: UnixStream) -> JoinHandle<Ended> {
    let seed = Arc::clone(seed);
    tokio::spawn(async move { seed.serve(socket).await })
}

async fn idle_server(sizes: &[u64]) -> (Server, Arc<WebSeed>) {
    let torrent = Arc::new(torrent_of(Version::V1, 1 << 15, sizes));
    let server = Server::start(torrent.layout(), |_| Reply::Stall(0)).await;
    let seed = seed_at(&clients(quick()), torrent, &server.url());
    (server, seed)
}

#[tokio::test]
async fn a_peer_that_asks_for_what_is_not_there_is_a_fault() {
    let (_server, seed) = idle_server(&[100_000]).await;
    for (index, begin, length) in [(4, 0, 1), (0, 0, 0), (0, 1 << 15, 1), (3, 0, 16384), (0, u32::MAX, u32::MAX)] {
        let mut end = PeerEnd::greet(&seed).await;
        end.say(Message::Request { index, begin, length }).await;
        assert!(matches!(end.ended().await, Ended::Protocol(_)), "{index} {begin} {length}");
    }
}

#[tokio::test]
async fn rubbish_and_foreign_handshakes_end_the_peer_and_nothing_else() {
    let (_server, seed) = idle_server(&[100_000]).await;
    let ours = Handshake {
        reserved: Reserved::FAST.with(Reserved::EXTENDED),
        info_hash: seed.source.torrent.info_hashes().next().unwrap(),
        peer_id: wire::PeerId([b'x'; 20]),
    };
    let other_torrent = Handshake { info_hash: hash::InfoHash([9; 20]), ..ours };
    let slow = Handshake { reserved: Reserved::NONE, ..ours };
    let mut garbage = ours.encode().to_vec();
    garbage.extend_from_slice(&[0xff; 100]);
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), other_torrent.encode().into(), slow.encode().into(), garbage] {
        let (mut end, theirs) = UnixStream::pair().unwrap();
        let task = spawn(&seed, theirs);
        end.write_all(&bytes).await.unwrap();
        let mut rest = Vec::new();
        let _ = soon(end.read_to_end(&mut rest)).await;
        assert!(matches!(soon(task).await.unwrap(), Ended::Protocol(_)));
    }
    let (end, theirs) = UnixStream::pair().unwrap();
    let task = spawn(&seed, theirs);
    drop(end);
    assert_eq!(soon(task).await.unwrap(), Ended::PeerClosed);
}

#[tokio::test]
async fn more_requests_than_are_held_are_rejected() {
    let (server, seed) = idle_server(&[1 << 20]).await;
    let layout = seed.source.torrent.layout();
    let mut end = PeerEnd::greet(&seed).await;
    let blocks: Vec<BlockRange> = (0..32)
        .flat_map(|piece| (0..64).map(move |n| (piece, n * 512)))
        .map(|(piece, begin)| layout.block(piece, begin, 512).unwrap())
        .collect();
    end.request(&blocks).await;
    assert_eq!(end.rejects(blocks.len() - peer::MAX_REQUESTS).await, blocks.len() - peer::MAX_REQUESTS);
    assert_eq!(end.close().await, Ended::PeerClosed);
    drop(server);
}

#[tokio::test]
async fn a_cancel_is_answered_by_a_reject_whether_the_block_waits_or_is_under_way() {
    let torrent = Arc::new(torrent_of(Version::V1, 1 << 15, &[1 << 20]));
    let (asked, mut is_asked) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(torrent.layout(), move |request| {
        asked.send(request.range.clone()).unwrap();
        Reply::Stall(0)
    })
    .await;
    let config = WebSeedConfig { connections: 1, ..quick() };
    let seed = seed_at(&clients(config), Arc::clone(&torrent), &server.url());
    let layout = torrent.layout();
    let (first, second) = (layout.block(0, 0, 16384).unwrap(), layout.block(9, 0, 16384).unwrap());
    let cancel = |block: BlockRange| {
        let (index, begin, length) = (block.piece().get(), block.begin(), block.size());
        (Message::Cancel { index, begin, length }, Said::Reject(index, begin, length))
    };
    let mut end = PeerEnd::greet(&seed).await;
    end.request(&[first]).await;
    assert_eq!(soon(is_asked.recv()).await.unwrap(), Some(0..16384));
    // This one waits for the only connection; asked for twice it is still one request.
    end.request(&[second, second, first]).await;
    for block in [second, first] {
        let (message, answer) = cancel(block);
        end.say(message).await;
        assert_eq!(end.next().await, answer);
        // Of what is not asked for there is nothing to say.
        end.say(message).await;
    }
    // The connection is free again, though the server stalls.
    end.request(&[second]).await;
    assert_eq!(soon(is_asked.recv()).await.unwrap(), Some(9 << 15..(9 << 15) + 16384));
    let task = end.task.unwrap();
    task.abort();
    assert!(soon(task).await.is_err());
    assert_eq!(seed.status().state, WebSeedState::Idle);
}

#[test]
fn whatever_a_peer_says_nobody_panics() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_server, seed) = runtime.block_on(idle_server(&[100_000]));
    let message = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        (0u8..24, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(id, body)| {
            let mut bytes = (body.len() as u32 + 1).to_be_bytes().to_vec();
            bytes.push(id);
            bytes.extend(body);
            bytes
        }),
        (0u32..5, 0u32..40_000, 0u32..40_000, any::<bool>()).prop_map(|(index, begin, length, cancels)| {
            let mut bytes = Vec::new();
            match cancels {
                true => Message::Cancel { index, begin, length }.encode(&mut bytes),
                false => Message::Request { index, begin, length }.encode(&mut bytes),
            }
            bytes
        }),
    ];
    proptest!(|(messages in prop::collection::vec(message, 0..20))| {
        runtime.block_on(async {
            let mut end = PeerEnd::greet(&seed).await;
            // The seed may have closed before all of it was said.
            let _ = end.stream.write_all(&messages.concat()).await;
            let ended = end.close().await;
            assert!(matches!(ended, Ended::PeerClosed | Ended::Protocol(_)), "{ended:?}");
        });
    });
}
