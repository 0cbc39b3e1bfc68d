mod accepted;
mod rejected;

use bencode::{DictEncoder, Encoder, encode_dict};
use hash::{Sha1Digest, Sha256Digest};

use super::*;
use crate::error::TorrentError;
use crate::geometry::PieceIndex;
use crate::layout::LayoutError;
use crate::limits::MAX_PIECES;
use crate::merkle::root_of_piece_layer;

/// A torrent file around an `info`.
fn file(info: &[u8], fill: impl FnOnce(&mut DictEncoder<'_>)) -> Vec<u8> {
    encode_dict(|top| {
        top.raw("info", info);
        fill(top);
    })
}

fn parse(info: &[u8]) -> Result<Torrent> {
    Torrent::parse(&file(info, |_| {}))
}

/// A v1 `info` with `fill` before its usual fields, so that what `fill` names counts.
fn v1(fill: impl FnOnce(&mut DictEncoder<'_>)) -> Vec<u8> {
    encode_dict(|info| {
        fill(info);
        info.bytes("name", "name").int("piece length", 16_384).int("length", 20_000).bytes("pieces", [7; 40]);
    })
}

/// A v1 `info` with files; `pieces` fits their lengths.
fn v1_files(lengths: u64, fill: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let pieces = vec![7; lengths.div_ceil(16_384) as usize * 20];
    encode_dict(|info| {
        info.bytes("name", "name").int("piece length", 16_384).bytes("pieces", pieces).list("files", fill);
    })
}

fn entry(files: &mut Encoder, length: i64, path: &[&str], fill: impl FnOnce(&mut DictEncoder<'_>)) {
    files.dict(|file| {
        file.int("length", length);
        strings(file, "path", path);
        fill(file);
    });
}

fn strings(dict: &mut DictEncoder<'_>, key: &str, items: &[&str]) {
    dict.list(key, |list| {
        items.iter().for_each(|item| {
            list.bytes(item);
        });
    });
}

/// A v2 `info` with `fill` before its usual fields: a file `a` of one piece and `b` of two.
fn v2(fill: impl FnOnce(&mut DictEncoder<'_>)) -> Vec<u8> {
    encode_dict(|info| {
        fill(info);
        info.bytes("name", "name").int("piece length", 16_384).int("meta version", 2).dict("file tree", |tree| {
            leaf(tree, "a", 5, Some(Sha256Digest([1; 32])));
            leaf(tree, "b", 20_000, Some(root_of_b()));
        });
    })
}

fn leaf(tree: &mut DictEncoder<'_>, name: &str, length: i64, root: Option<Sha256Digest>) {
    tree.dict(name, |file| {
        file.dict("", |entry| {
            entry.int("length", length);
            if let Some(root) = root {
                entry.bytes("pieces root", root.0);
            }
        });
    });
}

fn root_of_b() -> Sha256Digest {
    root_of_piece_layer(&[Sha256Digest([2; 32]), Sha256Digest([3; 32])], 16_384)
}

/// A v2 torrent file with the layer of `b`.
fn v2_file(info: &[u8]) -> Vec<u8> {
    let layer = [[2u8; 32], [3; 32]].concat();
    file(info, |top| {
        top.dict("piece layers", |layers| {
            layers.bytes(root_of_b().0, layer);
        });
    })
}

/// A hybrid of the v2 files, with the v1 list that `fill` writes.
fn hybrid(pieces: usize, fill: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let info = v2(|info| {
        info.bytes("pieces", vec![7; pieces * 20]).list("files", fill);
    });
    v2_file(&info)
}

fn agreeing(files: &mut Encoder) {
    entry(files, 5, &["a"], |_| {});
    entry(files, 16_379, &[".pad", "16379"], |file| {
        file.bytes("attr", "p");
    });
    entry(files, 20_000, &["b"], |_| {});
}

#[track_caller]
fn refused(result: Result<Torrent>, field: &str, problem: Problem) {
    assert_eq!(result.unwrap_err(), TorrentError::new(field, problem));
}

fn missing_and_mistyped(
    field: &str,
    key: &str,
    what: &'static str,
    make: impl Fn(&mut dyn FnMut(&mut DictEncoder<'_>)) -> Vec<u8>,
) {
    let mistyped = make(&mut |info| {
        info.raw(key, "le");
    });
    refused(parse(&mistyped), field, Problem::WrongType(what));
}

fn offsets(torrent: &Torrent) -> Vec<(String, u64, u64, bool)> {
    let files = torrent.layout().files().iter();
    files.map(|file| (file.path().to_string(), file.offset(), file.length(), file.is_pad())).collect()
}

proptest::proptest! {
    #[test]
    fn no_mixture_of_fields_makes_it_panic(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                &b"6:length"[..], b"i5e", b"i-1e", b"i99999999999e", b"4:path", b"l1:ae", b"le", b"5:files", b"d", b"l", b"e",
                b"9:file tree", b"0:", b"12:meta versioni2e", b"11:pieces root32:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                b"6:pieces20:aaaaaaaaaaaaaaaaaaaa", b"12:piece lengthi16384e", b"4:name1:n", b"4:attr2:lp", b"1:a",
                b"12:symlink path", b"10:path.utf-8",
            ]),
            0..40,
        ),
    ) {
        let info = [b"d4:name1:n12:piece lengthi16384e".as_slice(), &parts.concat(), b"e"].concat();
        let _ = Torrent::from_info(&info);
        let _ = parse(&info);
    }
}
