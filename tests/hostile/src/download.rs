//! The honest peer: it takes every piece once, compares every byte, and checks every hash.

use crate::{Peer, Target};
use metainfo::BLOCK_SIZE;

/// Requests that it keeps waiting: few enough that a neglected peer would notice.
const WINDOW: usize = 16;

/// A download under way.
pub struct Download<'a> {
    target: &'a Target,
    peer: Peer,
    blocks: Vec<(u32, u32, u32)>,
    asked: usize,
    heard: usize,
    received: Vec<u8>,
}

impl<'a> Download<'a> {
    /// Begins over a peer that has greeted.
    pub fn start(target: &'a Target, mut peer: Peer) -> Download<'a> {
        peer.unchoke();
        let layout = target.torrent().layout();
        let mut blocks = Vec::new();
        for piece in layout.pieces() {
            let piece_size = layout.piece_size(piece);
            let begins = (0..piece_size).step_by(BLOCK_SIZE as usize);
            blocks.extend(begins.map(|begin| (piece.get(), begin, (piece_size - begin).min(BLOCK_SIZE))));
        }
        Download { target, peer, blocks, asked: 0, heard: 0, received: vec![0; target.bytes.len()] }
    }

    /// Takes at most `count` blocks more. True while some are left.
    pub fn step(&mut self, count: usize) -> bool {
        for _ in 0..count.min(self.blocks.len() - self.heard) {
            while self.asked < self.blocks.len() && self.asked < self.heard + WINDOW {
                let (index, begin, length) = self.blocks[self.asked];
                self.peer.request(index, begin, length);
                self.asked += 1;
            }
            let (index, begin, data) = self.peer.block().expect("the good peer's download goes on");
            assert_eq!((index, begin, data.len() as u32), self.blocks[self.heard], "blocks come in their order");
            let at = index as usize * crate::PIECE_LENGTH as usize + begin as usize;
            self.received[at..at + data.len()].copy_from_slice(&data);
            self.heard += 1;
        }
        self.heard < self.blocks.len()
    }

    /// Takes the rest and verifies all of it.
    pub fn finish(&mut self) {
        self.step(usize::MAX);
        let torrent = self.target.torrent();
        for (piece, bytes) in torrent.layout().pieces().zip(self.received.chunks(crate::PIECE_LENGTH as usize)) {
            assert_eq!(Some(hash::sha1(bytes)), torrent.piece_hash_v1(piece), "piece {}", piece.get());
        }
        assert!(self.received == self.target.bytes, "every byte is as it was published");
    }
}
