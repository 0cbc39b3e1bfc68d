//! The program against a seeder made for these tests: what it counts, and what it finds wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;

use metainfo::Version;
use serde_json::Value;
use support::{Manners, Seeder, release};

const LOOPBACK: &str = "127.0.0.1:0";
const SHORT: &str = "--duration 400ms --warm-up 100ms --unchoke-wait 1s";

fn number(json: &Value, path: &str) -> f64 {
    json.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} is no number in {json}"))
}

fn count(json: &Value, path: &str) -> u64 {
    json.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}

#[test]
fn what_is_dropped_unread_is_counted_to_the_block() {
    let release = release(Version::Hybrid, 3_000_000, 64 * 1024);
    let seeder = Seeder::start(&release, Manners::default(), LOOPBACK);
    let json = seeder.load(&release, &format!("--connections 20 {SHORT} --pid {}", std::process::id()));
    assert_eq!((count(&json, "/connections/connected"), count(&json, "/connections/unchoked")), (20, 20), "{json}");
    assert!(json["errors"].as_object().unwrap().is_empty(), "{json}");
    assert!(json["events"].as_object().unwrap().is_empty(), "{json}");
    let (blocks, bytes) = (count(&json, "/blocks"), count(&json, "/bytes"));
    assert!(blocks > 0 && bytes == blocks * 16_384 && blocks == count(&json, "/latency_us/count"), "{json}");
    assert!(blocks <= seeder.seen.blocks.load(SeqCst), "no block is invented");
    let timeline: u64 = json["timeline"].as_array().unwrap().iter().map(|point| point["bytes"].as_u64().unwrap()).sum();
    assert!(timeline > 0);
    assert!(number(&json, "/seeder/cpu_s") > 0.0 && count(&json, "/seeder/anonymous_bytes") > 0, "{json}");
    assert!(number(&json, "/load/cpu_s_per_gb") > 0.0);
    let (all, longest) = (number(&json, "/all_unchoked_ms"), number(&json, "/unchoke_ms/max"));
    assert!(all > 0.99 * longest, "no peer waits longer than all of them: {json}");
}

#[test]
fn peers_come_from_many_addresses_with_ids_of_their_own() {
    let release = release(Version::V1, 200_000, 32 * 1024);
    let seeder = Seeder::start(&release, Manners::default(), LOOPBACK);
    seeder.load(&release, &format!("--connections 20 {SHORT}"));
    let peers = seeder.seen.peers.lock().unwrap();
    let addresses: BTreeSet<_> = peers.iter().map(|(address, _)| address).collect();
    let ids: BTreeSet<_> = peers.iter().map(|(_, id)| id).collect();
    assert_eq!((addresses.len(), ids.len()), (20, 20));
    assert!(peers.iter().all(|(_, id)| id.0.starts_with(b"-SL0100-")));
}

#[test]
fn one_wrong_bit_is_caught_in_v1_and_in_v2() {
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        let release = release(version, 1_000_001, 64 * 1024);
        for (lies_about, is_wrong) in [(None, false), (Some(3), true)] {
            let seeder = Seeder::start(&release, Manners { lies_about, ..Manners::default() }, LOOPBACK);
            let json = seeder.load(&release, &format!("--connections 4 --verify all {SHORT}"));
            assert!(count(&json, "/verified/pieces") > 16, "{version:?} {json}");
            assert_eq!(count(&json, "/verified/failed") > 0, is_wrong, "{version:?} {json}");
            assert_eq!(count(&json, "/errors/hash-mismatch") > 0, is_wrong, "{version:?} {json}");
            assert_eq!(count(&json, "/verified/unknown"), 0, "{version:?} {json}");
        }
    }
}

#[test]
fn only_the_share_that_was_asked_for_verifies() {
    let release = release(Version::V1, 1_000_000, 64 * 1024);
    let seeder = Seeder::start(&release, Manners { lies_about: Some(0), ..Manners::default() }, LOOPBACK);
    let json = seeder.load(&release, &format!("--connections 10 --verify 10% {SHORT}"));
    let (verified, all) = (count(&json, "/verified/pieces") * 64 * 1024, count(&json, "/bytes"));
    assert!(verified > 0 && verified < all, "{json}");
    assert!(count(&json, "/verified/failed") > 0, "{json}");
}

#[test]
fn what_a_seeder_says_between_answers_loses_no_block() {
    let release = release(Version::V1, 2_000_000, 64 * 1024);
    for (is_old, verify) in [(false, "none"), (true, "none"), (false, "50%")] {
        let seeder = Seeder::start(&release, Manners { chatters: true, is_old, ..Manners::default() }, LOOPBACK);
        let json = seeder.load(&release, &format!("--connections 8 --verify {verify} {SHORT}"));
        assert_eq!((count(&json, "/connections/unchoked"), count(&json, "/verified/failed")), (8, 0), "{json}");
        assert!(json["errors"].as_object().unwrap().is_empty(), "{json}");
        assert!(count(&json, "/events/resynchronised") > 0, "{json}");
        assert!(count(&json, "/blocks") > 1000, "{json}");
    }
}

#[test]
fn chokes_and_rejects_are_followed_by_new_requests() {
    let release = release(Version::V1, 2_000_000, 64 * 1024);
    for is_old in [false, true] {
        let manners = Manners { chokes_every: Some(300), is_old, ..Manners::default() };
        let seeder = Seeder::start(&release, manners, LOOPBACK);
        let json = seeder.load(&release, "--connections 4 --verify 50% --duration 1s --warm-up 100ms");
        assert!(count(&json, "/events/choked") > 0, "{json}");
        assert_eq!((count(&json, "/connections/connected"), count(&json, "/verified/failed")), (4, 0), "{json}");
        assert!(count(&json, "/blocks") > 500, "{json}");
    }
}

#[test]
fn answers_that_overtake_others_verify_and_are_counted() {
    let release = release(Version::V1, 2_000_000, 64 * 1024);
    let seeder = Seeder::start(&release, Manners { reverses: Some(5), ..Manners::default() }, LOOPBACK);
    let json = seeder.load(&release, &format!("--connections 4 --verify 50% {SHORT}"));
    assert!(json["errors"].as_object().unwrap().is_empty(), "{json}");
    assert!(count(&json, "/verified/pieces") > 10 && count(&json, "/verified/failed") == 0, "{json}");
    assert!(count(&json, "/events/reordered") > 0, "{json}");
}

#[test]
fn answers_that_come_twice_are_checked_once() {
    let release = release(Version::V1, 2_000_000, 64 * 1024);
    let seeder = Seeder::start(&release, Manners { repeats: true, ..Manners::default() }, LOOPBACK);
    let json = seeder.load(&release, &format!("--connections 4 --verify all {SHORT}"));
    assert!(json["errors"].as_object().unwrap().is_empty(), "{json}");
    assert!(count(&json, "/verified/pieces") > 10 && count(&json, "/verified/failed") == 0, "{json}");
    assert!(count(&json, "/events/unasked") > 10, "{json}");
}

#[test]
fn a_seeder_that_holds_fewer_requests_is_asked_for_fewer_and_it_is_said() {
    let release = release(Version::V1, 2_000_000, 64 * 1024);
    let manners = Manners { request_queue_limit: Some(5), ..Manners::default() };
    let seeder = Seeder::start(&release, manners, LOOPBACK);
    let json = seeder.load(&release, &format!("--connections 4 {SHORT}"));
    let depth = |field: &str| count(&json, &format!("/depth/{field}"));
    assert_eq!((depth("asked"), depth("min"), depth("median")), (64, 5, 5), "{json}");
}

#[test]
fn connections_come_and_go() {
    let release = release(Version::V1, 500_000, 64 * 1024);
    let seeder = Seeder::start(&release, Manners::default(), LOOPBACK);
    let json = seeder.load(&release, &format!("--connections 20 --churn 100 {SHORT}"));
    let churned = count(&json, "/connections/churned");
    assert!(churned >= 30, "{json}");
    assert!(seeder.seen.connections.load(SeqCst) >= 20 + churned - 20, "{json}");
    assert!(json["errors"].as_object().unwrap().is_empty(), "{json}");
}

#[test]
fn metadata_is_fetched_again_and_again_and_checked() {
    // Ten thousand pieces: metadata of several pieces of its own.
    let release = release(Version::V1, 20_000_000, 16 * 1024);
    for lies_about_metadata in [false, true] {
        let seeder = Seeder::start(&release, Manners { lies_about_metadata, ..Manners::default() }, LOOPBACK);
        let json = seeder.load(&release, &format!("--connections 2 --metadata 3 {SHORT}"));
        let (fetched, failed) = (count(&json, "/metadata/fetched"), count(&json, "/metadata/failed"));
        assert_eq!((fetched > 3, failed > 3), (!lies_about_metadata, lies_about_metadata), "{json}");
    }
}

#[test]
fn slow_readers_read_slowly_and_are_not_measured() {
    let release = release(Version::V1, 2_000_000, 64 * 1024);
    let seeder = Seeder::start(&release, Manners::default(), LOOPBACK);
    let json = seeder.load(&release, "--connections 0 --slow 4:200kB/s --duration 2s --warm-up 100ms");
    // 4 times 200 kB/s over 2 s; less where a tick came late, more by what was saved up before.
    let bytes = count(&json, "/bytes");
    assert!((200_000..=1_800_000).contains(&bytes), "{json}");
    assert_eq!((count(&json, "/latency_us/count"), count(&json, "/fairness/count")), (0, 0), "{json}");
}

#[test]
fn an_open_loop_offers_what_it_was_told_to() {
    let release = release(Version::V1, 2_000_000, 64 * 1024);
    let seeder = Seeder::start(&release, Manners::default(), LOOPBACK);
    for burst in [1, 8] {
        let json = seeder.load(&release, &format!("--connections 10 --rate 16MB/s --burst {burst} --duration 1s"));
        let bytes = count(&json, "/bytes");
        assert!((8_000_000..=20_000_000).contains(&bytes), "{json}");
        let (own, schedule) = (number(&json, "/latency_us/p50"), number(&json, "/schedule_latency_us/p50"));
        assert!(schedule >= own, "the schedule's latency holds the request's: {json}");
    }
}

#[test]
fn a_seeder_that_cannot_follow_shows_in_the_latency_against_the_schedule() {
    let release = release(Version::V1, 2_000_000, 64 * 1024);
    let seeder = Seeder::start(&release, Manners::default(), LOOPBACK);
    // One request open at a time and far more offered than one connection can do so.
    let json = seeder.load(&release, "--connections 1 --depth 1 --rate 50GB/s --duration 500ms");
    let (own, schedule) = (number(&json, "/latency_us/p50"), number(&json, "/schedule_latency_us/p50"));
    assert!(schedule > 2.0 * own, "{json}");
    assert!(count(&json, "/events/schedule-dropped") > 0, "what waits is bounded: {json}");
    assert!(count(&json, "/unanswered/blocks") > 1000, "what was never answered is not hidden: {json}");
}

#[test]
fn ipv6_is_loaded_too_and_several_threads_share_the_work() {
    let release = release(Version::V2, 2_000_000, 64 * 1024);
    let seeder = Seeder::start(&release, Manners::default(), "[::1]:0");
    let json = seeder.load(&release, &format!("--connections 9 --threads 3 --order sequential {SHORT}"));
    assert_eq!((count(&json, "/connections/unchoked"), count(&json, "/fairness/count")), (9, 9), "{json}");
    assert!(count(&json, "/blocks") > 0, "{json}");
}

#[test]
fn connections_that_fail_are_counted_by_kind() {
    let release = release(Version::V1, 2_000_000, 64 * 1024);
    for (manners, kind) in [
        (Manners { closes_after: Some(100), ..Manners::default() }, "closed"),
        (Manners { never_unchokes: true, ..Manners::default() }, ""),
    ] {
        let seeder = Seeder::start(&release, manners, LOOPBACK);
        let json = seeder.load(&release, "--connections 5 --duration 300ms --warm-up 100ms --unchoke-wait 200ms");
        match kind {
            "" => {
                assert_eq!((count(&json, "/connections/connected"), count(&json, "/connections/unchoked")), (5, 0));
                assert!(json["all_unchoked_ms"].is_null(), "{json}");
            }
            // The kernel may say either, since requests were still on their way.
            _ => assert_eq!(count(&json, "/errors/closed") + count(&json, "/errors/reset"), 5, "{json}"),
        }
    }
    let nobody = {
        let listener = std::net::TcpListener::bind(LOOPBACK).unwrap();
        listener.local_addr().unwrap()
    };
    let seeder = Seeder::start(&release, Manners::default(), LOOPBACK);
    let output = Command::new(env!("CARGO_BIN_EXE_swarmload"))
        .args([&nobody.to_string(), "--connections", "3", "--duration", "100ms", "--json", "-", "--torrent"])
        .arg(&release.file)
        .output()
        .unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((count(&json, "/errors/connect-refused"), count(&json, "/connections/lost")), (3, 3), "{json}");
    assert_eq!((count(&json, "/connections/connected"), count(&json, "/connections/unchoked")), (0, 0), "{json}");
    drop(seeder);
}

#[test]
fn files_for_plotters_and_people_are_written() {
    let release = release(Version::V1, 500_000, 64 * 1024);
    let seeder = Seeder::start(&release, Manners::default(), LOOPBACK);
    let folder = tempfile::tempdir().unwrap();
    let (hgrm, svg) = (folder.path().join("a.hgrm"), folder.path().join("a.svg"));
    let files = format!("--hgrm {} --plot {}", hgrm.display(), svg.display());
    seeder.load(&release, &format!("--connections 4 {SHORT} {files}"));
    assert!(std::fs::read_to_string(hgrm).unwrap().contains("#[Mean"));
    let svg = std::fs::read_to_string(svg).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("Gbit/s") && svg.contains("percentile"));
}

#[test]
fn a_run_that_cannot_be_carried_out_says_what_to_change() {
    let release = release(Version::V1, 50_000, 64 * 1024);
    for (args, expected) in [
        (vec!["127.0.0.1:1", "--torrent", "/nonexistent"], "/nonexistent"),
        (vec!["127.0.0.1:1", "--pid", "2147483647"], "--pid"),
        (vec!["[::1]:1", "--sources", "127.2.0.0/16"], "--sources"),
        (vec!["127.0.0.1:1", "--cores", "x"], "--cores"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swarmload"));
        command.args(&args);
        if !args.contains(&"--torrent") {
            command.arg("--torrent").arg(&release.file);
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        assert!(text.starts_with("error: ") && text.contains(expected) && text.lines().count() == 1, "{text}");
    }
}
