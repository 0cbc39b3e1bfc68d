//! The program as scripts see it: arguments in, text, JSON and exit codes out. Serving is tested by tests/interop.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)] // A test fails by panicking, its set-up too.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with something to publish in it: `release/` of three files, one of them empty.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let release = folder.path().join("release");
        fs::create_dir_all(release.join("sub")).unwrap();
        fs::write(release.join("image.bin"), vec![7; 100_000]).unwrap();
        fs::write(release.join("sub/Ελληνικά.txt"), "text").unwrap();
        fs::write(release.join("empty"), "").unwrap();
        Bench { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes `release.torrent` with these options.
    fn create(&self, options: &[&str]) -> PathBuf {
        let torrent = self.path("release.torrent");
        let paths = [self.path("release"), PathBuf::from("-o"), torrent.clone()];
        let mut arguments: Vec<&Path> = vec![Path::new("create")];
        arguments.extend(paths.iter().map(PathBuf::as_path));
        arguments.extend(options.iter().map(Path::new));
        succeed(&arguments);
        torrent
    }

    fn show(&self, options: &[&str]) -> Value {
        show(&self.create(options))
    }
}

fn run<A: AsRef<Path>>(arguments: &[A]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spillway"));
    command.args(arguments.iter().map(|argument| argument.as_ref().as_os_str()));
    command.output().unwrap()
}

fn succeed<A: AsRef<Path>>(arguments: &[A]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The one line on stderr of a run that fails with exit code 1.
fn fail<A: AsRef<Path>>(arguments: &[A]) -> String {
    let output = run(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: ") && said.matches('\n').count() == 1, "not one error line: {said:?}");
    said.trim_end().to_owned()
}

fn show(torrent: &Path) -> Value {
    serde_json::from_str(&succeed(&[Path::new("show"), torrent, Path::new("--json")])).unwrap()
}

#[test]
fn show_has_the_keys_that_programs_rely_on() {
    let bench = Bench::new();
    let shown = bench.show(&[
        "--announce",
        "http://127.0.0.1:1/announce,udp://127.0.0.1:1/announce",
        "--announce",
        "http://[::1]:1/announce",
        "--web-seed",
        "http://127.0.0.1:2/files/",
        "--private",
        "--comment",
        "a note",
        "--creation-date",
        "1700000000",
    ]);
    assert_eq!(shown["name"], "release");
    assert_eq!(shown["info_hash_v1"].as_str().unwrap().len(), 40);
    assert_eq!(shown["info_hash_v2"].as_str().unwrap().len(), 64);
    assert_eq!(shown["piece_length"], 16_384);
    assert_eq!(shown["piece_count"], 8);
    assert_eq!(shown["total_size"], 100_004);
    assert_eq!(shown["private"], true);
    assert_eq!(shown["trackers"].as_array().unwrap().len(), 2);
    assert_eq!(shown["trackers"][0].as_array().unwrap().len(), 2);
    assert_eq!(shown["trackers"][1][0], "http://[::1]:1/announce");
    assert_eq!(shown["web_seeds"][0], "http://127.0.0.1:2/files/");
    assert_eq!(shown["comment"], "a note");
    assert!(shown["created_by"].as_str().unwrap().starts_with("spillway/"));
    assert_eq!(shown["creation_date"], 1_700_000_000);
    let files: Vec<(&str, u64, bool)> = shown["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| (file["path"].as_str().unwrap(), file["length"].as_u64().unwrap(), file["pad"] == true))
        .filter(|(_, _, pad)| !pad)
        .collect();
    assert_eq!(
        files,
        [("release/empty", 0, false), ("release/image.bin", 100_000, false), ("release/sub/Ελληνικά.txt", 4, false)]
    );
}

#[test]
fn a_single_file_is_shown_under_its_own_name() {
    let bench = Bench::new();
    let torrent = bench.path("one.torrent");
    succeed(&[Path::new("create"), &bench.path("release/image.bin"), Path::new("-o"), &torrent]);
    let shown = show(&torrent);
    assert_eq!(shown["name"], "image.bin");
    assert_eq!(shown["files"].as_array().unwrap().len(), 1);
    assert_eq!(shown["files"][0]["path"], "image.bin");
}

#[test]
fn each_format_has_its_own_hashes_only() {
    let bench = Bench::new();
    for (format, v1, v2) in [("v1", true, false), ("v2", false, true), ("hybrid", true, true)] {
        let shown = bench.show(&["--format", format]);
        assert_eq!(shown["info_hash_v1"].is_string(), v1, "{format}");
        assert_eq!(shown["info_hash_v2"].is_string(), v2, "{format}");
        let magnet = shown["magnet"].as_str().unwrap();
        assert_eq!(magnet.contains("urn:btih:"), v1, "{format}");
        assert_eq!(magnet.contains("urn:btmh:1220"), v2, "{format}");
    }
}

#[test]
fn a_magnet_link_comes_back_as_it_was() {
    let bench = Bench::new();
    let torrent = bench.create(&["--announce", "http://127.0.0.1:1/announce"]);
    let link = succeed(&[Path::new("magnet"), &torrent]);
    let shown: Value = serde_json::from_str(&succeed(&["show", link.trim(), "--json"])).unwrap();
    let whole = show(&torrent);
    for key in ["name", "info_hash_v1", "info_hash_v2", "total_size", "trackers"] {
        assert_eq!(shown[key], whole[key], "{key}");
    }
}

#[test]
fn a_torrent_comes_with_a_metalink_and_sums_if_asked() {
    let bench = Bench::new();
    let (metalink, sums) = (bench.path("release.meta4"), bench.path("release.sha256"));
    let mirror = "https://mirror.example/pub";
    bench.create(&[
        "--metalink",
        metalink.to_str().unwrap(),
        "--mirror",
        mirror,
        "--sha256sums",
        sums.to_str().unwrap(),
        "--creation-date",
        "1700000000",
    ]);
    let text = fs::read_to_string(&metalink).unwrap();
    assert!(text.contains("<published>2023-11-14T22:13:20Z</published>"), "{text}");
    assert!(text.contains("<url priority=\"1\">https://mirror.example/pub/release/image.bin</url>"), "{text}");
    assert_eq!(text.matches("<file name=").count(), 3);
    assert_eq!(fs::read_to_string(&sums).unwrap().lines().count(), 3);
    match Command::new("sha256sum").args(["--check", "--strict"]).arg(&sums).current_dir(bench.folder.path()).output() {
        Ok(check) => assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr)),
        Err(error) => eprintln!("left out: no sha256sum: {error}"),
    }
}

#[test]
fn a_fixed_date_gives_the_same_bytes_and_none_gives_no_date() {
    let bench = Bench::new();
    let first = fs::read(bench.create(&["--creation-date", "1700000000"])).unwrap();
    let second = fs::read(bench.create(&["--creation-date", "1700000000"])).unwrap();
    assert_eq!(first, second);
    assert!(bench.show(&["--creation-date", "none"])["creation_date"].is_null());
    assert!(bench.show(&[])["creation_date"].as_i64().unwrap() > 1_700_000_000);
}

#[test]
fn what_is_excluded_is_not_in_the_torrent() {
    let bench = Bench::new();
    let shown = bench.show(&["--exclude", "*.txt", "--exclude", "empty", "--name", "other"]);
    let files = shown["files"].as_array().unwrap();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0]["path"], "other/image.bin");
}

#[test]
fn links_are_kept_followed_or_refused() {
    let bench = Bench::new();
    symlink("image.bin", bench.path("release/link")).unwrap();
    let link = |shown: &Value| {
        let files = shown["files"].as_array().unwrap();
        files.iter().find(|file| file["path"] == "release/link").unwrap().clone()
    };
    assert_eq!(link(&bench.show(&[]))["symlink_target"], "image.bin");
    assert_eq!(link(&bench.show(&["--symlinks", "follow"]))["length"], 100_000);
    let refused = fail(&[
        Path::new("create"),
        &bench.path("release"),
        Path::new("-o"),
        &bench.path("x.torrent"),
        Path::new("--symlinks"),
        Path::new("refuse"),
    ]);
    assert!(refused.contains("release/link"), "{refused}");
    assert!(!bench.path("x.torrent").exists());
}

#[test]
fn content_verifies_by_its_own_path_and_by_its_folder() {
    let bench = Bench::new();
    let torrent = bench.create(&[]);
    succeed(&[Path::new("verify"), &torrent, &bench.path("release")]);
    succeed(&[Path::new("verify"), &torrent, bench.folder.path()]);
    fs::rename(bench.path("release"), bench.path("renamed")).unwrap();
    succeed(&[Path::new("verify"), &torrent, &bench.path("renamed")]);
}

#[test]
fn every_bad_file_is_told_and_the_first_one_named() {
    let bench = Bench::new();
    let torrent = bench.create(&[]);
    let mut image = vec![7; 100_000];
    image[50_000] = 8;
    fs::write(bench.path("release/image.bin"), image).unwrap();
    fs::remove_file(bench.path("release/sub/Ελληνικά.txt")).unwrap();
    let error = fail(&[Path::new("verify"), &torrent, &bench.path("release")]);
    assert!(error.contains("image.bin") && error.contains("2 files"), "{error}");
    let output = run(&[Path::new("verify"), &torrent, &bench.path("release"), Path::new("--json")]);
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict["complete"], false);
    assert_eq!(verdict["bad_pieces"], serde_json::json!([3, 7]));
    assert_eq!(verdict["bad_files"].as_array().unwrap().len(), 2);
    assert_eq!(verdict["bad_files"][0]["path"], "image.bin");
}

#[test]
fn a_failure_is_one_line_that_names_the_file_and_the_field() {
    let bench = Bench::new();
    let nowhere = bench.path("nowhere.torrent");
    assert!(fail(&[Path::new("show"), &nowhere]).contains("nowhere.torrent"));
    let broken = bench.path("broken.torrent");
    fs::write(&broken, "d4:infod6:lengthi1e4:name1:a6:pieces0:ee").unwrap();
    let error = fail(&[Path::new("show"), &broken]);
    assert!(error.contains("broken.torrent") && error.contains("piece length"), "{error}");
    assert!(fail(&["show", "magnet:?dn=x"]).contains("xt"));
    let empty = bench.path("empty folder");
    fs::create_dir(&empty).unwrap();
    let error = fail(&[Path::new("create"), &empty, Path::new("-o"), &bench.path("x.torrent")]);
    assert!(error.contains("empty folder"), "{error}");
    let error = fail(&[Path::new("create"), &bench.path("release"), Path::new("-o"), &bench.path("no/x.torrent")]);
    assert!(error.contains("no/x.torrent"), "{error}");
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    for arguments in [
        &["create"] as &[&str],
        &["no-such-verb"],
        &[],
        &["create", "x", "-o", "y", "--piece-length", "100000"],
        &["create", "x", "-o", "y", "--format", "v3"],
        &["create", "x", "-o", "y", "--metalink", "z"],
        &["create", "x", "-o", "y", "--mirror", "https://mirror.example/"],
        &["seed", "x.torrent"],
        &["publish", "x", "--upload-limit", "fast"],
        &["show", "x", "--no-such-option"],
    ] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_reader_that_stops_early_is_no_failure() {
    let bench = Bench::new();
    let torrent = bench.create(&[]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_spillway"))
        .arg("show")
        .arg(&torrent)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}

#[test]
fn every_verb_explains_every_argument() {
    for verb in ["publish", "seed", "create", "show", "verify", "magnet", "tracker"] {
        let help = succeed(&[verb, "--help"]);
        assert!(help.contains("Usage: spillway"), "{verb}");
        let silent = help.lines().collect::<Vec<_>>();
        // An option whose help is missing is followed by an empty line at once.
        for pair in silent.windows(2) {
            let names_option = pair[0].trim_start().starts_with("--") && !pair[0].trim_end().ends_with(':');
            assert!(!(names_option && pair[1].trim().is_empty()), "{verb}: {} is not explained", pair[0]);
        }
    }
}
