//! What a shard knows of the page cache, piece by piece: who may be sent from the map. Asks the kernel, remembers the
//! answer for a while, and notices what was thrown out.

use crate::disk::CachePolicy;
use crate::limits::{EVICTION_HORIZON, WHOLE_PIECE_BYTES};
use metainfo::{BlockRange, Extent, PieceIndex};
use std::time::Duration;
use storage::{OpenFile, Seeded};

/// For each piece what was last seen of its pages: when, in ticks of the shard's clock (four years of them), and in the
/// lowest bit whether all of them were resident. Zero if nobody has looked.
pub(crate) struct Resident(Box<[u32]>);

/// Of the times in [`Resident`].
const TICK_MS: u128 = 64;

/// What is known of a torrent's pages, and how it is found out.
pub(crate) struct View<'a> {
    pub(crate) resident: &'a mut Resident,
    pub(crate) cache: &'a mut CachePolicy,
    pub(crate) now: Duration,
}

impl View<'_> {
    /// Whether the pages of a block's extent are known to be in the page cache. Asks about the whole piece first: its
    /// other blocks are wanted next.
    pub(crate) fn is_resident(
        &mut self,
        seeded: &Seeded,
        open: &OpenFile,
        block: BlockRange,
        (offset, size): (u64, u64),
    ) -> bool {
        let piece = block.piece();
        let known = self.resident.answer(piece, self.cache.residency_ttl(self.now), self.now);
        if known == Some(true) {
            return true;
        }
        let layout = seeded.torrent().layout();
        let mut extents = layout.extents(layout.whole_piece(piece));
        let is_asked_whole = known.is_none() && layout.piece_size(piece) <= WHOLE_PIECE_BYTES;
        if let (true, Some(Extent::File { offset, size, .. }), None) = (is_asked_whole, extents.next(), extents.next())
        {
            let whole = self.ask(seeded, open, piece, (offset, size));
            self.resident.remember(piece, whole, self.now);
            if whole {
                return true;
            }
        }
        let is_there = self.ask(seeded, open, piece, (offset, size));
        if known.is_none() {
            self.resident.remember(piece, false, self.now);
        }
        is_there
    }

    /// Whether pages may be thrown out between the answer and the send.
    pub(crate) fn is_moving(&self) -> bool {
        self.cache.is_moving(self.now)
    }

    /// Asks the kernel. What has been thrown out although it is wanted again so soon tells about the page cache.
    fn ask(&mut self, seeded: &Seeded, open: &OpenFile, piece: PieceIndex, (offset, size): (u64, u64)) -> bool {
        let Some(residency) = open.residency(offset, size) else { return false };
        if residency.is_full() {
            self.cache.note_look(residency.total_pages, 0, self.now);
            // Asked after the pages: what is on its way was then already on its way.
            return !seeded.is_filling(piece);
        }
        let was_there = self.resident.answer(piece, EVICTION_HORIZON, self.now);
        let missing_pages = residency.total_pages - residency.resident_pages;
        let evicted_pages = match was_there {
            Some(true) => missing_pages,
            Some(false) => residency.evicted_pages.min(missing_pages),
            None => 0,
        };
        self.cache.note_look(residency.total_pages, evicted_pages, self.now);
        false
    }
}

impl Resident {
    /// Nobody has looked at any of so many pieces.
    pub(crate) fn new(piece_count: u32) -> Resident {
        Resident(vec![0; piece_count as usize].into_boxed_slice())
    }

    /// Whether all of the piece was resident, if somebody has looked less than `ttl` ago.
    pub(crate) fn answer(&self, piece: PieceIndex, ttl: Duration, now: Duration) -> Option<bool> {
        let seen = *self.0.get(piece.get() as usize)?;
        let age = ticks(now).saturating_sub(seen >> 1);
        (seen != 0 && age <= ticks(ttl)).then_some(seen & 1 == 1)
    }

    /// Remembers whether all of the piece is resident.
    pub(crate) fn remember(&mut self, piece: PieceIndex, whole: bool, now: Duration) {
        if let Some(seen) = self.0.get_mut(piece.get() as usize) {
            *seen = ticks(now) << 1 | u32::from(whole);
        }
    }
}

fn ticks(time: Duration) -> u32 {
    // Never zero: that means that nobody has looked.
    (time.as_millis() / TICK_MS) as u32 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use metainfo::{FileIndex, Torrent};
    use std::sync::Arc;
    use storage::{Content, Place};

    const PIECE: u32 = 256 * 1024;

    /// A file of four pieces, and a look at it.
    struct Fixture {
        dir: tempfile::TempDir,
        seeded: Arc<Seeded>,
        resident: Resident,
        cache: CachePolicy,
        now: Duration,
    }

    impl Fixture {
        fn new() -> Fixture {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("f");
            std::fs::write(&path, vec![1; 4 * PIECE as usize]).unwrap();
            std::fs::File::open(&path).unwrap().sync_all().unwrap();
            let hashes = "h".repeat(80);
            let info = format!("d6:lengthi{}e4:name1:f12:piece lengthi{PIECE}e6:pieces80:{hashes}e", 4 * PIECE);
            let torrent = Arc::new(Torrent::from_info(info.as_bytes()).unwrap());
            let content = Content::open(torrent.layout(), &Place::under(dir.path())).unwrap();
            let seeded = Arc::new(Seeded::new(torrent, content));
            let (resident, cache, now) = (Resident::new(4), CachePolicy::default(), Duration::ZERO);
            Fixture { dir, seeded, resident, cache, now }
        }

        fn file(&self) -> FileIndex {
            self.seeded.torrent().layout().file_indices().next().unwrap()
        }

        /// Whether the `n`-th block of 16 KiB of the piece may be sent from the map.
        fn is_resident(&mut self, piece: u32, n: u32) -> bool {
            let block = self.seeded.torrent().layout().block(piece, n * 16 * 1024, 16 * 1024).unwrap();
            let at = (u64::from(piece * PIECE + block.begin()), u64::from(block.size()));
            let open = self.seeded.content().file(self.file()).unwrap();
            let mut view = View { resident: &mut self.resident, cache: &mut self.cache, now: self.now };
            view.is_resident(&self.seeded, &open, block, at)
        }

        fn warm(&self) {
            std::fs::read(self.dir.path().join("f")).unwrap();
        }

        fn cool(&self) {
            let file = std::fs::File::open(self.dir.path().join("f")).unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }

        fn is_pressed(&mut self) -> bool {
            let pieces: Vec<_> = self.seeded.torrent().layout().pieces().collect();
            let rounds = (0..8).map(|round| self.now + Duration::from_secs(round));
            !rounds.into_iter().all(|now| pieces.iter().all(|piece| self.cache.admits(*piece, 1, now)))
        }
    }

    #[test]
    fn pages_that_are_thrown_out_while_they_are_wanted_say_that_memory_is_short() {
        let mut fixture = Fixture::new();
        fixture.cool();
        assert!(!fixture.is_resident(0, 0), "cold, and nobody knows for how long");
        assert!(!fixture.is_pressed(), "content that is read for the first time says nothing");
        fixture.warm();
        fixture.now = Duration::from_secs(10);
        assert!(fixture.is_resident(0, 0));
        assert!(fixture.is_resident(0, 1));
        fixture.cool();
        fixture.now = Duration::from_secs(11);
        assert!(fixture.is_resident(0, 0), "what was seen a moment ago is believed");
        fixture.now = Duration::from_secs(20);
        assert!(!fixture.is_resident(0, 0));
        assert!(fixture.is_pressed());
    }

    #[test]
    fn under_pressure_the_kernel_is_asked_again_soon() {
        let mut fixture = Fixture::new();
        fixture.warm();
        assert!(fixture.is_resident(1, 0));
        fixture.cache.note_look(100, 100, fixture.now);
        fixture.cool();
        fixture.now += Duration::from_millis(200);
        assert!(!fixture.is_resident(1, 0));
    }

    #[test]
    fn a_piece_that_is_being_read_is_not_taken_for_resident() {
        let mut fixture = Fixture::new();
        fixture.warm();
        let piece = fixture.seeded.torrent().layout().piece(2).unwrap();
        let filling = fixture.seeded.begin_filling(piece);
        assert!(!fixture.is_resident(2, 0), "its pages may be there and still empty");
        assert!(fixture.is_resident(3, 0), "another piece is not concerned");
        drop(filling);
        fixture.now += Duration::from_secs(3);
        assert!(fixture.is_resident(2, 0));
    }

    #[test]
    fn pieces_in_part_are_asked_about_block_by_block() {
        let mut fixture = Fixture::new();
        fixture.cool();
        let open = fixture.seeded.content().file(fixture.file()).unwrap();
        open.read_at(&mut [0; 16 * 1024], u64::from(PIECE)).unwrap();
        assert!(fixture.is_resident(1, 0));
        assert!(!fixture.is_resident(1, 1));
        assert!(fixture.is_resident(1, 0));
    }
}
