//! What several tests of this crate need. Not part of the crate.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use metainfo::merkle::{piece_layer_from_leaves, root_of_leaves};
use metainfo::{
    BLOCK_SIZE, Builder, CreateOptions, Extent, FileHashes, FileIndex, FileLayout, PieceHashes, PieceIndex,
};
use metainfo::{Torrent, Version};

use crate::{Digests, HashPass, Hashed, Meter, Place, ScanOptions, StorageError, scan};

/// Runs `act` without the rights of root, on a thread of its own: the kernel keeps user ids per thread. As another user it
/// just runs.
pub(crate) fn as_nobody<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    const NOBODY: u32 = 65534;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if rustix::process::geteuid().is_root() {
                let nobody = rustix::process::Uid::from_raw(NOBODY);
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            }
            act()
        });
        thread.join().unwrap()
    })
}

/// Sets a file's modification time by hand, since the file system's clock may stand still between two writes.
pub(crate) fn touch(path: &Path, seconds: i64) {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 5 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::empty()).unwrap();
}

/// Cuts or lengthens a file in place.
pub(crate) fn resize(path: &Path, size: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(size).unwrap();
}

/// Bytes that differ from file to file and from block to block.
pub(crate) fn pattern(seed: u32, size: usize) -> Vec<u8> {
    let mix = |index: u32| index.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503)) >> 11;
    (0..size as u32).map(|index| mix(index) as u8).collect()
}

/// A directory `release` with files in it, inside a temporary directory.
pub(crate) struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    pub(crate) fn new(files: &[(&str, usize)]) -> Tree {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree { directory };
        fs::create_dir(tree.data_dir().join("release")).unwrap();
        for (seed, (name, size)) in files.iter().enumerate() {
            fs::create_dir_all(tree.path(name).parent().unwrap()).unwrap();
            fs::write(tree.path(name), pattern(seed as u32, *size)).unwrap();
            touch(&tree.path(name), 1_000_000);
        }
        tree
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.data_dir().join("release").join(name)
    }

    pub(crate) fn place(&self) -> Place {
        Place::under(self.data_dir())
    }

    pub(crate) fn builder(&self, version: Version, piece_length: u32) -> Builder {
        let files = scan(&self.data_dir().join("release"), &ScanOptions::default()).unwrap();
        Builder::new(options(version, piece_length), files).unwrap()
    }

    /// The torrent of the tree as it is now.
    pub(crate) fn torrent(&self, version: Version, piece_length: u32) -> Arc<Torrent> {
        let builder = self.builder(version, piece_length);
        let hashes = naive(builder.layout(), &self.place(), digests(version));
        Arc::new(Torrent::parse(&builder.finish(&hashes).unwrap()).unwrap())
    }
}

pub(crate) fn options(version: Version, piece_length: u32) -> CreateOptions {
    CreateOptions {
        name: "release".into(),
        version,
        piece_length: Some(piece_length),
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        is_private: false,
        comment: None,
        source: None,
        created_by: None,
        creation_date: None,
    }
}

pub(crate) fn digests(version: Version) -> Digests {
    Digests { v1: version != Version::V2, v2: version != Version::V1 }
}

/// Hashes a layout with the pass under test.
pub(crate) fn hashed(
    layout: &FileLayout,
    place: &Place,
    digests: Digests,
    threads: usize,
) -> Result<Hashed, StorageError> {
    let pass = HashPass::new(layout, place, digests.into(), Arc::new(Meter::new()))?;
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(|| pass.work()))));
    pass.finish()
}

/// The bytes of one piece, pads included, read the plain way.
pub(crate) fn piece_bytes(layout: &FileLayout, place: &Place, piece: PieceIndex) -> Vec<u8> {
    let top = place.top(layout);
    let mut data = Vec::new();
    for extent in layout.extents(layout.whole_piece(piece)) {
        match extent {
            Extent::File { file, offset, size } => {
                let bytes = fs::read(top.path_of(layout.file(file).path())).unwrap();
                data.extend(&bytes[offset as usize..][..size as usize]);
            }
            Extent::Zeros { size } => data.resize(data.len() + size as usize, 0),
        }
    }
    data
}

/// Hashes a layout the plain way: whole files in memory, one piece after the other.
pub(crate) fn naive(layout: &FileLayout, place: &Place, digests: Digests) -> PieceHashes {
    let top = place.top(layout);
    let read = |file: FileIndex| fs::read(top.path_of(layout.file(file).path())).unwrap();
    let mut hashes = PieceHashes::default();
    for piece in layout.pieces().filter(|_| digests.v1) {
        hashes.v1.push(hash::sha1(&piece_bytes(layout, place, piece)));
    }
    for file in layout.file_indices().filter(|file| digests.v2 && crate::content::has_bytes(layout.file(*file))) {
        let leaves: Vec<_> = read(file).chunks(BLOCK_SIZE as usize).map(hash::sha256).collect();
        let layer = piece_layer_from_leaves(&leaves, layout.piece_length());
        hashes.v2.push(FileHashes { file, root: root_of_leaves(&leaves), layer });
    }
    hashes
}
