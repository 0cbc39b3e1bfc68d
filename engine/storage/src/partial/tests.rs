use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use metainfo::{BLOCK_SIZE, Version};
use proptest::prelude::*;

use super::*;
use crate::testing::{Tree, as_nobody, piece_bytes, resize};
use crate::{BufferPool, Meter, Place, Seeded, VerifyPass};

mod crash;
mod disk;
mod histories;

const PIECE: u32 = 32 * 1024;
const VERSIONS: [Version; 3] = [Version::V1, Version::V2, Version::Hybrid];
const FILES: [(&str, usize); 6] =
    [("a", 50_000), ("deep/er/b", 100_000), ("deep/c", 40_000), ("empty", 0), ("tiny", 5), ("z", 70_000)];
const SECOND_NS: u64 = 1_000_000_000;

/// A torrent, its content, and an empty place to download it to.
struct Download {
    source: Tree,
    torrent: Arc<Torrent>,
    target: tempfile::TempDir,
}

impl Download {
    fn new(version: Version, files: &[(&str, usize)]) -> Download {
        let source = Tree::new(files);
        let torrent = source.torrent(version, PIECE);
        Download { source, torrent, target: tempfile::tempdir().unwrap() }
    }

    fn place(&self) -> Place {
        Place::under(self.target.path())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.target.path().join("release").join(name)
    }

    /// Where the record is kept, away from the content.
    fn options(&self) -> PartialOptions {
        PartialOptions { record: Some(self.source.data_dir().join("record")), ..PartialOptions::default() }
    }

    fn open(&self) -> (Partial, Resumed) {
        Partial::open(self.torrent.clone(), &self.place(), &self.options()).unwrap()
    }

    fn refusal(&self) -> StorageError {
        Partial::open(self.torrent.clone(), &self.place(), &self.options()).unwrap_err()
    }

    fn pieces(&self) -> Vec<PieceIndex> {
        self.torrent.layout().pieces().collect()
    }

    /// A piece as it comes from good peers.
    fn piece(&self, piece: PieceIndex, pool: &mut BufferPool) -> PieceBuffers {
        let bytes = piece_bytes(self.torrent.layout(), &self.source.place(), piece);
        let block = |bytes: &[u8]| {
            let mut buffer = pool.take().unwrap();
            // Whatever was in the buffer before must not matter.
            buffer.fill(0xee);
            buffer[..bytes.len()].copy_from_slice(bytes);
            Some(buffer)
        };
        let blocks = bytes.chunks(BLOCK_SIZE as usize).map(block).collect();
        PieceBuffers { piece, blocks, wants_block_hashes: false }
    }

    fn fetch(&self, partial: &Partial, pieces: &[PieceIndex], have: &mut PieceSet) {
        let mut pool = BufferPool::new(16 << 20);
        let pieces = pieces.iter().map(|piece| self.piece(*piece, &mut pool)).collect();
        for checked in partial.check_and_write(pieces, SECOND_NS) {
            assert!(matches!(checked.verdict, Verdict::Good), "{:?}", checked.verdict);
            have.insert(checked.buffers.piece);
        }
    }

    /// What the torrent says of the files on disk, by the pass that seeds trust.
    fn bad_pieces(&self) -> Vec<PieceIndex> {
        let pass = VerifyPass::new(&self.torrent, &self.place(), Arc::new(Meter::new())).unwrap();
        pass.work();
        pass.finish().unwrap().bad_pieces
    }
}

fn file(torrent: &Torrent, name: &str) -> metainfo::FileIndex {
    let layout = torrent.layout();
    layout.file_indices().find(|file| layout.file(*file).path().to_string() == name).unwrap()
}

#[test]
fn a_download_crosses_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Partial>();
    fn is_sent<T: Send>() {}
    is_sent::<PieceBuffers>();
    is_sent::<Checked>();
}

#[test]
fn every_file_is_there_at_its_length_before_the_first_byte() {
    for version in VERSIONS {
        let download = Download::new(version, &FILES);
        let (partial, resumed) = download.open();
        assert!(resumed.have.is_empty() && resumed.recheck.is_empty());
        assert!(matches!(resumed.basis, Basis::NoRecord));
        assert!(partial.wanted().is_full());
        for (name, size) in FILES {
            assert_eq!(fs::metadata(download.path(name)).unwrap().len(), size as u64, "{name}");
        }
        let on_disk = walkdir::WalkDir::new(download.target.path()).into_iter();
        let files = on_disk.filter(|entry| entry.as_ref().unwrap().file_type().is_file()).count();
        assert_eq!(files, FILES.len(), "pads are not stored");
        partial.check_on_disk().unwrap();
    }
}

#[test]
fn what_is_whole_is_served_untouched_by_whoever_may_only_read_it() {
    let download = Download::new(Version::Hybrid, &FILES);
    let files: Vec<_> = FILES.iter().map(|(name, _)| download.source.path(name)).collect();
    let state = |path: &std::path::PathBuf| {
        let found = fs::metadata(path).unwrap();
        (found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec(), found.blocks())
    };
    let before: Vec<_> = files.iter().map(state).collect();
    let have = as_nobody(|| {
        let options = PartialOptions::default();
        let (partial, resumed) = Partial::open(download.torrent.clone(), &download.source.place(), &options).unwrap();
        let pass = partial.recheck(&resumed.recheck, Arc::new(Meter::new())).unwrap();
        pass.work();
        let have = pass.finish().unwrap();
        partial.checkpoint(SECOND_NS, true).unwrap();
        have
    });
    assert!(have.is_full());
    assert_eq!(files.iter().map(state).collect::<Vec<_>>(), before);
}

#[test]
fn space_is_taken_at_once_or_not_at_all() {
    let download = Download::new(Version::V1, &[("a", 1 << 20)]);
    let sparse = PartialOptions { allocate: Allocation::Sparse, ..PartialOptions::default() };
    drop(Partial::open(download.torrent.clone(), &download.place(), &sparse).unwrap());
    let sparse_blocks = fs::metadata(download.path("a")).unwrap().blocks();
    assert_eq!(sparse_blocks, 0);
    drop(download.open());
    let found = fs::metadata(download.path("a")).unwrap();
    assert_eq!(found.len(), 1 << 20);
    // A file system that cannot take space leaves the file sparse.
    assert!(found.blocks() == 0 || found.blocks() * 512 >= 1 << 20, "{}", found.blocks());
}

#[test]
fn a_piece_with_one_wrong_byte_never_reaches_the_disk() {
    for version in VERSIONS {
        let download = Download::new(version, &FILES);
        let (partial, _) = download.open();
        let mut pool = BufferPool::new(16 << 20);
        let pieces = download.pieces();
        let mut buffers: Vec<_> = pieces.iter().map(|piece| download.piece(*piece, &mut pool)).collect();
        for (index, buffers) in buffers.iter_mut().enumerate().filter(|(index, _)| index % 2 == 0) {
            let size = download.torrent.layout().piece_size(buffers.piece) as usize;
            let at = (index * 7919) % size.min(100);
            buffers.blocks[at / BLOCK_SIZE as usize].as_mut().unwrap()[at % BLOCK_SIZE as usize] ^= 1;
        }
        let checked = partial.check_and_write(buffers, SECOND_NS);
        assert_eq!(checked.len(), pieces.len());
        for (index, checked) in checked.iter().enumerate() {
            assert_eq!(matches!(checked.verdict, Verdict::Good), index % 2 == 1, "{version:?} {index}");
            assert_eq!(checked.block_hashes.is_empty(), index % 2 == 1);
            assert!(checked.buffers.blocks.iter().all(Option::is_some), "the buffers come back");
        }
        let bad: Vec<PieceIndex> = pieces.iter().copied().step_by(2).collect();
        assert_eq!(download.bad_pieces(), bad, "{version:?}");
        // Nothing of a bad piece was written: there still are only zeros.
        for piece in bad {
            assert!(piece_bytes(download.torrent.layout(), &download.place(), piece).iter().all(|byte| *byte == 0));
        }
    }
}

#[test]
fn the_block_that_was_wrong_is_found_by_its_hash() {
    for version in VERSIONS {
        let download = Download::new(version, &FILES);
        let (partial, _) = download.open();
        let mut pool = BufferPool::new(16 << 20);
        let piece = file(&download.torrent, "z");
        let piece = download.torrent.layout().file_pieces(piece).nth(1).unwrap();
        let mut bad = download.piece(piece, &mut pool);
        bad.blocks[1].as_mut().unwrap()[77] ^= 4;
        let bad = partial.check_and_write(vec![bad], SECOND_NS).pop().unwrap();
        let mut good = download.piece(piece, &mut pool);
        good.wants_block_hashes = true;
        let good = partial.check_and_write(vec![good], SECOND_NS).pop().unwrap();
        assert!(matches!((bad.verdict, good.verdict), (Verdict::Bad, Verdict::Good)));
        let differ = bad.block_hashes.iter().zip(&good.block_hashes).map(|(bad, good)| bad != good);
        assert_eq!(differ.collect::<Vec<_>>(), [false, true], "{version:?}");
        if version != Version::V1 {
            let leaf = hash::sha256(&bad.buffers.blocks[0].as_ref().unwrap()[..]);
            assert_eq!(good.block_hashes[0], leaf);
        }
    }
}

#[test]
fn wrong_pad_bytes_of_a_hybrid_have_a_culprit() {
    let download = Download::new(Version::Hybrid, &[("a", 20_000), ("b", 40_000)]);
    let (partial, _) = download.open();
    let mut pool = BufferPool::new(16 << 20);
    let piece = download.pieces()[0];
    let good = partial.block_hashes(&download.piece(piece, &mut pool)).unwrap();
    let mut bad = download.piece(piece, &mut pool);
    // Byte 20,000 of the piece is the first of the pad.
    bad.blocks[1].as_mut().unwrap()[20_000 - BLOCK_SIZE as usize] = 1;
    let bad = partial.check_and_write(vec![bad], SECOND_NS).pop().unwrap();
    assert!(matches!(bad.verdict, Verdict::Bad));
    assert_eq!(bad.block_hashes.iter().zip(&good).map(|(bad, good)| bad != good).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_block_of_pad_alone_need_not_be_fetched() {
    // Sixteen KiB of the first file, then sixteen of pad.
    let download = Download::new(Version::Hybrid, &[("a", 10_000), ("b", 40_000)]);
    let (partial, _) = download.open();
    let mut pool = BufferPool::new(16 << 20);
    let mut piece = download.piece(download.pieces()[0], &mut pool);
    piece.blocks[1] = None;
    piece.wants_block_hashes = true;
    let checked = partial.check_and_write(vec![piece], SECOND_NS).pop().unwrap();
    assert!(matches!(checked.verdict, Verdict::Good));
    assert_eq!(checked.block_hashes[1], Sha256Digest::default());
}

#[test]
fn verified_pieces_are_served_while_others_come() {
    let download = Download::new(Version::Hybrid, &FILES);
    let (partial, mut have) = download.open().into_have();
    let seeded = Seeded::new(download.torrent.clone(), partial.content());
    let b = file(&download.torrent, "deep/er/b");
    let pieces: Vec<PieceIndex> = download.torrent.layout().file_pieces(b).collect();
    download.fetch(&partial, &pieces[..1], &mut have);
    let open = seeded.content().file(b).unwrap();
    download.fetch(&partial, &pieces[1..], &mut have);
    // Our own writes moved the time of the file; that is no change.
    crate::testing::touch(&download.path("deep/er/b"), 5);
    open.check_unchanged().unwrap();
    seeded.content().check_on_disk().unwrap();
    let mut bytes = vec![0; 100_000];
    open.read_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, fs::read(download.source.path("deep/er/b")).unwrap());
}

#[test]
fn zeros_stay_holes_only_where_that_is_wanted_and_nothing_else_stands_there() {
    let download = Download::new(Version::V1, &[("a", 10 * PIECE as usize)]);
    let mut bytes = fs::read(download.source.path("a")).unwrap();
    bytes[2 * PIECE as usize..6 * PIECE as usize].fill(0);
    fs::write(download.source.path("a"), &bytes).unwrap();
    let torrent = download.source.torrent(Version::V1, PIECE);
    let download = Download { torrent, ..download };
    let sparse = PartialOptions { allocate: Allocation::Sparse, ..PartialOptions::default() };
    let (partial, _) = Partial::open(download.torrent.clone(), &download.place(), &sparse).unwrap();
    // What a spilled block left at the place of zeros is written over.
    let mut pool = BufferPool::new(1 << 20);
    let mut wrong = pool.take().unwrap();
    wrong.fill(7);
    partial.write_blocks(download.pieces()[3], &[(1, wrong)], SECOND_NS).unwrap();
    download.fetch(&partial, &download.pieces(), &mut PieceSet::empty(download.torrent.layout()));
    assert!(fs::read(download.path("a")).unwrap() == bytes);
    let blocks = fs::metadata(download.path("a")).unwrap().blocks();
    assert!(blocks * 512 <= 7 * u64::from(PIECE) || blocks * 512 >= 10 * u64::from(PIECE), "{blocks}");
}

/// A v1 torrent whose pieces are no multiple of a block, as old ones are.
fn odd_torrent(source: &Tree, files: &[(&str, usize)], piece_length: usize) -> Arc<Torrent> {
    let content: Vec<u8> = files.iter().flat_map(|(name, _)| fs::read(source.path(name)).unwrap()).collect();
    let pieces: Vec<u8> = content.chunks(piece_length).flat_map(|piece| hash::sha1(piece).0).collect();
    let bytes = bencode::encode_dict(|dict| {
        dict.dict("info", |info| {
            info.list("files", |list| {
                for (name, size) in files {
                    list.dict(|file| {
                        file.int("length", *size as i64);
                        file.list("path", |path| {
                            path.bytes(name);
                        });
                    });
                }
            });
            info.bytes("name", "release");
            info.int("piece length", piece_length as i64);
            info.bytes("pieces", &pieces);
        });
    });
    Arc::new(Torrent::parse(&bytes).unwrap())
}

#[test]
fn pieces_that_are_no_multiple_of_a_block_are_pieces_too() {
    let files = [("a", 30_000), ("b", 1), ("c", 123_456)];
    for piece_length in [1000, 16_385, 50_001] {
        let source = Tree::new(&files);
        let torrent = odd_torrent(&source, &files, piece_length);
        let download = Download { source, torrent, target: tempfile::tempdir().unwrap() };
        let (partial, mut have) = download.open().into_have();
        download.fetch(&partial, &download.pieces(), &mut have);
        assert!(have.is_full() && download.bad_pieces().is_empty());
    }
}

/// What is done to a file, and what is said of it then.
type Fate = (&'static str, fn(&Path));

#[test]
fn a_file_that_is_cut_replaced_or_deleted_under_way_is_an_error_with_its_name() {
    let fates: [Fate; 3] = [
        ("was truncated from 100000 to 10 bytes while in use", |path| resize(path, 10)),
        ("was replaced by another file while in use", |path| {
            fs::copy(path, path.with_extension("new")).unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        }),
        ("no such file", |path| fs::remove_file(path).unwrap()),
    ];
    for (said, fate) in fates {
        let download = Download::new(Version::V1, &FILES);
        let (partial, mut have) = download.open().into_have();
        let all = download.pieces();
        download.fetch(&partial, &all[..2], &mut have);
        fate(&download.path("deep/er/b"));
        let error = partial.check_on_disk().unwrap_err().to_string();
        assert!(error.contains("deep/er/b: ") && error.ends_with(said), "{error}");
        partial.close_files();
        let mut pool = BufferPool::new(16 << 20);
        let checked = partial.check_and_write(vec![download.piece(all[2], &mut pool)], SECOND_NS).pop().unwrap();
        let Verdict::Failed(error) = checked.verdict else { panic!("{:?}", checked.verdict) };
        assert!(error.to_string().contains("deep/er/b: "), "{error}");
        assert!(!error.is_full());
    }
}

/// Pieces in any order, in groups of any size, with any of their blocks spilled first.
fn fetched_in_any_order(version: Version, files: &[(String, usize)], order: &[(usize, u8)], group: usize) {
    let names: Vec<(&str, usize)> = files.iter().map(|(name, size)| (name.as_str(), *size)).collect();
    let download = Download::new(version, &names);
    let (partial, mut have) = download.open().into_have();
    let mut pool = BufferPool::new(64 << 20);
    let mut pieces = download.pieces();
    order.iter().filter(|_| !order.is_empty()).for_each(|(at, _)| {
        let at = at % pieces.len();
        pieces.swap(0, at);
    });
    for (nth, pieces) in pieces.chunks(group).enumerate() {
        let buffers = pieces.iter().enumerate().map(|(index, piece)| {
            let mut buffers = download.piece(*piece, &mut pool);
            let spills = order.get(nth * group + index).map_or(0, |(_, spills)| *spills);
            for (number, block) in buffers.blocks.iter_mut().enumerate().filter(|(number, _)| spills >> number & 1 > 0)
            {
                partial.write_blocks(*piece, &[(number as u32, block.take().unwrap())], SECOND_NS).unwrap();
            }
            buffers
        });
        let buffers = buffers.collect();
        for checked in partial.check_and_write(buffers, SECOND_NS) {
            assert!(matches!(checked.verdict, Verdict::Good), "{:?}", checked.verdict);
            have.insert(checked.buffers.piece);
            checked.buffers.blocks.into_iter().flatten().for_each(|block| pool.give_back(block));
        }
    }
    assert!(have.is_full());
    for (name, _) in names {
        assert_eq!(fs::read(download.path(name)).unwrap(), fs::read(download.source.path(name)).unwrap(), "{name}");
    }
    partial.check_on_disk().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn whatever_the_layout_and_order_the_files_are_the_content(
        version in prop::sample::select(&VERSIONS[..]),
        sizes in prop::collection::vec(prop_oneof![Just(0usize), 1usize..20_000, 30_000usize..140_000], 1..8),
        order in prop::collection::vec((any::<usize>(), any::<u8>()), 0..24),
        group in 1usize..20,
    ) {
        let named = |(index, size): (usize, &usize)| (format!("d{}/f{index}", index % 3), *size);
        let files: Vec<_> = sizes.iter().enumerate().map(named).collect();
        if sizes.iter().any(|size| *size > 0) {
            fetched_in_any_order(version, &files, &order, group);
        }
    }
}

trait IntoHave {
    fn into_have(self) -> (Partial, PieceSet);
}

impl IntoHave for (Partial, Resumed) {
    fn into_have(self) -> (Partial, PieceSet) {
        (self.0, self.1.have)
    }
}
