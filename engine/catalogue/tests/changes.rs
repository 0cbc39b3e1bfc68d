//! What is written is what is read, before and after a restart.

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use catalogue::{
    Catalogue, CatalogueError, Change, ContentPlace, Delivery, Fault, FeedItem, FeedState, ItemState, Metainfo,
    NewTorrent, Origin, Release, ReleaseOutput, ReleaseState, StopCause, TorrentChange, TorrentLimits, TorrentNumber,
    TorrentTotals, Wanted,
};
use hash::Sha256Digest;
use metainfo::Torrent;
use storage::{FileIdentity, VerifiedRecord};
use support::{add, new_link, new_torrent, open, torrent_file};
use swarm::SuperSeeding;

#[test]
fn a_torrent_comes_back_as_it_was_added() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let mut new = new_torrent(catalogue.next_torrent());
    // Linux knows no encoding of paths.
    let odd = PathBuf::from(OsStr::from_bytes(b"/srv/\xff\xfe/x"));
    new.row.content = ContentPlace::at(&odd).following_links();
    new.row.origin = Origin::Published { label: "tree".into(), path: odd };
    new.row.moving_to = Some(ContentPlace::under("/srv/new"));
    new.row.wanted = Wanted::Stopped(StopCause::Ratio);
    new.row.group = Some("slow".into());
    new.row.limits = TorrentLimits {
        upload_bytes_per_s: Some(1),
        download_bytes_per_s: Some(0),
        seed_ratio_permille: Some(1500),
        seed_time_s: None,
        super_seeding: Some(SuperSeeding::Off),
    };
    new.row.tiers = vec![vec!["http://a/ b\nc".to_owned(), "udp://b".to_owned()], vec!["http://c".to_owned()]].into();
    (new.row.completed_at_s, new.row.first_copy_at_s, new.row.release_at_s) = (Some(-1), Some(2), Some(3));
    new.row.totals = TorrentTotals { uploaded_bytes: u64::MAX / 2, downloaded_bytes: 5, seeded_s: 6 };
    new.row.fault = Some(Fault { text: "gone".to_owned(), at_s: 7 });
    catalogue.apply_blocking(vec![Change::AddTorrent(Box::new(new.clone()))]).unwrap();

    let check = |catalogue: &catalogue::Catalogue| {
        assert_eq!(catalogue.torrents().unwrap(), [new.row.clone()]);
        assert_eq!(catalogue.row(new.row.number).unwrap().as_ref(), Some(&new.row));
        assert_eq!(catalogue.metainfo(new.row.number).unwrap(), Some(new.metainfo.clone()));
        let torrent = catalogue.torrent(new.row.number).unwrap().unwrap();
        assert!(torrent.info_hashes().eq(new.row.info_hashes()));
        assert_eq!(catalogue.find(torrent.info_hashes().next().unwrap()).unwrap(), Some(new.row.number));
    };
    check(&catalogue);
    catalogue.close();
    let catalogue = open(dir.path());
    check(&catalogue);
    assert_eq!(catalogue.next_torrent().0, new.row.number.0 + 1);
}

#[test]
fn every_change_of_a_torrent_is_seen_and_lasts() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let number = add(&catalogue);
    let mut row = new_torrent(number).row;
    let record = VerifiedRecord::new(
        row.info_hashes().next().unwrap(),
        &[FileIdentity { size_bytes: 1, mtime_ns: 2, inode: 3, device: 4 }],
    );
    let limits = TorrentLimits { upload_bytes_per_s: Some(5), ..TorrentLimits::default() };
    let fault = Fault { text: "disk".to_owned(), at_s: 4 };
    let changes = [
        TorrentChange::Verified(Some(record.encode())),
        TorrentChange::Wanted(Wanted::Stopped(StopCause::Operator)),
        TorrentChange::Group(Some("g".into())),
        TorrentChange::Limits(limits),
        TorrentChange::Tiers(Arc::from([vec!["udp://t".to_owned()]])),
        TorrentChange::MovingTo(Some(ContentPlace::at("/b/c"))),
        TorrentChange::Completed(Some(1)),
        TorrentChange::FirstCopy(Some(2)),
        TorrentChange::ReleaseAt(Some(3)),
        TorrentChange::Fault(Some(fault.clone())),
    ];
    catalogue.apply_blocking(changes.into_iter().map(|change| Change::Torrent(number, change)).collect()).unwrap();
    (row.wanted, row.group, row.limits) = (Wanted::Stopped(StopCause::Operator), Some("g".into()), limits);
    row.tiers = Arc::from([vec!["udp://t".to_owned()]]);
    row.moving_to = Some(ContentPlace::at("/b/c"));
    (row.completed_at_s, row.first_copy_at_s, row.release_at_s, row.fault) = (Some(1), Some(2), Some(3), Some(fault));
    assert_eq!(catalogue.torrents().unwrap(), [row.clone()]);
    assert_eq!(catalogue.verified(number).unwrap(), Some(record));

    let place = ContentPlace::at("/b/c");
    let totals = TorrentTotals { uploaded_bytes: 10, downloaded_bytes: 11, seeded_s: 12 };
    let gone = catalogue.next_torrent();
    let changes = vec![
        Change::Torrent(number, TorrentChange::Content(place.clone())),
        Change::Torrent(number, TorrentChange::Verified(None)),
        Change::Totals(vec![(gone, totals), (number, totals)]),
    ];
    catalogue.apply_blocking(changes).unwrap();
    (row.content, row.moving_to, row.totals) = (place, None, totals);
    catalogue.close();
    let catalogue = open(dir.path());
    assert_eq!(catalogue.torrents().unwrap(), [row]);
    assert_eq!(catalogue.verified(number).unwrap(), None);
}

#[test]
fn a_link_becomes_the_torrent_that_it_stands_for_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let number = catalogue.next_torrent();
    let link = new_link(number);
    catalogue.apply_blocking(vec![Change::AddTorrent(Box::new(link.clone()))]).unwrap();
    assert_eq!(catalogue.row(number).unwrap().as_ref(), Some(&link.row));
    assert!(link.row.shape.is_none());
    assert!(catalogue.torrent(number).unwrap().is_none());

    let resolve = |bytes| {
        catalogue.apply_blocking(vec![Change::Torrent(number, TorrentChange::Metainfo(Metainfo::TorrentFile(bytes)))])
    };
    assert!(matches!(resolve(torrent_file(99)), Err(CatalogueError::Refused(_))));
    assert!(matches!(resolve(b"rubbish".to_vec()), Err(CatalogueError::Refused(_))));
    let file = torrent_file(number.0 as u64);
    resolve(file.clone()).unwrap();
    let row = catalogue.row(number).unwrap().unwrap();
    assert_eq!(row.shape.unwrap().size_bytes, 1000 + number.0 as u64);
    assert_eq!((&row.origin, &row.content), (&link.row.origin, &link.row.content));
    assert_eq!(catalogue.metainfo(number).unwrap(), Some(Metainfo::TorrentFile(file)));
    assert_eq!(catalogue.feed_taken("feed").unwrap(), (1, 1000 + number.0 as u64));
}

#[test]
fn the_same_torrent_twice_is_refused_with_its_number_and_nothing_of_the_change_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let number = add(&catalogue);
    let second = catalogue.next_torrent();
    let mut again = new_torrent(number);
    again.row.number = second;
    let other = new_torrent(catalogue.next_torrent());
    let changes = vec![Change::AddTorrent(Box::new(other)), Change::AddTorrent(Box::new(again))];
    let error = catalogue.apply_blocking(changes).unwrap_err();
    assert!(error.to_string().contains(&format!("is torrent {} already", number.0)), "{error}");
    assert_eq!(catalogue.torrents().unwrap().len(), 1);
    let missing = Change::Torrent(second, TorrentChange::Completed(None));
    assert!(matches!(catalogue.apply_blocking(vec![missing]), Err(CatalogueError::Refused(_))));
}

#[test]
fn one_bad_submission_of_a_group_does_not_take_the_others_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut receipts = Vec::new();
        for number in 0..40 {
            let added = new_torrent(catalogue.next_torrent());
            let bad = Change::Torrent(catalogue.next_torrent(), TorrentChange::Completed(None));
            let changes = if number % 3 == 0 {
                vec![Change::AddTorrent(Box::new(added)), bad]
            } else {
                vec![Change::AddTorrent(Box::new(added))]
            };
            receipts.push(catalogue.submit(changes).await.unwrap());
        }
        for (number, receipt) in receipts.into_iter().enumerate() {
            assert_eq!(receipt.await.is_ok(), number % 3 != 0, "{number}");
        }
        catalogue.flush().await.unwrap();
    });
    assert_eq!(catalogue.torrents().unwrap().len(), 26);
    let counters = catalogue.counters();
    assert_eq!(counters.failures, 14);
    catalogue.close();
}

#[test]
fn what_a_removed_torrent_had_goes_with_it_and_its_number_is_never_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let number = add(&catalogue);
    let release = release(&catalogue, Some(number));
    catalogue.apply_blocking(vec![Change::PutRelease(release.clone())]).unwrap();
    catalogue.apply_blocking(vec![Change::RemoveTorrent(number)]).unwrap();
    assert!(catalogue.torrents().unwrap().is_empty());
    assert_eq!(catalogue.metainfo(number).unwrap(), None);
    assert_eq!(catalogue.releases().unwrap(), [Release { torrent: None, ..release }]);
    catalogue.apply_blocking(vec![Change::RemoveTorrent(number)]).unwrap();
    catalogue.close();
    assert_eq!(std::fs::read_dir(dir.path().join("torrents")).unwrap().count(), 0, "its second copy goes as well");
    let catalogue = open(dir.path());
    assert!(catalogue.next_torrent() > number);
}

fn release(catalogue: &catalogue::Catalogue, torrent: Option<catalogue::TorrentNumber>) -> Release {
    Release {
        number: catalogue.next_release(),
        label: "iso".into(),
        path: "live/a.iso".into(),
        torrent,
        state: ReleaseState::Preparing,
        published_at_s: None,
        gone_since_s: None,
        withdrawn_at_s: None,
    }
}

#[test]
fn a_path_is_one_release_at_a_time_and_has_a_history() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let number = add(&catalogue);
    let mut first = release(&catalogue, Some(number));
    let sums = vec![Sha256Digest([1; 32]), Sha256Digest([2; 32])];
    let outputs = vec![ReleaseOutput { path: "/srv/a.iso.torrent".into(), sha256: Sha256Digest([3; 32]) }];
    let changes = vec![
        Change::PutRelease(first.clone()),
        Change::ReleaseSums(first.number, sums.clone()),
        Change::ReleaseOutputs(first.number, vec![]),
        Change::ReleaseOutputs(first.number, outputs.clone()),
    ];
    catalogue.apply_blocking(changes).unwrap();
    let second = release(&catalogue, None);
    let refused = catalogue.apply_blocking(vec![Change::PutRelease(second.clone())]);
    assert!(matches!(refused, Err(CatalogueError::Refused(_))), "{refused:?}");
    (first.state, first.withdrawn_at_s) = (ReleaseState::Withdrawn, Some(9));
    catalogue.apply_blocking(vec![Change::PutRelease(first.clone()), Change::PutRelease(second.clone())]).unwrap();
    assert_eq!(catalogue.releases().unwrap(), [first.clone(), second]);
    assert_eq!(catalogue.release_sums(first.number).unwrap(), Some(sums));
    assert_eq!(catalogue.release_outputs(first.number).unwrap(), outputs);
    catalogue.apply_blocking(vec![Change::RemoveRelease(first.number)]).unwrap();
    assert_eq!(catalogue.release_sums(first.number).unwrap(), None);
    assert!(catalogue.release_outputs(first.number).unwrap().is_empty());
}

#[test]
fn what_was_seen_in_a_feed_lasts_and_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let feed = FeedState {
        name: "f".to_owned(),
        url: "https://example.org/rss".to_owned(),
        etag: Some("\"1\"".to_owned()),
        last_modified: None,
        polled_at_s: Some(5),
    };
    let item = |byte: u8, state, next_try_at_s| FeedItem {
        feed: "f".to_owned(),
        item: Sha256Digest([byte; 32]),
        state,
        title: "t".to_owned(),
        url: Some("magnet:?".to_owned()),
        torrent: None,
        size_bytes: 7,
        attempts: 1,
        next_try_at_s,
        met_at_s: 8,
        reason: Some("why".to_owned()),
    };
    let items = vec![
        item(1, ItemState::Skipped, None),
        item(2, ItemState::Waiting, Some(20)),
        item(3, ItemState::Waiting, Some(10)),
        item(4, ItemState::Failed, None),
    ];
    catalogue.apply_blocking(vec![Change::PutFeed(feed.clone()), Change::PutItems(items.clone())]).unwrap();
    catalogue.close();
    let catalogue = open(dir.path());
    assert_eq!(catalogue.feed("f").unwrap(), Some(feed));
    assert_eq!(catalogue.waiting_items("f", 9).unwrap(), [items[2].clone(), items[1].clone()]);
    assert_eq!(catalogue.feed_item("f", &Sha256Digest([4; 32])).unwrap(), Some(items[3].clone()));
    let orphan = Change::PutItems(vec![FeedItem { feed: "other".to_owned(), ..items[0].clone() }]);
    assert!(catalogue.apply_blocking(vec![orphan]).is_err());
    catalogue.apply_blocking(vec![Change::ForgetItems(TorrentNumber(1))]).unwrap();
    assert!(catalogue.feed_item("f", &Sha256Digest([4; 32])).unwrap().is_some(), "it is of no torrent");
    catalogue.apply_blocking(vec![Change::RemoveFeed("f".to_owned())]).unwrap();
    assert_eq!(catalogue.feed_item("f", &Sha256Digest([4; 32])).unwrap(), None);
}

#[test]
fn deliveries_wait_in_their_order_for_each_target() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let put = |target: &str| {
        let delivery = Delivery {
            number: catalogue.next_delivery(),
            target: target.to_owned(),
            event: "published".to_owned(),
            body: b"{}".to_vec(),
            queued_at_s: 1,
            attempts: 0,
            next_try_at_s: 2,
        };
        catalogue.apply_blocking(vec![Change::PutDelivery(delivery.clone())]).unwrap();
        delivery
    };
    let (first, other, second) = (put("a"), put("b"), put("a"));
    assert_eq!(catalogue.delivery_counts().unwrap(), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
    assert_eq!(catalogue.deliveries("a").unwrap(), [first.clone(), second.clone()]);
    let failed = Change::DeliveryFailed { number: first.number, attempts: 3, next_try_at_s: 99 };
    catalogue.apply_blocking(vec![failed]).unwrap();
    assert_eq!(
        catalogue.first_delivery("a").unwrap(),
        Some(Delivery { attempts: 3, next_try_at_s: 99, ..first.clone() })
    );
    catalogue.apply_blocking(vec![Change::RemoveDeliveries(vec![first.number, other.number])]).unwrap();
    assert_eq!(catalogue.first_delivery("a").unwrap(), Some(second));
    assert_eq!(catalogue.first_delivery("b").unwrap(), None);
}

#[test]
fn settings_of_run_time_last() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let set = |key: &str, value: Option<&str>| {
        let (key, value) = (key.to_owned(), value.map(str::to_owned));
        catalogue.apply_blocking(vec![Change::Setting { key, value }]).unwrap();
    };
    set("limits.upload", Some("1"));
    set("limits.upload", Some("2"));
    set("slots", Some("3"));
    set("slots", None);
    assert_eq!(catalogue.settings().unwrap(), [("limits.upload".to_owned(), "2".to_owned())]);
}

#[test]
fn a_closed_catalogue_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let other = catalogue.clone();
    catalogue.close();
    assert!(matches!(other.apply_blocking(vec![]), Err(CatalogueError::Closed)));
}

#[test]
fn ten_thousand_torrents_share_folders_and_tiers_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let count = 10_000;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for _ in 0..count / 100 {
            let torrents = (0..100).map(|_| new_torrent(catalogue.next_torrent()));
            let changes = torrents.map(|new: NewTorrent| Change::AddTorrent(Box::new(new))).collect();
            catalogue.submit(changes).await.unwrap();
        }
        catalogue.flush().await.unwrap();
    });
    let began = Instant::now();
    let torrents = catalogue.torrents().unwrap();
    println!("{} torrents read in {:?}", torrents.len(), began.elapsed());
    assert_eq!(torrents.len(), count);
    let shared = |pick: fn(&catalogue::TorrentRow) -> *const u8| {
        let mut all: Vec<_> = torrents.iter().map(pick).collect();
        all.sort();
        all.dedup();
        all.len()
    };
    assert_eq!(shared(|torrent| Arc::as_ptr(&torrent.content.folder).cast()), 7);
    assert_eq!(shared(|torrent| Arc::as_ptr(&torrent.tiers).cast()), 3);
    let last = torrents.last().unwrap();
    let torrent = Torrent::parse(&torrent_file(last.number.0 as u64)).unwrap();
    assert_eq!(catalogue.find(torrent.info_hashes().next().unwrap()).unwrap(), Some(last.number));
}

#[test]
fn all_that_a_torrent_is_comes_back_when_the_database_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let (first, second) = (add(&catalogue), add(&catalogue));
    let third = catalogue.next_torrent();
    let release = release(&catalogue, Some(first));
    let sums = vec![Sha256Digest([1; 32])];
    let outputs = vec![ReleaseOutput { path: "/srv/a.torrent".into(), sha256: Sha256Digest([3; 32]) }];
    let info_hash = new_torrent(first).row.info_hashes().next().unwrap();
    let record = VerifiedRecord::new(info_hash, &[FileIdentity { size_bytes: 1, mtime_ns: 2, inode: 3, device: 4 }]);
    let changes = vec![
        Change::PutRelease(release.clone()),
        Change::ReleaseSums(release.number, sums.clone()),
        Change::ReleaseOutputs(release.number, outputs.clone()),
        Change::Torrent(first, TorrentChange::Verified(Some(record.encode()))),
        Change::Torrent(second, TorrentChange::Wanted(Wanted::Stopped(StopCause::Operator))),
        Change::Torrent(second, TorrentChange::Content(ContentPlace::at("/srv/elsewhere"))),
        Change::AddTorrent(Box::new(new_link(third))),
    ];
    catalogue.apply_blocking(changes).unwrap();
    let file = Metainfo::TorrentFile(torrent_file(third.0 as u64));
    catalogue.apply_blocking(vec![Change::Torrent(third, TorrentChange::Metainfo(file))]).unwrap();
    let torrents = catalogue.torrents().unwrap();
    catalogue.close();
    for name in ["catalogue.sqlite", "catalogue.sqlite-wal", "catalogue.sqlite-shm"] {
        let _ = std::fs::remove_file(dir.path().join(name));
    }

    let (catalogue, rebuilt) = Catalogue::open(dir.path()).unwrap();
    assert_eq!(rebuilt.unwrap().torrents, 3);
    assert_eq!(catalogue.torrents().unwrap(), torrents);
    assert_eq!(catalogue.releases().unwrap().first(), Some(&release));
    assert_eq!(catalogue.release_sums(release.number).unwrap(), Some(sums));
    assert_eq!(catalogue.release_outputs(release.number).unwrap(), outputs);
    assert_eq!(catalogue.verified(first).unwrap(), Some(record));
    assert_eq!(catalogue.next_torrent().0, third.0 + 1);
    catalogue.close();
}

#[test]
fn metainfo_that_was_damaged_in_the_database_is_read_from_its_second_copy() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let number = add(&catalogue);
    catalogue.close();
    let database = dir.path().join("catalogue.sqlite");
    let mut bytes = std::fs::read(&database).unwrap();
    let name = format!("release-{}.iso12:piece length", number.0);
    let at = bytes.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&database, bytes).unwrap();
    let catalogue = open(dir.path());
    let torrent = catalogue.torrent(number).unwrap().unwrap();
    assert_eq!(torrent.layout().name(), format!("release-{}.iso", number.0));
    catalogue.close();
}

#[test]
fn deliveries_to_nobody_push_out_their_own_oldest_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let catalogue = open(dir.path());
    let delivery = |target: &str| {
        Change::PutDelivery(Delivery {
            number: catalogue.next_delivery(),
            target: target.to_owned(),
            event: "published".to_owned(),
            body: Vec::new(),
            queued_at_s: 1,
            attempts: 0,
            next_try_at_s: 2,
        })
    };
    let count = catalogue::limits::DELIVERIES_MAX + 5;
    let mut changes = vec![delivery("alive")];
    changes.extend((0..count).map(|_| delivery("dead")));
    catalogue.apply_blocking(changes).unwrap();
    assert_eq!(catalogue.delivery_counts().unwrap(), [("alive".to_owned(), 1), ("dead".to_owned(), count - 5)]);
    // The first is the other target's; then five of these went.
    assert_eq!(catalogue.first_delivery("dead").unwrap().unwrap().number.0, 7);
}
