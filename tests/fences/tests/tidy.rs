//! Rules about source files that no lint knows.

use std::fs;
use std::path::Path;

use spillway_fences::{Source, crates, sources, workspace_folder};

/// Before its tests a file is something a person reads in one sitting.
const MAX_LINES: usize = 500;

/// The crates that may hold unsafe code, where every use is argued.
const UNSAFE_ALLOWED: [&str; 3] = ["spillway-hash", "spillway-storage", "spillway-shard"];

/// How far above an unsafe block its argument may begin.
const SAFETY_WITHIN_LINES: usize = 12;

/// The engine's folders that hold pure code, and what their code may not name.
const PURE: [&str; 11] =
    ["bencode", "hash", "metainfo", "wire", "tracker", "dht", "settings", "swarm", "storage", "mesh", "publish"];
const IMPURE_NAMES: [&str; 9] = [
    "Instant::now",
    "SystemTime::now",
    "thread::spawn",
    "thread::sleep",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "RandomState",
    "process::Command",
];
const FILE_NAMES: [&str; 3] = ["std::fs", "fs::File", "OpenOptions"];

/// Names that say nothing.
const EMPTY_WORDS: [&str; 5] = ["chunk", "manager", "util", "common", "helper"];

fn all_sources() -> Vec<Source> {
    let root = workspace_folder();
    let found: Vec<Source> =
        ["engine", "tools", "benches", "tests"].iter().flat_map(|folder| sources(&root.join(folder))).collect();
    assert!(found.len() > 30, "the source files are found");
    found
}

/// The line without its comment, for rules about code.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

#[test]
fn a_file_is_read_in_one_sitting() {
    let long: Vec<String> = all_sources()
        .iter()
        .filter(|source| source.lines.len() > MAX_LINES)
        .map(|source| format!("{}: {} lines", source.path.display(), source.lines.len()))
        .collect();
    assert!(long.is_empty(), "more than {MAX_LINES} lines before the tests:\n{}", long.join("\n"));
}

/// A `foo/tests.rs` is said by its name.
#[test]
fn a_file_says_what_lives_in_it() {
    let silent: Vec<String> = all_sources()
        .iter()
        .filter(|source| !source.head.starts_with("//!") && !source.path.ends_with("tests.rs"))
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "these do not begin with //!:\n{}", silent.join("\n"));
}

#[test]
fn unsafe_code_is_forbidden_outside_its_three_crates() {
    for package in crates() {
        if UNSAFE_ALLOWED.contains(&package.name.as_str()) {
            continue;
        }
        for root in &package.roots {
            let text = fs::read_to_string(root).unwrap();
            assert!(text.contains("#![forbid(unsafe_code)]"), "{} lacks the fence", root.display());
        }
    }
}

#[test]
fn every_unsafe_is_argued_just_above() {
    for source in all_sources() {
        for (number, line) in source.lines.iter().enumerate() {
            let code = code(line);
            let is_block = has_word(code, "unsafe") && (code.contains('{') || code.contains("unsafe impl"));
            let is_declaration = code.contains("unsafe fn") || code.contains("unsafe extern");
            if !is_block || is_declaration {
                continue;
            }
            let above = &source.lines[number.saturating_sub(SAFETY_WITHIN_LINES)..=number];
            let argued = above.iter().any(|line| line.contains("SAFETY:"));
            assert!(argued, "{}:{}: unsafe without SAFETY above", source.path.display(), number + 1);
        }
    }
}

#[test]
fn a_pure_crate_names_no_clock_socket_thread_or_random_state() {
    let engine = workspace_folder().join("engine");
    for name in PURE {
        for source in sources(&engine.join(name).join("src")) {
            let text = source.lines.iter().map(|line| code(line)).collect::<Vec<_>>().join("\n");
            let wrong = IMPURE_NAMES.iter().find(|word| text.contains(**word));
            assert!(wrong.is_none(), "{} names {wrong:?}", source.path.display());
            let file = FILE_NAMES.iter().find(|word| text.contains(**word));
            assert!(file.is_none() || name == "storage", "{} names {file:?}", source.path.display());
        }
    }
}

#[test]
fn a_name_says_something() {
    for source in all_sources() {
        let stem = source.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        assert_says_something(&stem, &source.path);
        for line in &source.lines {
            let mut words = code(line).split_whitespace().skip_while(|word| !DECLARES.contains(word));
            if let (Some(_), Some(name)) = (words.next(), words.next()) {
                assert_says_something(name.split(['(', '<', '{', ':', ';']).next().unwrap_or_default(), &source.path);
            }
        }
    }
}

const DECLARES: [&str; 6] = ["struct", "enum", "trait", "mod", "fn", "type"];

/// Splits `CamelCase` and `snake_case` into words and refuses the empty ones.
fn assert_says_something(name: &str, path: &Path) {
    let spaced: String = name.chars().flat_map(|c| if c.is_uppercase() { vec![' ', c] } else { vec![c] }).collect();
    for word in spaced.to_lowercase().split(|c: char| !c.is_alphanumeric()) {
        let singular = word.strip_suffix('s').unwrap_or(word);
        assert!(!EMPTY_WORDS.contains(&singular), "{}: {name} says nothing", path.display());
    }
}
