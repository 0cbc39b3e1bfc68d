//! What an operator reads, and what a program gets.

use api::operator::types::{
    Direction, ListTorrents, OperatorAnswer, OperatorRequest, PeerPage, PeerRow, ReleasePage, ReleaseRow, ReleaseState,
    Reloaded, ShardRow, Stats, TorrentDetail, TorrentPage, TorrentState, TrackerPage, TrackerRow, VersionInfo,
};
use serde_json::{Value, json};

use crate::{Service, row};

fn lister(count: u64) -> Service {
    Service::start(move |request| {
        let OperatorRequest::List(ListTorrents { filter, paging }) = request else { panic!("{request:?}") };
        let ids = (paging.after.unwrap_or(0) + 1..=count).take(paging.limit.unwrap());
        let mut torrents: Vec<_> = ids.map(|id| row(id, &format!("release-{:05}.iso", count - id))).collect();
        let next_after = torrents.last().map(|last| last.id).filter(|last| *last < count);
        torrents.retain(|row| filter.admits(row));
        Ok(OperatorAnswer::Torrents(TorrentPage { torrents, next_after }))
    })
}

#[test]
fn a_list_is_a_table_with_units() {
    let service = lister(2);
    let ran = service.run(&["list"]);
    assert_eq!(
        ran.lines(),
        [
            "ID  STATE       SIZE  DONE  UP  DOWN  UPLOADED  RATIO  PEERS  NAME",
            " 1  seeding  4.00 GB  100%   -     -   1.00 GB   0.25  1,200  release-00001.iso",
            " 2  seeding  4.00 GB  100%   -     -   2.00 GB   0.50  2,400  release-00000.iso",
        ]
    );
}

#[test]
fn twelve_thousand_torrents_are_sorted_cut_and_counted() {
    let service = lister(12_000);
    let ran = service.run(&["list", "--json"]);
    let all: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(all["torrents"].as_array().unwrap().len(), 12_000);
    assert_eq!(all["torrents"][0]["uploaded_bytes"], 1_000_000_000_u64);
    let ran = service.run(&["list", "--sort", "name", "--limit", "2"]);
    let names: Vec<_> = ran.lines()[1..].iter().map(|line| line.split_whitespace().last().unwrap()).collect();
    assert_eq!(names, ["release-00000.iso", "release-00001.iso"]);
    let ran = service.run(&["list", "--sort", "peers", "--limit", "1", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap()["torrents"][0]["id"], 12_000);
    let ran = service.run(&["list", "--name", "RELEASE-0010", "--reverse"]);
    assert_eq!(ran.lines().len(), 11);
    assert!(ran.lines()[1].ends_with("release-00100.iso"));
}

#[test]
fn a_name_cannot_steer_the_terminal() {
    let service = Service::start(|_| {
        let mut failed = row(1, "a\u{1b}[2Jb\nc");
        (failed.state, failed.error) = (TorrentState::Failed, Some("gone".to_owned()));
        Ok(OperatorAnswer::Torrents(TorrentPage { torrents: vec![failed], next_after: None }))
    });
    let ran = service.run(&["list"]);
    assert_eq!(ran.lines().len(), 2);
    assert!(ran.lines()[1].ends_with("a\u{FFFD}[2Jb\u{FFFD}c: gone"), "{}", ran.stdout);
}

#[test]
fn one_torrent_is_told_in_full() {
    let service = Service::start(|_| {
        Ok(OperatorAnswer::Torrent(Box::new(TorrentDetail {
            row: row(7, "debian.iso"),
            content_path: "/srv/debian.iso".to_owned(),
            is_private: false,
            piece_length_bytes: 1 << 20,
            piece_count: 4000,
            file_count: 1,
            magnet: "magnet:?xt=urn:btih:ab".to_owned(),
            tracker_tiers: vec![vec!["http://a/announce".to_owned()], vec!["udp://b".to_owned()]],
            upload_limit_bytes_per_s: Some(1_000_000),
            download_limit_bytes_per_s: None,
            seed_ratio_limit: None,
            seed_time_limit_s: Some(86_400),
            seeded_s: 90,
            first_full_copy_at_s: Some(0),
        })))
    });
    let ran = service.run(&["show", "7"]);
    for line in [
        "content       /srv/debian.iso",
        "limits        upload 1.00 MB/s, download none",
        "stops after   1d 0h of seeding",
        "tracker 2     udp://b",
        "first copy    1970-01-01 00:00:00 UTC",
    ] {
        assert!(ran.lines().contains(&line), "{line}: {}", ran.stdout);
    }
    let shown: Value = serde_json::from_str(&service.run(&["show", "7", "--json"]).stdout).unwrap();
    assert_eq!((&shown["id"], &shown["piece_length_bytes"]), (&json!(7), &json!(1 << 20)), "one flat object");
}

#[test]
fn peers_and_trackers_are_tables() {
    let peer = PeerRow {
        address: "[2001:db8::1]:51413".to_owned(),
        client: "Transmission 4.0".to_owned(),
        direction: Direction::Incoming,
        progress: 0.999,
        upload_bytes_per_s: 2_000_000,
        download_bytes_per_s: 0,
        uploaded_bytes: 5_000_000,
        downloaded_bytes: 0,
        is_seed: false,
        is_interested: true,
        is_choked: false,
        is_interesting: false,
        is_choking: true,
        is_snubbed: false,
    };
    let tracker = TrackerRow {
        url: "http://a/announce".to_owned(),
        tier: 0,
        family: Some("ipv6".to_owned()),
        version: "v1".to_owned(),
        error: Some("timed out".to_owned()),
        last_success_at_s: None,
        next_announce_in_s: Some(90),
        seed_count: Some(3),
        leech_count: None,
    };
    let service = Service::start(move |request| match request {
        OperatorRequest::Peers(_) => {
            Ok(OperatorAnswer::Peers(PeerPage { peers: vec![peer.clone()], total_count: 1001 }))
        }
        _ => Ok(OperatorAnswer::Trackers(TrackerPage { trackers: vec![tracker.clone()] })),
    });
    assert_eq!(
        service.run(&["peers", "7"]).lines(),
        [
            "ADDRESS              DONE         UP  DOWN  UPLOADED  DOWNLOADED  FLAGS      CLIENT",
            "[2001:db8::1]:51413   99%  2.00 MB/s     -   5.00 MB         0 B  in,served  Transmission 4.0",
            "and 1,000 more",
        ]
    );
    assert_eq!(
        service.run(&["trackers", "7"]).lines()[1],
        "   0  ipv6    v1        3        -  1m 30s  http://a/announce: timed out"
    );
}

#[test]
fn the_service_as_a_whole_is_told() {
    let service = Service::start(|request| match request {
        OperatorRequest::Stats => Ok(OperatorAnswer::Stats(Box::new(Stats {
            uptime_s: 90_000,
            torrents: [("seeding".to_owned(), 10_000), ("failed".to_owned(), 2)].into(),
            peer_count: 7,
            upload_bytes_per_s: 1_000_000,
            shards: vec![ShardRow::default(); 2],
            http: [("feeds".to_owned(), 5), ("tls_failed".to_owned(), 0)].into(),
            problems: vec!["the disk is full".to_owned()],
            ..Stats::default()
        }))),
        OperatorRequest::Reload => Ok(OperatorAnswer::Reloaded(Reloaded {
            applied: vec!["limits.upload".to_owned()],
            failed: vec!["http.tls: /etc/key.pem: No such file or directory".to_owned()],
            needs_restart: vec!["peers.listen".to_owned()],
        })),
        OperatorRequest::Version => Ok(OperatorAnswer::Version(VersionInfo {
            program: "spillway".to_owned(),
            version: "1.2.3".to_owned(),
            pid: 9,
            started_at_s: 0,
        })),
        _ => Ok(OperatorAnswer::Releases(ReleasePage {
            releases: vec![ReleaseRow {
                id: Some(1),
                publish: "iso".to_owned(),
                path: "a/b.iso".to_owned(),
                state: ReleaseState::Published,
                error: None,
                torrent_id: Some(4),
                info_hash_v1: None,
                info_hash_v2: None,
                size_bytes: 7_000,
                published_at_s: Some(0),
                opens_at_s: None,
            }],
            next_after: None,
        })),
    });
    let ran = service.run(&["stats"]);
    let lines = ran.lines();
    assert_eq!(
        lines[..3],
        ["problem       the disk is full", "up for        1d 1h", "torrents      10,002: 2 failed, 10,000 seeding",]
    );
    assert_eq!(lines.last(), Some(&"HTTP          feeds 5"));
    let reloaded = [
        "applied        limits.upload",
        "not applied    http.tls: /etc/key.pem: No such file or directory",
        "needs restart  peers.listen",
    ];
    let ran = service.run(&["reload"]);
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), reloaded);
    assert_eq!(ran.error(), "not applied: 1 of the changes; put them right and reload again");
    assert_eq!(service.run(&["version"]).lines(), ["spillway 1.2.3, process 9, since 1970-01-01 00:00:00 UTC"]);
    assert_eq!(
        service.run(&["releases"]).lines()[1],
        " 1  published  7.00 kB        4  1970-01-01 00:00:00 UTC  iso   a/b.iso"
    );
}
