//! Torrents made to cost memory, stack or time. The most memory that parsing one takes is counted and must stay a small
//! multiple of its size.

use bencode::{Encoder, encode_dict};
use metainfo::{Magnet, Torrent};

/// How many bytes a byte of torrent may cost while it is read. Names of one letter in a list are the worst case: three bytes
/// of torrent become a node of a path.
const MEMORY_PER_BYTE: u64 = 16;

/// What parsing may take beyond that.
const MEMORY_AT_LEAST: u64 = 64 << 10;

/// Parses and counts. Says whether the torrent was accepted.
fn parse(bytes: &[u8]) -> bool {
    let mut accepted = false;
    let used = allocation_counter::measure(|| accepted = Torrent::parse(bytes).is_ok()).bytes_max;
    let size = bytes.len() as u64;
    assert!(used <= size * MEMORY_PER_BYTE + MEMORY_AT_LEAST, "{used} bytes of memory for {size} bytes");
    accepted
}

fn info(fill: impl FnOnce(&mut bencode::DictEncoder<'_>)) -> Vec<u8> {
    encode_dict(|top| {
        top.dict("info", |info| {
            info.bytes("name", "n").int("piece length", 16_384);
            fill(info);
        })
        .dict("piece layers", |_| {});
    })
}

fn v1_files(count: usize, fill: impl Fn(&mut Encoder, usize)) -> Vec<u8> {
    info(|info| {
        info.bytes("pieces", "").list("files", |files| {
            for index in 0..count {
                files.dict(|file| {
                    file.int("length", 0).list("path", |path| fill(path, index));
                });
            }
        });
    })
}

/// `levels` folders of one letter, and in the innermost what `fill` writes.
fn v2_nested(levels: usize, inner: &[u8]) -> Vec<u8> {
    let tree = [b"d1:a".repeat(levels), inner.to_vec(), b"e".repeat(levels)].concat();
    info(|info| {
        info.int("meta version", 2).raw("file tree", &tree);
    })
}

#[test]
fn a_million_open_brackets_cost_nothing() {
    for bracket in [&b"l"[..], b"d", b"d1:a", b"d4:infod4:info", b"i", b"1"] {
        assert!(!parse(&bracket.repeat(1_000_000)));
    }
}

#[test]
fn deep_trees_are_refused_before_the_stack_is() {
    let empty_file = b"d0:d6:lengthi0eee";
    assert!(parse(&v2_nested(150, empty_file)));
    for levels in [300, 100_000] {
        assert!(!parse(&v2_nested(levels, empty_file)));
    }
}

#[test]
fn many_small_files_cost_what_they_weigh() {
    assert!(parse(&v1_files(50_000, |path, _| drop_it(path.bytes("a")))));
    assert!(parse(&v1_files(50_000, |path, index| drop_it(path.bytes(index.to_string())))));
    // Folders of one letter, none of them shared with the file before.
    let letters = |path: &mut Encoder, index: usize| {
        for level in 0..100 {
            path.bytes([b'a' + ((index >> (level % 8)) & 1) as u8]);
        }
    };
    assert!(parse(&v1_files(2_000, letters)));
    assert!(parse(&v1_files(50_000, |path, _| drop_it(path.bytes(".pad").bytes("0")))));
    assert!(parse(&v1_files(20_000, |path, _| drop_it(path.bytes([0xff; 20])))));
}

#[test]
fn lists_of_nothing_get_no_room() {
    for entry in ["de", "le", "i0e", "0:"] {
        assert!(!parse(&info(|info| {
            info.bytes("pieces", "").raw("files", format!("l{}e", entry.repeat(500_000)));
        })));
        let folder = format!("d{}e", format!("0:{entry}").repeat(300_000));
        assert!(!parse(&info(|info| drop_it(info.int("meta version", 2).raw("file tree", &folder)))));
        assert!(!parse(&encode_dict(|top| {
            top.dict("info", |info| {
                info.bytes("name", "n").int("piece length", 16_384).int("meta version", 2);
                info.raw("file tree", "d1:ad0:d6:lengthi0eeee");
            });
            top.raw("piece layers", &folder);
        })));
    }
    let names: String = (0..200_000).map(|index| format!("6:{index:06}de")).collect();
    assert!(!parse(&info(|info| drop_it(info.int("meta version", 2).raw("file tree", format!("d{names}e"))))));
}

#[test]
fn a_deep_folder_of_many_files_does_not_repeat_its_path() {
    let files: Vec<u8> = (0..20_000).map(|index| format!("{index:05}")).fold(b"d".to_vec(), |mut tree, name| {
        tree.extend(format!("5:{name}d0:d6:lengthi0eee").bytes());
        tree
    });
    assert!(parse(&v2_nested(180, &[files, b"e".to_vec()].concat())));
}

#[test]
fn collisions_by_the_thousand_take_no_square_of_time() {
    // Long names that collide only once they are cut, twice each, and names that the renaming would give.
    let long = |path: &mut Encoder, index: usize| {
        path.bytes(format!("{}{}", "x".repeat(250), index / 2));
    };
    assert!(parse(&v1_files(20_000, long)));
    let taken = |path: &mut Encoder, index: usize| match index % 2 {
        0 => drop_it(path.bytes("a")),
        _ => drop_it(path.bytes(format!("a.{index}"))),
    };
    assert!(parse(&v1_files(60_000, taken)));
}

#[test]
fn files_that_share_a_layer_do_not_multiply_it() {
    let layer = vec![7u8; 32 * 1024];
    let root = metainfo::merkle::root_of_piece_layer(
        &layer.as_chunks::<32>().0.iter().map(|hash| hash::Sha256Digest(*hash)).collect::<Vec<_>>(),
        16_384,
    );
    let bytes = encode_dict(|top| {
        top.dict("info", |info| {
            info.bytes("name", "n").int("piece length", 16_384).int("meta version", 2).dict("file tree", |tree| {
                for index in 0..1000 {
                    tree.dict(format!("{index:04}"), |file| {
                        file.dict("", |entry| {
                            entry.int("length", 1024 * 16_384).bytes("pieces root", root.0);
                        });
                    });
                }
            });
        })
        .dict("piece layers", |layers| drop_it(layers.bytes(root.0, &layer)));
    });
    assert!(parse(&bytes));
}

#[test]
fn lists_of_urls_are_kept_up_to_a_limit() {
    let bytes = encode_dict(|top| {
        top.raw("info", b"d6:lengthi1e4:name1:n12:piece lengthi1e6:pieces20:aaaaaaaaaaaaaaaaaaaae");
        top.list("announce-list", |tiers| {
            (0..50_000).for_each(|index| drop_it(tiers.list(|tier| drop_it(tier.bytes(format!("u{index}"))))));
        });
        top.list("url-list", |urls| (0..50_000).for_each(|index| drop_it(urls.bytes(format!("w{index}")))));
    });
    assert!(parse(&bytes));
    let torrent = Torrent::parse(&bytes).unwrap();
    assert_eq!(torrent.trackers().len(), metainfo::limits::MAX_TRACKERS);
    assert_eq!(torrent.web_seeds().len(), metainfo::limits::MAX_WEB_SEEDS);
}

#[test]
fn a_magnet_of_any_length_costs_little() {
    let start = format!("magnet:?xt=urn:btih:{}", "a".repeat(40));
    for part in ["&tr=http://a/", "&x.pe=a:1", "&so=1,2,3", "&dn=%41", "&&&&", "&xt=urn:btih:"] {
        let link = format!("{start}{}", part.repeat(200_000));
        let used = allocation_counter::measure(|| drop(link.parse::<Magnet>())).bytes_max;
        assert!(used < 1 << 20, "{used} bytes of memory for {part}");
        let short = format!("{start}{}", part.repeat(4000));
        let used = allocation_counter::measure(|| drop(short.parse::<Magnet>())).bytes_max;
        assert!(used < 1 << 20, "{used} bytes of memory for {part}");
    }
}

/// Ends a chain of calls in a closure that returns nothing.
fn drop_it<T>(_: T) {}
