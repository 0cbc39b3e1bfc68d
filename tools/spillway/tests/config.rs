//! `spillway config` as an operator and a package's scripts use it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)] // A test fails by panicking, its set-up too.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn spillway(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spillway"));
    command.args(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn check(path: &Path, more: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut arguments = vec!["config", "check", "--config", path.to_str().unwrap()];
    arguments.extend(more);
    let output = spillway(&arguments, environment);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_sample_is_a_file_without_problems_that_is_never_written_over_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spillway.toml");
    let write = ["config", "sample", "--output", path.to_str().unwrap()];
    assert!(spillway(&write, &[]).status.success());
    assert_eq!(fs::read(&path).unwrap(), spillway(&["config", "sample"], &[]).stdout);
    let (code, stdout, _) = check(&path, &[], &[]);
    assert_eq!((code, stdout), (Some(0), format!("{}: no problems\n", path.display())));
    fs::write(&path, "# mine\n").unwrap();
    assert_eq!(spillway(&write, &[]).status.code(), Some(1));
    assert_eq!(fs::read(&path).unwrap(), b"# mine\n");
}

#[test]
fn every_problem_of_a_file_is_a_line_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spillway.toml");
    fs::write(&path, "[peers]\nslotz = 1\n[logg]\n").unwrap();
    let (code, stdout, stderr) = check(&path, &[], &[]);
    let shown = path.display();
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(
        stderr,
        format!(
            "error: {shown}:2:1: peers.slotz: there is no such key; did you mean `slots`?\n\
             error: {shown}:3:2: logg: there is no such key; did you mean `log`?\n"
        )
    );
}

#[test]
fn a_log_filter_that_the_logger_does_not_take_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spillway.toml");
    fs::write(&path, "[log]\nfilter = 'shard=loud'\n").unwrap();
    let (code, _, stderr) = check(&path, &[], &[]);
    assert!(code == Some(1) && stderr.contains("log.filter"), "{stderr}");
}

#[test]
fn the_settings_that_hold_are_shown_with_the_environment_and_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spillway.toml");
    fs::write(&path, "[[webhook]]\nurl = 'https://example.org/'\nsecret = 'hush'\n").unwrap();
    let (code, stdout, _) = check(&path, &["--show"], &[("SPILLWAY_PEERS__SLOTS", "321")]);
    assert_eq!(code, Some(0));
    assert!(
        stdout.contains("slots = 321") && stdout.contains("announces_per_second") && !stdout.contains("hush"),
        "{stdout}"
    );
    let (code, _, stderr) = check(&path, &[], &[("SPILLWAY_PEERS__SLOTS", "none")]);
    assert!(code == Some(1) && stderr.starts_with("error: SPILLWAY_PEERS__SLOTS: peers.slots: "), "{stderr}");
}

#[test]
fn a_file_that_is_missing_or_no_text_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spillway.toml");
    let (code, _, stderr) = check(&path, &[], &[]);
    assert!(code == Some(1) && stderr.contains("spillway config sample"), "{stderr}");
    fs::write(&path, b"# fine\n# \xff\n").unwrap();
    let (code, _, stderr) = check(&path, &[], &[]);
    assert!(code == Some(1) && stderr.ends_with("line 2 is not UTF-8\n"), "{stderr}");
}
