//! What each verb asks the service for.

use api::operator::types::{
    AddTorrent, LimitChange, ListTorrents, MoveTorrent, OperatorAnswer, OperatorRequest, Paging, Recheck, Remove,
    Rescan, Rescanning, SuperSeedingMode, TorrentFilter, TorrentPage, TorrentRef, TorrentSource, TorrentState,
};

use crate::{Service, done, row};

fn named(text: &str) -> TorrentRef {
    TorrentRef(text.to_owned())
}

#[test]
fn what_is_done_to_torrents_is_done_to_each_in_turn() {
    let service = Service::start(|request| match request.torrent() {
        Some(torrent) => done(torrent.0.parse().unwrap_or(99)),
        None => panic!("{request:?}"),
    });
    assert_eq!(service.run(&["stop", "7", "a/b c.iso"]).lines(), ["stopped  7  torrent 7", "stopped  99  torrent 99"]);
    assert_eq!(service.asked(), [OperatorRequest::Stop(named("7")), OperatorRequest::Stop(named("a/b c.iso"))]);
    for (arguments, request) in [
        (&["start", "7"][..], OperatorRequest::Start(named("7"))),
        (&["announce", "7"], OperatorRequest::Announce(named("7"))),
        (&["recheck", "7"], OperatorRequest::Recheck(named("7"), Recheck { fetch_missing: false })),
        (&["recheck", "7", "--fetch-missing"], OperatorRequest::Recheck(named("7"), Recheck { fetch_missing: true })),
        (&["remove", "7"], OperatorRequest::Remove(named("7"), Remove { delete_content: false })),
        (&["remove", "7", "--delete-content"], OperatorRequest::Remove(named("7"), Remove { delete_content: true })),
        (&["move", "7", "/srv/new"], OperatorRequest::Move(named("7"), MoveTorrent { folder: "/srv/new".to_owned() })),
    ] {
        assert_eq!(service.run(arguments).lines().len(), 1);
        assert_eq!(service.asked(), [request]);
    }
}

#[test]
fn limits_are_set_and_taken_away() {
    let service = Service::start(|_| done(7));
    let arguments = [
        "limit",
        "7",
        "--upload",
        "10MB/s",
        "--download",
        "none",
        "--ratio",
        "2.5",
        "--seed-time",
        "30d",
        "--super-seed",
        "off",
    ];
    service.run(&arguments).lines();
    let change = LimitChange {
        upload_bytes_per_s: Some(Some(10_000_000)),
        download_bytes_per_s: Some(None),
        seed_ratio: Some(Some(2.5)),
        seed_time_s: Some(Some(30 * 86_400)),
        group: None,
        super_seeding: Some(Some(SuperSeedingMode::Off)),
    };
    assert_eq!(service.asked(), [OperatorRequest::Limit(named("7"), change)]);
    assert!(service.run(&["limit", "7"]).error().contains("nothing to change"));
}

#[test]
fn all_that_a_filter_lets_through_is_meant_and_removed_only_if_that_is_meant() {
    let service = Service::start(|request| match request {
        OperatorRequest::List(_) => {
            let torrents = vec![row(3, "x"), row(5, "y")];
            Ok(OperatorAnswer::Torrents(TorrentPage { torrents, next_after: None }))
        }
        _ => done(1),
    });
    service.run(&["stop", "--all", "--state", "seeding", "--in-group", "iso"]).lines();
    let filter =
        TorrentFilter { state: Some(TorrentState::Seeding), group: Some("iso".to_owned()), ..TorrentFilter::default() };
    let list = ListTorrents { filter, paging: Paging { after: None, limit: Some(500) } };
    let stopped = ["3", "5"].map(|id| OperatorRequest::Stop(named(id)));
    assert_eq!(service.asked(), [vec![OperatorRequest::List(list)], stopped.to_vec()].concat());
    assert!(service.run(&["remove", "--all"]).error().contains("--yes"));
    assert_eq!(service.asked(), []);
    service.run(&["remove", "--all", "--yes"]).lines();
    assert_eq!(service.asked().len(), 3);
    assert!(service.run(&["stop", "3", "--state", "seeding"]).error().contains("go with --all"));
    assert_eq!(service.run(&["stop"]).code, Some(2));
    assert_eq!(service.run(&["stop", "3", "--all"]).code, Some(2));
}

#[test]
fn a_torrent_is_read_here_and_its_folder_made_absolute() {
    let service = Service::start(|_| done(7));
    let file = service.folder.path().join("a.torrent");
    std::fs::write(&file, [0, 255, 7]).unwrap();
    let arguments =
        ["add", file.to_str().unwrap(), "--folder", "here", "--stopped", "--upload", "1MB", "--group", "iso"];
    assert_eq!(service.run(&arguments).lines(), ["added  7  torrent 7"]);
    let here = std::env::current_dir().unwrap().join("here");
    let mut add = AddTorrent {
        source: TorrentSource::Torrent(vec![0, 255, 7]),
        folder: here.to_str().unwrap().to_owned(),
        folder_is_content: false,
        peers: Vec::new(),
        group: Some("iso".to_owned()),
        stopped: true,
        limits: LimitChange { upload_bytes_per_s: Some(Some(1_000_000)), ..LimitChange::default() },
    };
    assert_eq!(service.asked(), [OperatorRequest::Add(Box::new(add.clone()))]);
    let link = "magnet:?xt=urn:btih:abababababababababababababababababababab";
    service.run(&["add", link, "--content", "/srv/x.iso", "--peer", "[::1]:9"]).lines();
    add = AddTorrent {
        source: TorrentSource::Magnet(link.to_owned()),
        folder: "/srv/x.iso".to_owned(),
        folder_is_content: true,
        peers: vec!["[::1]:9".to_owned()],
        group: None,
        stopped: false,
        limits: LimitChange::default(),
    };
    assert_eq!(service.asked(), [OperatorRequest::Add(Box::new(add))]);
    assert!(
        service.run(&["add", "/not/there.torrent", "--folder", "/srv"]).error().starts_with("/not/there.torrent: ")
    );
    assert_eq!(service.run(&["add", link]).code, Some(2), "nobody said where to");
}

#[test]
fn trees_are_looked_at_again_all_or_one() {
    let service = Service::start(|_| {
        Ok(OperatorAnswer::Rescanning(Rescanning { publish: vec!["iso".to_owned(), "data".to_owned()] }))
    });
    assert_eq!(service.run(&["rescan"]).lines(), ["looking at  iso", "looking at  data"]);
    service.run(&["rescan", "iso"]).lines();
    let asked = [None, Some("iso".to_owned())].map(|publish| OperatorRequest::Rescan(Rescan { publish }));
    assert_eq!(service.asked(), asked);
}
