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

#[test]
fn the_doctor_tells_programs_what_is_wrong_and_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spillway.toml");
    fs::write(&path, "[[publish]]\nname = 'a'\nroot = '/nonexistent'\n[peers]\nlisten = ['127.0.0.1:1']\n").unwrap();
    let output = spillway(&["doctor", "--json", "--config", path.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(1));
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let of = |check: &str| findings.iter().find(|finding| finding["check"] == check).unwrap();
    assert_eq!(of("tree")["verdict"], "problem");
    assert_eq!(of("settings")["verdict"], "ok");
    for check in ["kernel", "io_uring", "memlock", "nofile", "congestion", "qdisc", "clock", "peers", "outside"] {
        assert!(of(check)["found"].is_string(), "{check}");
    }
    for finding in findings.iter().filter(|finding| finding["verdict"] == "problem" || finding["verdict"] == "advice") {
        assert!(finding["change"].is_string() && finding["why"].is_string(), "{finding}");
    }
}

#[test]
fn a_package_gets_a_man_page_for_each_verb_and_completions_for_each_shell() {
    let folder = tempfile::tempdir().unwrap();
    assert!(spillway(&["man", "--output", folder.path().to_str().unwrap()], &[]).status.success());
    for page in ["spillway.1", "spillway-publish.1", "spillway-config-check.1", "spillway-doctor.1"] {
        assert!(fs::read_to_string(folder.path().join(page)).unwrap().contains(".TH"), "{page}");
    }
    assert!(!folder.path().join("spillway-man.1").exists());
    for shell in ["bash", "zsh", "fish"] {
        let script = spillway(&["completions", shell], &[]).stdout;
        let script = String::from_utf8(script).unwrap();
        assert!(script.contains("doctor") && script.contains("config"), "{shell}");
    }
}
