use super::*;

/// The askers and the sender of a block.
pub(in crate::download) type Checked = (Vec<u32>, Option<u32>);

impl OpenPieces {
    /// Counts everything anew. Returns the askers and the sender of each block, by piece.
    pub(in crate::download) fn check(&self) -> HashMap<u32, Vec<Checked>> {
        let (mut reserved, mut asked, mut stored) = (0, 0, 0);
        let mut all = HashMap::new();
        for (slot, open) in self.iter() {
            assert_eq!(self.by_piece.get(&open.piece), Some(&slot));
            let count = |which: &dyn Fn(&Block) -> bool| open.blocks.iter().filter(|block| which(block)).count() as u32;
            assert_eq!(open.free_count, count(&Block::is_free));
            assert_eq!(open.stored_count, count(&Block::is_stored));
            assert!(open.blocks.iter().all(|block| !block.is_stored() || block.asker_count() == 0));
            assert!(open.blocks[..open.free_hint as usize].iter().all(|block| !block.is_free()));
            assert!(open.written_count <= open.stored_count);
            assert_eq!(self.with_free.get(open.free_place as usize) == Some(&slot), open.free_count > 0);
            assert!(open.stage == Stage::Blocks || open.is_whole());
            reserved += u64::from(open.block_count() - open.written_count);
            asked += u64::from(open.asked_count());
            stored += u64::from(open.stored_count - open.written_count);
            let block = |at: u32| (open.askers(at).collect(), open.sender(at));
            all.insert(open.piece, (0..open.block_count()).map(block).collect());
        }
        assert_eq!(all.len(), self.by_piece.len());
        assert!(self.with_free.len() <= all.len());
        assert_eq!((self.reserved_blocks, self.asked_blocks, self.stored_blocks), (reserved, asked, stored));
        all
    }
}

#[test]
fn a_block_goes_from_one_state_to_the_next_and_back() {
    let now = Duration::ZERO;
    let mut open = OpenPieces::default();
    let slot = open.open(now, 7, 3);
    assert_eq!((open.ask_next(now, slot, 1), open.ask_next(now, slot, 2)), (Some(0), Some(1)));
    assert!(open.ask(now, slot, 0, 2) && !open.ask(now, slot, 0, 2));
    open.check();
    assert!(!open.unask(slot, 7, 0, 1), "the other is still asked");
    assert!(open.unask(slot, 7, 0, 2));
    assert!(!open.unask(slot, 8, 1, 2), "of another piece");
    assert_eq!(open.ask_next(now, slot, 3), Some(0));
    open.store(now, slot, 0, 40);
    open.check();
    assert_eq!(open.discard(slot, 0), Some(40));
    open.check();
    for block in 0..3 {
        open.store(now, slot, block, 41);
    }
    open.written(slot, 2);
    open.check();
    assert_eq!(open.get(slot).unwrap().only_sender(), Some(41));
    let mut senders = Vec::new();
    open.close(slot, |sender| senders.push(sender));
    assert_eq!(senders, [41; 3]);
    assert!(open.check().is_empty() && open.used_blocks() == 0);
}
