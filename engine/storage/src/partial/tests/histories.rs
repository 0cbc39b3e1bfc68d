//! Any history of fetching, checkpoints, crashes and other people's hands: whatever a session begins with is right on disk,
//! and nothing that was made durable and left alone is fetched again.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::testing::touch;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    Fetch(prop::sample::Index),
    Spill(prop::sample::Index),
    Checkpoint {
        is_clean: bool,
    },
    /// The session ends at once, and the next one begins.
    Crash,
    /// While nobody looks, the record of an earlier moment comes back.
    OldRecord,
    /// While nobody looks, a file is cut, replaced by a copy, damaged or deleted.
    Hands(prop::sample::Index, u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => any::<prop::sample::Index>().prop_map(Event::Fetch),
        1 => any::<prop::sample::Index>().prop_map(Event::Spill),
        2 => any::<bool>().prop_map(|is_clean| Event::Checkpoint { is_clean }),
        2 => Just(Event::Crash),
        1 => Just(Event::OldRecord),
        1 => (any::<prop::sample::Index>(), 0u8..4).prop_map(|(file, what)| Event::Hands(file, what)),
    ]
}

/// A download and what a careful person knows of it.
struct History {
    download: Download,
    partial: Partial,
    /// Pieces that are durable and that nobody has touched.
    safe: PieceSet,
    /// Records that a crash could leave.
    records: Vec<Vec<u8>>,
}

impl History {
    fn new(version: Version) -> History {
        let download = Download::new(version, &FILES);
        let (partial, resumed) = download.open();
        History { download, partial, safe: resumed.have, records: Vec::new() }
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Fetch(piece) => {
                let pieces = self.download.pieces();
                let mut pool = BufferPool::new(1 << 20);
                let buffers = self.download.piece(*piece.get(&pieces), &mut pool);
                let checked = self.partial.check_and_write(vec![buffers], now_ns()).pop().unwrap();
                assert!(matches!(checked.verdict, Verdict::Good), "{:?}", checked.verdict);
            }
            Event::Spill(piece) => {
                // Wrong bytes, of a piece that nobody has yet.
                let have = self.partial.have();
                let missing: Vec<PieceIndex> =
                    self.download.pieces().into_iter().filter(|piece| !have.contains(*piece)).collect();
                if !missing.is_empty() {
                    let mut block = BufferPool::new(1 << 20).take().unwrap();
                    block.fill(9);
                    self.partial.write_blocks(*piece.get(&missing), &[(0, block)], now_ns()).unwrap();
                }
            }
            Event::Checkpoint { is_clean } => {
                self.partial.checkpoint(now_ns(), *is_clean).unwrap();
                self.safe = self.partial.have();
                let record = fs::read(self.download.options().record.unwrap());
                self.records.push(record.unwrap());
            }
            Event::Crash => self.begin_again(),
            Event::OldRecord => {
                if let Some(first) = self.records.first() {
                    fs::write(self.download.options().record.unwrap(), first).unwrap();
                    self.safe = PieceSet::empty(self.download.torrent.layout());
                }
                self.begin_again();
            }
            Event::Hands(file, what) => {
                let names: Vec<&str> = FILES.iter().map(|(name, _)| *name).filter(|name| *name != "empty").collect();
                let name = *file.get(&names);
                self.lay_hands_on(name, *what);
                let touched = super::file(&self.download.torrent, name);
                self.download.torrent.layout().file_pieces(touched).for_each(|piece| self.safe.remove(piece));
                // The next session takes back what they say of this file, durably, before it touches it.
                self.records.clear();
                self.begin_again();
            }
        }
    }

    fn lay_hands_on(&self, name: &str, what: u8) {
        let path = self.download.path(name);
        match what {
            0 => resize(&path, fs::metadata(&path).unwrap().len() / 2),
            1 => {
                fs::copy(&path, path.with_extension("new")).unwrap();
                fs::rename(path.with_extension("new"), &path).unwrap();
            }
            2 => {
                use std::os::unix::fs::FileExt;
                fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"hand", 1).unwrap();
                touch(&path, (now_ns() / SECOND_NS) as i64 + 1000);
            }
            _ => fs::remove_file(&path).unwrap(),
        }
    }

    fn begin_again(&mut self) {
        let (partial, resumed) = self.download.open();
        self.partial = partial;
        self.assert_right(&resumed.have);
        let pass = self.partial.recheck(&resumed.recheck, Arc::new(Meter::new())).unwrap();
        pass.work();
        pass.finish().unwrap();
        let have = self.partial.have();
        self.assert_right(&have);
        assert!(have.contains_all(&self.safe), "{:?}", resumed.basis);
        self.safe = PieceSet::empty(self.download.torrent.layout());
        if resumed.recheck.is_empty() {
            self.safe = have;
        }
    }

    fn assert_right(&self, pieces: &PieceSet) {
        let bytes = |place: &Place, piece| piece_bytes(self.download.torrent.layout(), place, piece);
        for piece in pieces.iter() {
            assert!(bytes(&self.download.place(), piece) == bytes(&self.download.source.place(), piece), "{piece:?}");
        }
    }
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happened_a_session_begins_with_right_pieces_and_loses_no_safe_ones(
        version in prop::sample::select(&VERSIONS[..]),
        events in prop::collection::vec(event(), 1..24),
    ) {
        let mut history = History::new(version);
        events.iter().for_each(|event| history.take(event));
        history.take(&Event::Crash);
        let all = history.download.pieces();
        let mut have = history.partial.have();
        history.download.fetch(&history.partial, &all, &mut have);
        prop_assert!(history.partial.finish(now_ns()).unwrap().content.is_some());
        prop_assert!(history.download.bad_pieces().is_empty());
    }
}
