//! What is found in the wild and understood.

use super::*;

#[test]
fn the_original_bytes_of_info_are_hashed_whatever_their_order() {
    let info = b"d6:pieces20:aaaaaaaaaaaaaaaaaaaa4:name1:n6:lengthi1e12:piece lengthi16384e1:zi1e1:ai2ee";
    let bytes = [b"d4:info".as_slice(), info, b"8:announce3:a:be"].concat();
    let torrent = Torrent::parse(&bytes).unwrap();
    assert_eq!(torrent.info_bytes(), info);
    assert_eq!(torrent.info_hash_v1(), Some(hash::sha1(info)));
    assert_eq!(torrent.info_hash_v2(), None);
    assert_eq!(torrent.info_hashes().count(), 1);
    assert_eq!(torrent.piece_hash_v1(PieceIndex(0)), Some(Sha1Digest([b'a'; 20])));
    assert_eq!(Torrent::from_info(info).unwrap().info_hash_v1(), torrent.info_hash_v1());
}

#[test]
fn line_ends_behind_the_file_belong_to_nothing() {
    let bytes = file(&v1(|_| {}), |_| {});
    assert!(Torrent::parse(&[&bytes[..], b"\r\n"].concat()).is_ok());
}

#[test]
fn web_seeds_come_as_string_or_list_and_end_in_a_slash_for_folders() {
    let seeds = |info: &[u8], value: &str| {
        Torrent::parse(&file(info, |top| {
            top.raw("url-list", value);
        }))
        .unwrap()
        .web_seeds()
        .to_vec()
    };
    let single = v1(|_| {});
    let folder = v1_files(1, |files| entry(files, 1, &["a"], |_| {}));
    assert_eq!(seeds(&single, "10:http://a/f"), ["http://a/f"]);
    assert_eq!(seeds(&folder, "10:http://a/f"), ["http://a/f/"]);
    assert_eq!(seeds(&folder, "l10:http://a/f11:http://b/g/0:i3e10:http://a/fe"), ["http://a/f/", "http://b/g/"]);
    assert_eq!(seeds(&folder, "l9:items/abce"), ["items/abc/"]);
    for nothing in ["0:", "le", "l0:e", "i1e", "de", "l1:\u{1}e"] {
        assert_eq!(seeds(&single, nothing), [""; 0], "{nothing}");
    }
}

#[test]
fn httpseeds_as_debian_writes_them_are_kept_apart() {
    let bytes =
        file(&v1(|_| {}), |top| strings(top, "httpseeds", &["https://d.example/a.iso", "https://e.example/a.iso"]));
    let torrent = Torrent::parse(&bytes).unwrap();
    assert_eq!(torrent.http_seeds(), ["https://d.example/a.iso", "https://e.example/a.iso"]);
    assert!(torrent.web_seeds().is_empty());
}

#[test]
fn tiers_keep_their_order_and_lose_what_is_empty() {
    let trackers = |value: &str| {
        let bytes = file(&v1(|_| {}), |top| {
            top.bytes("announce", " http://a ").raw("announce-list", value);
        });
        Torrent::parse(&bytes).unwrap().trackers().to_vec()
    };
    assert_eq!(trackers("le"), [["http://a"]]);
    assert_eq!(trackers("ll8:http://bel8:http://aee"), [["http://b"], ["http://a"]]);
    assert_eq!(trackers("ll8:http://bel0:elee"), vec![vec!["http://a"], vec!["http://b"]]);
    assert_eq!(trackers("lleli1ee8:http://cl8:http://c8:http://dee"), [["http://a"], ["http://c"], ["http://d"]]);
    assert_eq!(trackers("i7e"), [["http://a"]]);
}

#[test]
fn pads_are_known_by_attribute_by_bep_47_name_and_by_bitcomet_name() {
    let bitcomet = "_____padding_file_0_if you see this file, please update to BitComet 0.85 or above____";
    let info = v1_files(65_536, |files| {
        entry(files, 6, &["a"], |_| {});
        entry(files, 16_378, &["x", "y"], |file| {
            file.bytes("attr", "xp");
        });
        entry(files, 4, &["b"], |_| {});
        entry(files, 16_380, &[".pad", "16380"], |_| {});
        entry(files, 6, &["c"], |_| {});
        entry(files, 16_378, &[bitcomet], |_| {});
        files.raw("d4:attr1:p6:lengthi10ee");
        entry(files, 16_374, &[".pad", "1"], |_| {});
    });
    let torrent = parse(&info).unwrap();
    let pads: Vec<bool> = torrent.layout().files().iter().map(crate::FileEntry::is_pad).collect();
    // The last is a real file: its name does not say its length.
    assert_eq!(pads, [false, true, false, true, false, true, true, false]);
    assert_eq!(torrent.layout().total_size(), 16 + 16_374);
    assert_eq!(torrent.layout().files()[6].path().to_string(), ".pad/10");
}

#[test]
fn names_in_utf_8_are_preferred_and_other_encodings_show_as_such() {
    let info = v1_files(2, |files| {
        entry(files, 1, &["\u{fffd}"], |file| strings(file, "path.utf-8", &["ordner", "ü"]));
        files.raw(b"d6:lengthi1e4:pathl3:\xb0\xa1ze10:path.utf-8lee");
    });
    let bytes = encode_dict(|top| {
        top.raw("name", b"1:\xff".as_slice()).bytes("name.utf-8", "名");
    });
    let info = [&bytes[..bytes.len() - 1], &info[1..]].concat();
    let torrent = parse(&info).unwrap();
    assert_eq!(torrent.layout().name(), "名");
    let paths: Vec<String> = torrent.layout().files().iter().map(|file| file.path().to_string()).collect();
    assert_eq!(paths, ["ordner/ü", "\u{fffd}\u{fffd}z"]);
    assert_eq!(torrent.layout().disk_path(crate::FileIndex(0)), std::path::PathBuf::from("名/ordner/ü"));
}

#[test]
fn a_name_that_stands_for_nothing_becomes_the_info_hash() {
    for name in ["", "."] {
        let torrent = parse(&v1(|info| {
            info.bytes("name", name);
        }))
        .unwrap();
        assert_eq!(torrent.layout().name(), torrent.info_hash_v1().unwrap().to_string());
    }
    assert_eq!(
        parse(&v1(|info| {
            info.bytes("name", "../x");
        }))
        .unwrap()
        .layout()
        .name(),
        ".._x"
    );
}

#[test]
fn links_keep_targets_inside_and_attributes_hold() {
    let info = v1_files(9, |files| {
        let link = |file: &mut DictEncoder<'_>, target: &[&str]| {
            file.bytes("attr", "lx");
            strings(file, "symlink path", target);
        };
        entry(files, 0, &["in"], |file| link(file, &["d", "f"]));
        entry(files, 0, &["out"], |file| link(file, &["..", "..", "/etc/passwd"]));
        entry(files, 0, &["nowhere"], |file| link(file, &["", "."]));
        entry(files, 9, &["data"], |file| link(file, &["d"]));
        files.raw("d4:attr1:l4:pathl4:bareel12:symlink path".replace("el12", "e12") + "l1:aee");
        entry(files, 0, &["h"], |file| {
            file.bytes("attr", "h?");
        });
    });
    let torrent = parse(&info).unwrap();
    let files = torrent.layout().files();
    let targets: Vec<_> = files.iter().map(|file| file.symlink_target().map(ToString::to_string)).collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(targets, [text("d/f"), text("__/__/_etc_passwd"), None, None, text("a"), None]);
    assert!(files[0].executable() && files[5].hidden() && !files[5].executable());
    assert_eq!(files[3].length(), 9);
}

#[test]
fn notes_are_read_where_they_are_text() {
    let info = v1(|info| {
        info.int("private", 1).bytes("source", "S");
    });
    let bytes = file(&info, |top| {
        top.bytes("comment", b"caf\xe9").bytes("created by", "mk").int("creation date", 1_700_000_000);
    });
    let torrent = Torrent::parse(&bytes).unwrap();
    assert!(torrent.is_private());
    assert_eq!(
        (torrent.source(), torrent.comment(), torrent.created_by()),
        (Some("S"), Some("caf\u{fffd}"), Some("mk"))
    );
    assert_eq!(torrent.creation_date(), Some(1_700_000_000));
    let odd = file(&v1(|_| {}), |top| {
        top.int("comment", 1).bytes("creation date", "x").int("created by", -1);
    });
    let torrent = Torrent::parse(&odd).unwrap();
    assert_eq!((torrent.comment(), torrent.created_by(), torrent.creation_date()), (None, None, None));
}

#[test]
fn v2_files_start_at_pieces() {
    let torrent = Torrent::parse(&v2_file(&v2(|_| {}))).unwrap();
    assert_eq!(torrent.version(), Version::V2);
    assert_eq!(offsets(&torrent), [("a".into(), 0, 5, false), ("b".into(), 16_384, 20_000, false)]);
    assert_eq!(torrent.layout().piece_count(), 3);
    let hashes: Vec<_> = torrent.layout().pieces().map(|piece| torrent.piece_hash_v2(piece).unwrap().0[0]).collect();
    assert_eq!(hashes, [1, 2, 3]);
    assert_eq!(torrent.info_hash_v2(), Some(hash::sha256(torrent.info_bytes())));
}

#[test]
fn info_from_peers_has_no_layers_yet() {
    let torrent = Torrent::from_info(&v2(|_| {})).unwrap();
    assert!(!torrent.has_piece_layers());
    let [a, b] = [0, 1].map(|index| torrent.layout().file_index(index).unwrap());
    assert_eq!(torrent.piece_layer(a), Some(&[Sha256Digest([1; 32])][..]));
    assert_eq!(torrent.piece_layer(b), None);
    assert_eq!(torrent.piece_hash_v2(PieceIndex(1)), None);
}

#[test]
fn one_file_in_a_v2_tree_is_itself_whatever_the_torrent_is_called() {
    let info = encode_dict(|info| {
        info.bytes("name", "release").int("piece length", 16_384).int("meta version", 2);
        info.dict("file tree", |tree| leaf(tree, "a.iso", 5, Some(Sha256Digest([1; 32]))));
    });
    let torrent = Torrent::from_info(&info).unwrap();
    assert!(torrent.layout().is_single_file());
    assert_eq!(torrent.layout().disk_path(crate::FileIndex(0)), std::path::PathBuf::from("a.iso"));
}

#[test]
fn empty_files_and_links_of_a_v2_tree_need_no_root() {
    let info = encode_dict(|info| {
        info.bytes("name", "n").int("piece length", 16_384).int("meta version", 2).dict("file tree", |tree| {
            leaf(tree, "a", 0, None);
            tree.raw("b", "d0:d4:attr1:l12:symlink pathl1:d1:eeee");
            tree.raw("c", "de");
            tree.dict("d", |folder| leaf(folder, "e", 3, Some(Sha256Digest([1; 32]))));
        });
    });
    let torrent = Torrent::from_info(&info).unwrap();
    assert_eq!(offsets(&torrent), [("a".into(), 0, 0, false), ("b".into(), 0, 0, false), ("d/e".into(), 0, 3, false)]);
    assert_eq!(torrent.layout().files()[1].symlink_target().unwrap().to_string(), "d/e");
}

#[test]
fn a_hybrid_has_one_layout_and_both_kinds_of_hashes() {
    let torrent = Torrent::parse(&hybrid(3, agreeing)).unwrap();
    assert_eq!(torrent.version(), Version::Hybrid);
    assert_eq!(torrent.info_hashes().count(), 2);
    assert_eq!(torrent.layout().files()[2].pieces_root(), Some(root_of_b()));
    assert_eq!(torrent.layout().files()[1].pieces_root(), None);
    for piece in torrent.layout().pieces() {
        assert!(torrent.piece_hash_v1(piece).is_some() && torrent.piece_hash_v2(piece).is_some());
    }
    assert_eq!(torrent.magnet().info_hashes().count(), 2);
    // libtorrent pads the last file too.
    let padded = hybrid(3, |files| {
        agreeing(files);
        entry(files, 12_768, &[".pad", "12768"], |file| {
            file.bytes("attr", "p");
        });
    });
    assert_eq!(Torrent::parse(&padded).unwrap().layout().total_size(), 20_005);
}
