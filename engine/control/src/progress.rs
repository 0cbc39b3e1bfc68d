//! How far a fetch is: what there was when it began, what the shards have counted since, and how fast.

use crate::status::{FetchStatus, RateMeter};
use mesh::TorrentCounters;
use metainfo::FileLayout;
use std::time::Duration;

/// The pieces of a torrent, and those that are wanted or there, as bits as on the wire: the highest bit of the first byte
/// is piece 0.
pub(crate) struct Extent {
    pub(crate) pieces: u64,
    pub(crate) bytes: u64,
}

/// One fetch in numbers.
#[derive(Default)]
pub(crate) struct Progress {
    /// Pieces of the torrent.
    total_pieces: u64,
    /// Those that are wanted, and their bytes.
    wanted_pieces: u64,
    wanted_bytes: u64,
    /// Of the wanted ones, those that were there when the fetch began.
    resumed_pieces: u64,
    resumed_bytes: u64,
    /// Bytes that are neither wanted nor there.
    unwanted_bytes: u64,
    received: RateMeter,
    sent: RateMeter,
}

impl Progress {
    /// Notes what there is at the beginning.
    pub(crate) fn begin(&mut self, layout: &FileLayout, have: &[u8], wanted: &[u8]) {
        let count = |is_meant: &dyn Fn(bool, bool) -> bool| {
            let meant = layout.pieces().filter(|piece| is_meant(bit(have, piece.get()), bit(wanted, piece.get())));
            meant.fold(Extent { pieces: 0, bytes: 0 }, |sum, piece| Extent {
                pieces: sum.pieces + 1,
                bytes: sum.bytes + u64::from(layout.piece_size(piece)),
            })
        };
        let wanted = count(&|_, is_wanted| is_wanted);
        let resumed = count(&|is_there, is_wanted| is_there && is_wanted);
        (self.wanted_pieces, self.wanted_bytes) = (wanted.pieces, wanted.bytes);
        (self.resumed_pieces, self.resumed_bytes) = (resumed.pieces, resumed.bytes);
        self.unwanted_bytes = count(&|is_there, is_wanted| !is_there && !is_wanted).bytes;
        self.total_pieces = layout.piece_count().into();
    }

    /// Bytes that are neither wanted nor there: with none, the torrent is complete once everything wanted is there.
    pub(crate) fn unwanted_bytes(&self) -> u64 {
        self.unwanted_bytes
    }

    /// Bytes that are wanted and lacking.
    pub(crate) fn left_bytes(&self, counters: &TorrentCounters) -> u64 {
        // The home shard knows best, but its counter is zero until it has begun.
        let reckoned = self.wanted_bytes.saturating_sub(self.resumed_bytes).saturating_sub(counters.verified_bytes());
        reckoned.max(counters.left_bytes())
    }

    /// Takes the totals once in a while, so that there is a rate.
    pub(crate) fn handle_tick(&mut self, now: Duration, counters: &TorrentCounters) {
        self.received.handle_total(now, counters.payload_received_bytes());
        self.sent.handle_total(now, counters.payload_sent_bytes());
    }

    pub(crate) fn status(&mut self, now: Duration, counters: &TorrentCounters) -> FetchStatus {
        FetchStatus {
            total_pieces: self.total_pieces,
            wanted_pieces: self.wanted_pieces,
            verified_pieces: (self.resumed_pieces + counters.verified_pieces()).min(self.wanted_pieces),
            wanted_bytes: self.wanted_bytes,
            left_bytes: self.left_bytes(counters),
            resumed_bytes: self.resumed_bytes,
            received_bytes: counters.payload_received_bytes(),
            wasted_bytes: counters.wasted_bytes(),
            failed_pieces: counters.failed_pieces(),
            known_peers: counters.known_peers(),
            download_bytes_per_s: self.received.rate(now),
            upload_bytes_per_s: self.sent.rate(now),
            web_seeds: Vec::new(),
        }
    }
}

/// Whether piece `index` is among the bits.
fn bit(bits: &[u8], index: u32) -> bool {
    bits.get(index as usize / 8).is_some_and(|byte| byte & (0x80 >> (index % 8)) != 0)
}
