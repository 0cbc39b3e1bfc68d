//! What is refused, each with the field and the reason.

use super::*;

#[test]
fn what_is_no_torrent_at_all() {
    let whole = "torrent file";
    let not_bencode = |offset, kind| Problem::NotBencode(bencode::DecodeError { offset, kind });
    refused(Torrent::parse(b""), whole, not_bencode(0, ErrorKind::Truncated));
    refused(Torrent::parse(b"<html>"), whole, not_bencode(0, ErrorKind::NotAValue(b'<')));
    refused(Torrent::parse(b"le"), whole, Problem::WrongType("a dictionary"));
    refused(Torrent::parse(b"de"), "info", Problem::Missing);
    refused(Torrent::parse(b"d4:infolee"), "info", Problem::WrongType("a dictionary"));
    refused(Torrent::parse(b"d4:infoi1ee"), "info", Problem::WrongType("a dictionary"));
    let long = format!("d4:infod6:lengthi{}eee", "9".repeat(100));
    refused(Torrent::parse(long.as_bytes()), whole, not_bencode(16, ErrorKind::IntegerTooLong));
    let deep = [b"d4:info".repeat(300), b"de".to_vec()].concat();
    let error = Torrent::parse(&deep).unwrap_err();
    assert!(matches!(error.problem(), Problem::NotBencode(error) if error.kind == ErrorKind::TooDeep(MAX_DEPTH)));
}

#[test]
fn data_behind_the_end() {
    let info = v1(|_| {});
    let bytes = file(&info, |_| {});
    let trailing = |offset| Problem::NotBencode(bencode::DecodeError { offset, kind: ErrorKind::TrailingData });
    refused(Torrent::parse(&[&bytes[..], b"x"].concat()), "torrent file", trailing(bytes.len()));
    // Of metadata from peers not even a line end is left over: every byte is hashed.
    refused(Torrent::from_info(&[&info[..], b"\n"].concat()), "info", trailing(info.len()));
}

#[test]
fn fields_that_are_missing_or_of_another_type() {
    let empty = encode_dict(|info| {
        info.int("piece length", 16_384);
    });
    refused(parse(b"de"), "info.piece length", Problem::Missing);
    refused(parse(&empty), "info.pieces", Problem::Missing);
    let no_name = b"d6:lengthi1e12:piece lengthi1e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    refused(parse(no_name), "info.name", Problem::Missing);
    let no_length = b"d4:name1:n12:piece lengthi1e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    refused(parse(no_length), "info.length", Problem::Missing);
    for (key, what) in
        [("piece length", "an integer"), ("pieces", "a string"), ("name", "a string"), ("length", "an integer")]
    {
        missing_and_mistyped(&format!("info.{key}"), key, what, |fill| v1(|info| fill(info)));
    }
    missing_and_mistyped("info.files", "files", "a list", |_| {
        v1(|info| {
            info.int("files", 1);
        })
    });
    missing_and_mistyped("info.meta version", "meta version", "an integer", |fill| v2(|info| fill(info)));
    missing_and_mistyped("info.file tree", "file tree", "a dictionary", |fill| v2(|info| fill(info)));
    let no_tree = v1(|info| {
        info.int("meta version", 2);
    });
    refused(parse(&no_tree), "info.file tree", Problem::Missing);
}

#[test]
fn piece_lengths_that_make_no_sense() {
    let range = |found, least| Problem::OutOfRange { found, least, most: MAX_PIECE_LENGTH };
    for found in [0, -1, i64::MIN, i64::MAX, i64::from(MAX_PIECE_LENGTH) + 1, 1 << 32] {
        refused(
            parse(&v1(|info| {
                info.int("piece length", found);
            })),
            "info.piece length",
            range(found, 1),
        );
    }
    for found in [-16_384, 0, 8192, 1, i64::from(MAX_PIECE_LENGTH) * 2] {
        let info = v2(|info| {
            info.int("piece length", found);
        });
        refused(parse(&info), "info.piece length", range(found, MIN_V2_PIECE_LENGTH));
    }
    let info = v2(|info| {
        info.int("piece length", 16_385);
    });
    refused(parse(&info), "info.piece length", Problem::NotAPowerOfTwo(16_385));
}

#[test]
fn versions_from_the_future_before_anything_else() {
    for version in [0, 1, 3, -2] {
        let info = v2(|info| {
            info.int("meta version", version).int("piece length", -5);
        });
        refused(parse(&info), "info.meta version", Problem::UnknownVersion(version));
    }
}

#[test]
fn hashes_that_do_not_match_the_size() {
    for found in [0, 20, 39, 41, 60] {
        let info = v1(|info| {
            info.bytes("pieces", vec![7; found]);
        });
        let problem = Problem::WrongSize { found_bytes: found as u64, needed_bytes: 40 };
        refused(parse(&info), "info.pieces", problem);
    }
}

#[test]
fn sizes_that_are_negative_or_overflow() {
    refused(
        parse(&v1(|info| {
            info.int("length", -1);
        })),
        "info.length",
        Problem::Negative,
    );
    let negative = v1_files(1, |files| {
        entry(files, 1, &["a"], |_| {});
        entry(files, -5, &["b"], |_| {});
    });
    refused(parse(&negative), "info.files[1].length", Problem::Negative);
    let sum = v1_files(1, |files| (0..3).for_each(|_| entry(files, i64::MAX, &["a"], |_| {})));
    refused(parse(&sum), "info", Problem::Layout(LayoutError::TooLarge));
    let large = v1(|info| {
        info.int("length", (1 << 53) + 1).int("piece length", i64::from(MAX_PIECE_LENGTH));
    });
    refused(parse(&large), "info", Problem::Layout(LayoutError::TooLarge));
    let pieces = v1(|info| {
        info.int("length", i64::from(MAX_PIECES) + 1).int("piece length", 1);
    });
    refused(parse(&pieces), "info", Problem::Layout(LayoutError::TooManyPieces));
    let tree = v2(|info| {
        info.dict("file tree", |tree| leaf(tree, "a", -1, None));
    });
    refused(parse(&tree), "info.file tree/a.length", Problem::Negative);
    let tree = v2(|info| {
        info.dict("file tree", |tree| leaf(tree, "a", i64::MAX, Some(Sha256Digest([1; 32]))));
    });
    refused(parse(&tree), "info", Problem::Layout(LayoutError::TooLarge));
}

#[test]
fn lists_of_files_that_are_none() {
    let files = |fill: &dyn Fn(&mut Encoder)| parse(&v1_files(1, |files| fill(files)));
    refused(files(&|_| {}), "info.files", Problem::NoFiles);
    refused(
        files(&|files| {
            files.int(1);
        }),
        "info.files[0]",
        Problem::WrongType("a dictionary"),
    );
    refused(
        files(&|files| {
            files.raw("de");
        }),
        "info.files[0].length",
        Problem::Missing,
    );
    refused(
        files(&|files| {
            files.raw("d6:lengthi1ee");
        }),
        "info.files[0].path",
        Problem::Missing,
    );
    let strings = Problem::WrongType("a list of strings");
    refused(
        files(&|files| {
            files.raw("d6:lengthi1e4:path1:ae");
        }),
        "info.files[0].path",
        strings,
    );
    refused(
        files(&|files| {
            files.raw("d6:lengthi1e4:pathli1eee");
        }),
        "info.files[0].path",
        strings,
    );
    refused(files(&|files| entry(files, 1, &[], |_| {})), "info.files[0].path", Problem::NoFiles);
}

#[test]
fn trees_that_are_none() {
    let tree = |fill: &dyn Fn(&mut DictEncoder<'_>)| {
        parse(&v2(|info| {
            info.dict("file tree", |tree| fill(tree));
        }))
    };
    refused(tree(&|_| {}), "info.file tree", Problem::NoFiles);
    refused(
        tree(&|tree| {
            tree.raw("a", "de");
        }),
        "info.file tree",
        Problem::NoFiles,
    );
    refused(
        tree(&|tree| {
            tree.int("a", 1);
        }),
        "info.file tree/a",
        Problem::WrongType("a dictionary"),
    );
    refused(
        tree(&|tree| {
            tree.raw("a", "le");
        }),
        "info.file tree/a",
        Problem::WrongType("a dictionary"),
    );
    refused(
        tree(&|tree| {
            tree.raw("a", "d0:lee");
        }),
        "info.file tree/a",
        Problem::WrongType("a dictionary"),
    );
    refused(
        tree(&|tree| {
            tree.raw("", "d6:lengthi0ee");
        }),
        "info.file tree",
        Problem::FileAndFolder,
    );
    let both = "d0:d6:lengthi0ee1:bd0:d6:lengthi0eeee";
    refused(
        tree(&|tree| {
            tree.raw("a", both);
        }),
        "info.file tree/a",
        Problem::FileAndFolder,
    );
    let both = "d1:bd0:d6:lengthi0eee0:d6:lengthi0eee";
    refused(
        tree(&|tree| {
            tree.raw("a", both);
        }),
        "info.file tree/a",
        Problem::FileAndFolder,
    );
    refused(
        tree(&|tree| {
            tree.raw("a", "d0:dee");
        }),
        "info.file tree/a.length",
        Problem::Missing,
    );
}

#[test]
fn roots_that_are_missing_or_of_another_size() {
    let root = |root: &str| {
        let file = format!("d0:d6:lengthi5e{root}ee");
        parse(&v2(|info| {
            info.dict("file tree", |tree| {
                tree.raw("a", &file);
            });
        }))
    };
    let field = "info.file tree/a.pieces root";
    refused(root(""), field, Problem::Missing);
    refused(root("11:pieces rooti1e"), field, Problem::WrongType("a string"));
    let size = Problem::WrongSize { found_bytes: 3, needed_bytes: 32 };
    refused(root("11:pieces root3:abc"), field, size);
}

#[test]
fn layers_that_are_missing_or_wrong() {
    let info = v2(|_| {});
    let field = format!("piece layers[{}]", root_of_b());
    let layers = |fill: &dyn Fn(&mut DictEncoder<'_>)| {
        Torrent::parse(&file(&info, |top| {
            top.dict("piece layers", |layers| fill(layers));
        }))
    };
    refused(parse(&info), "piece layers", Problem::Missing);
    let list = file(&info, |top| {
        top.raw("piece layers", "le");
    });
    refused(Torrent::parse(&list), "piece layers", Problem::WrongType("a dictionary"));
    refused(layers(&|_| {}), &field, Problem::NoLayer);
    refused(
        layers(&|layers| {
            layers.int(root_of_b().0, 1);
        }),
        &field,
        Problem::WrongType("a string"),
    );
    for found in [0, 32, 63, 65, 96] {
        let size = Problem::WrongSize { found_bytes: found as u64, needed_bytes: 64 };
        refused(
            layers(&|layers| {
                layers.bytes(root_of_b().0, vec![2; found]);
            }),
            &field,
            size,
        );
    }
    refused(
        layers(&|layers| {
            layers.bytes(root_of_b().0, [2; 64]);
        }),
        &field,
        Problem::WrongRoot,
    );
    let stray = |layers: &mut DictEncoder<'_>| {
        layers.bytes(root_of_b().0, [[2u8; 32], [3; 32]].concat()).bytes([9; 32], [0; 64]);
    };
    let field = format!("piece layers[{}]", Sha256Digest([9; 32]));
    refused(layers(&stray), &field, Problem::StrayLayer);
    let short = |layers: &mut DictEncoder<'_>| {
        layers.bytes(root_of_b().0, [[2u8; 32], [3; 32]].concat()).bytes("", "");
    };
    refused(layers(&short), "piece layers[]", Problem::StrayLayer);
}

#[test]
fn hybrids_whose_parts_disagree() {
    let check = |field: &str, what, pieces, fill: &dyn Fn(&mut Encoder)| {
        refused(Torrent::parse(&hybrid(pieces, |files| fill(files))), field, Problem::PartsDisagree(what));
    };
    let pad = |files: &mut Encoder| entry(files, 16_379, &[".pad", "16379"], |_| {});
    check("info.files[2]", "the paths differ", 3, &|files| {
        entry(files, 5, &["a"], |_| {});
        pad(files);
        entry(files, 20_000, &["c"], |_| {});
    });
    check("info.files[2]", "the paths differ", 3, &|files| {
        entry(files, 5, &["a"], |_| {});
        pad(files);
        entry(files, 20_000, &["b", "b"], |_| {});
    });
    check("info.files[0]", "the lengths differ", 3, &|files| {
        entry(files, 6, &["a"], |_| {});
    });
    check("info.files[1]", "the file starts at another piece, or within one", 2, &|files| {
        entry(files, 5, &["a"], |_| {});
        entry(files, 20_000, &["b"], |_| {});
    });
    check("info.file tree", "the v1 part has fewer files", 1, &|files| entry(files, 5, &["a"], |_| {}));
    check("info.files[3]", "the v2 part has fewer files", 3, &|files| {
        agreeing(files);
        entry(files, 0, &["z"], |_| {});
    });
    check("info.files[2]", "the file starts at another piece, or within one", 4, &|files| {
        entry(files, 5, &["a"], |_| {});
        entry(files, 32_763, &[".pad", "32763"], |_| {});
        entry(files, 20_000, &["b"], |_| {});
    });
    check("info.files", "the v1 part has more pieces", 4, &|files| {
        agreeing(files);
        entry(files, 12_769, &[".pad", "12769"], |_| {});
    });
    let link = |files: &mut Encoder| {
        files.raw("d4:attr1:l6:lengthi0e4:pathl1:ae12:symlink pathl1:bee");
    };
    let info = encode_dict(|info| {
        info.bytes("name", "n").int("piece length", 16_384).int("meta version", 2).bytes("pieces", "");
        info.list("files", link).dict("file tree", |tree| leaf(tree, "a", 0, None));
    });
    let bytes = file(&info, |top| {
        top.raw("piece layers", "de");
    });
    refused(Torrent::parse(&bytes), "info.files[0]", Problem::PartsDisagree("one is a symbolic link"));
    let single = v2(|info| {
        info.bytes("pieces", [7; 20]).int("length", 5);
    });
    refused(parse(&single), "info.files[0]", Problem::PartsDisagree("the paths differ"));
}

#[test]
fn errors_say_field_and_reason() {
    let error = parse(&v1(|info| {
        info.int("piece length", 0);
    }))
    .unwrap_err();
    assert_eq!(error.to_string(), "info.piece length: is 0, but must be from 1 to 536870912");
    assert_eq!(error.field(), "info.piece length");
}
