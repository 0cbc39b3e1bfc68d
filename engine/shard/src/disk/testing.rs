//! A torrent with content, served by nobody yet, for tests of what is read and sent.

use crate::torrents::{Served, Slot, TorrentTask, Torrents};
use mesh::{TorrentCounters, TorrentId};
use metainfo::BlockRange;
use std::sync::Arc;
use storage::{Content, Place, Seeded};
use swarm::{SuperSeeding, Terms};

/// The files of one torrent, each of other bytes, and the torrents of a shard that has it alone.
pub(crate) struct Fixture {
    _dir: tempfile::TempDir,
    pub(crate) torrents: Torrents,
    pub(crate) slot: Slot,
}

impl Fixture {
    /// Files of these sizes in one torrent of pieces of `piece_length`.
    pub(crate) fn new(file_sizes: &[u32], piece_length: u32) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let release = dir.path().join("release");
        std::fs::create_dir(&release).unwrap();
        let mut files = String::new();
        for (index, size) in file_sizes.iter().enumerate() {
            let name = format!("f{index:03}");
            std::fs::write(release.join(&name), vec![index as u8; *size as usize]).unwrap();
            std::fs::File::open(release.join(&name)).unwrap().sync_all().unwrap();
            files += &format!("d6:lengthi{size}e4:pathl{}:{name}ee", name.len());
        }
        let hashes_size = file_sizes.iter().sum::<u32>().div_ceil(piece_length) as usize * 20;
        let hashes = "h".repeat(hashes_size);
        let info =
            format!("d5:filesl{files}e4:name7:release12:piece lengthi{piece_length}e6:pieces{hashes_size}:{hashes}e");
        let torrent = Arc::new(metainfo::Torrent::from_info(info.as_bytes()).unwrap());
        let content = Content::open(torrent.layout(), &Place::under(dir.path())).unwrap();
        let seeded = Arc::new(Seeded::new(torrent, content));
        let terms = Arc::new(Terms::new(None, SuperSeeding::Off));
        let mut torrents = Torrents::default();
        let task = TorrentTask { seeded, counters: Arc::new(TorrentCounters::new(1)), terms };
        let slot = torrents.add(TorrentId(7), task, false);
        Fixture { _dir: dir, torrents, slot }
    }

    pub(crate) fn served(&self) -> &Served {
        self.torrents.get(self.slot).unwrap()
    }

    pub(crate) fn block(&self, piece: u32, begin: u32, size: u32) -> BlockRange {
        self.served().torrent().layout().block(piece, begin, size).unwrap()
    }
}
