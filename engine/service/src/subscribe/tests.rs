//! Subscriptions with another publisher's server, and a mirror whose desk only keeps.

pub(super) mod stand;

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use catalogue::{Change, FeedItem, ItemState};
use settings::{Size, Start};

use self::stand::*;
use super::*;

#[test]
fn what_appears_is_taken_in_its_order_and_a_restart_takes_nothing_twice() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2]);
    let mirror = Mirror::start(dir.path(), upstream.settings());
    until("both are taken", || mirror.has() == [1, 2]);
    until("nothing is new", || upstream.count(|(path, is_same)| path == "/feed" && *is_same) > 1);
    let row = &mirror.rows()[0];
    assert_eq!(row.content.path(&row.name), Path::new("/srv/mirror/001.iso"));
    assert!(matches!(&row.origin, catalogue::Origin::Subscribed { label, .. } if &**label == "upstream"));
    mirror.stop();

    upstream.publish(&[1, 2, 3]);
    let mirror = Mirror::start(dir.path(), upstream.settings());
    until("the new one is taken", || mirror.has() == [1, 2, 3]);
    for number in 1..=3 {
        assert_eq!(upstream.count(|(path, _)| *path == format!("/{number}.torrent")), 1, "{number}");
    }
    // What an operator removes does not come back.
    let removed = mirror.rows()[0].number;
    mirror.catalogue.apply_blocking(vec![Change::RemoveTorrent(removed)]).unwrap();
    upstream.publish(&[1, 2, 3, 4]);
    until("another is taken", || mirror.has() == [2, 3, 4]);
    mirror.stop();
}

#[test]
fn what_fails_is_tried_again_and_given_up_in_the_end() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2]);
    upstream.late.lock().unwrap().insert("/1.torrent".to_owned(), 2);
    upstream.put("/2.torrent", "200 OK", "<html>not a torrent</html>");
    let mirror = Mirror::start(dir.path(), upstream.settings());
    until("it came at last", || mirror.is("urn:1", ItemState::Taken));
    assert_eq!((mirror.has(), mirror.item("urn:1").unwrap().attempts), (vec![1], 2));
    until("the other is given up", || mirror.is("urn:2", ItemState::Failed));
    let item = mirror.item("urn:2").unwrap();
    assert_eq!(item.attempts, 12);
    assert!(item.reason.unwrap().contains("no torrent"));
    until("somebody is told", || mirror.webhooks.counters().queued.load(Relaxed) == 1);
    mirror.stop();
}

#[test]
fn only_what_is_new_is_taken_if_that_is_wanted() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2]);
    let settings = Subscribe { start: Start::New, ..upstream.settings() };
    let mirror = Mirror::start(dir.path(), settings.clone());
    until("the first are seen", || mirror.is("urn:1", ItemState::Skipped) && mirror.is("urn:2", ItemState::Skipped));
    mirror.stop();
    upstream.publish(&[1, 2, 3]);
    let mirror = Mirror::start(dir.path(), settings);
    until("the new one is taken", || mirror.has() == [3]);
    assert!(mirror.is("urn:1", ItemState::Skipped));
    mirror.stop();
}

#[test]
fn titles_sizes_and_numbers_limit_what_is_taken() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2, 30, 4]);
    let settings = Subscribe {
        reject: vec!["release 2".parse().unwrap()],
        max_item_size: Some(Size(10)),
        max_items: Some(2),
        ..upstream.settings()
    };
    let mirror = Mirror::start(dir.path(), settings);
    until("what fits is taken", || mirror.has() == [1, 4]);
    assert!(mirror.is("urn:2", ItemState::Skipped));
    assert!(mirror.item("urn:30").unwrap().reason.unwrap().contains("max_item_size"));
    upstream.publish(&[1, 2, 30, 4, 5]);
    until("there is no room", || mirror.item("urn:5").is_some_and(|item| item.reason.is_some()));
    assert!(mirror.is("urn:5", ItemState::Waiting));
    let first = mirror.rows()[0].number;
    mirror.catalogue.apply_blocking(vec![Change::RemoveTorrent(first)]).unwrap();
    until("there is room again", || mirror.has() == [4, 5]);
    assert_eq!(mirror.item("urn:5").unwrap().attempts, 0);
    mirror.stop();
}

#[test]
fn a_link_that_turns_out_to_be_too_large_is_removed() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let link = magnet(7);
    upstream.put(
        "/feed",
        "200 OK",
        format!("<rss><channel><item><title>x</title><link>{link}</link></item></channel></rss>"),
    );
    let settings = Subscribe { max_item_size: Some(Size(999)), ..upstream.settings() };
    let mirror = Mirror::start(dir.path(), settings);
    until("it is removed", || mirror.removed.lock().unwrap().len() == 1);
    assert!(mirror.has().is_empty());
    assert!(mirror.is(&link, ItemState::Taken), "and does not come again");
    mirror.stop();
}

#[test]
fn what_two_feeds_name_is_one_torrent() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[5]);
    let mirror = Mirror::start(dir.path(), upstream.settings());
    until("it is taken", || mirror.has() == [5]);
    let again = format!("<rss><channel><item><title>x</title><link>{}</link></item></channel></rss>", magnet(5));
    upstream.put("/feed", "200 OK", again);
    until("it is known", || mirror.is(&magnet(5), ItemState::Taken));
    assert_eq!(mirror.item(&magnet(5)).unwrap().torrent, Some(mirror.rows()[0].number));
    mirror.stop();
}

#[test]
fn what_goes_from_the_feed_is_removed_only_if_wanted_and_never_all_at_once() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2]);
    let mirror = Mirror::start(dir.path(), Subscribe { keep: false, seed: false, ..upstream.settings() });
    until("both are taken", || mirror.has() == [1, 2]);
    assert_eq!(mirror.rows()[0].limits.seed_time_s, Some(1));
    // An empty feed is a broken one.
    let feeds = || upstream.count(|(path, _)| path == "/feed");
    upstream.publish(&[]);
    let asked = feeds();
    until("the empty feed was read", || feeds() > asked + 3);
    assert_eq!(mirror.has(), [1, 2]);
    // The feed stays as it is without it.
    upstream.publish(&[2]);
    until("it is removed", || mirror.has() == [2]);
    until("the desk was asked for it", || mirror.removed.lock().unwrap().len() == 1);
    mirror.stop();
}

#[test]
fn what_another_feed_names_stays() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2, 3]);
    let mirror = Mirror::start(dir.path(), Subscribe { keep: false, ..upstream.settings() });
    until("all are taken", || mirror.has() == [1, 2, 3] && mirror.is("urn:1", ItemState::Taken));
    let (name, url) = ("other".to_owned(), String::new());
    let feed = catalogue::FeedState { name, url, etag: None, last_modified: None, polled_at_s: None };
    let theirs = FeedItem { feed: "other".to_owned(), ..mirror.item("urn:1").unwrap() };
    mirror.catalogue.apply_blocking(vec![Change::PutFeed(feed), Change::PutItems(vec![theirs])]).unwrap();
    upstream.publish(&[3]);
    until("what nobody else names goes", || mirror.has() == [1, 3]);
    let asked = upstream.count(|(path, _)| path == "/feed");
    until("the feed is read again", || upstream.count(|(path, _)| path == "/feed") > asked + 3);
    assert_eq!(mirror.has(), [1, 3]);
    mirror.stop();
}

#[test]
fn items_that_wait_for_room_keep_nobody_from_reading_the_feed() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let many: Vec<u64> = (1..=40).collect();
    upstream.publish(&many);
    let mirror = Mirror::start(dir.path(), Subscribe { keep: false, max_items: Some(1), ..upstream.settings() });
    until("one is taken", || mirror.has().len() == 1);
    // It makes place for the next one once the feed was read without it.
    let first = mirror.has()[0];
    upstream.publish(&many.iter().copied().filter(|number| *number != first).collect::<Vec<_>>());
    until("another one has its place", || matches!(mirror.has()[..], [number] if number != first));
    mirror.stop();
}

#[test]
fn other_rules_hold_for_a_feed_that_has_not_changed() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2]);
    let reject = vec!["release 1".parse().unwrap()];
    let mirror = Mirror::start(dir.path(), Subscribe { reject, ..upstream.settings() });
    until("the other one is taken", || mirror.has() == [2] && mirror.is("urn:1", ItemState::Skipped));
    mirror.stop();
    let mirror = Mirror::start(dir.path(), upstream.settings());
    until("it is wanted now", || mirror.rows().len() == 2);
    mirror.stop();
}

#[test]
fn what_is_missing_in_the_part_of_a_feed_that_was_read_is_not_removed() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2]);
    let settings = Subscribe { keep: false, reject: vec!["other".parse().unwrap()], ..upstream.settings() };
    let mirror = Mirror::start(dir.path(), settings);
    until("both are taken", || mirror.holds(&[1, 2]));
    let item = |number: usize| {
        format!("<item><title>other</title><guid>o{number}</guid><enclosure url='/{number}.torrent'/></item>")
    };
    let items: String = (0..=super::document::ITEMS_MAX).map(item).collect();
    upstream.put("/feed", "200 OK", format!("<rss><channel>{items}</channel></rss>"));
    until("it was read", || mirror.is("o1", ItemState::Skipped));
    let same = || upstream.count(|(path, is_same)| path == "/feed" && *is_same);
    let asked = same();
    until("it was asked for again", || same() > asked + 3);
    assert!(mirror.holds(&[1, 2]));
    mirror.stop();
}

#[test]
fn what_went_from_the_feed_and_comes_back_is_taken_again() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[1, 2]);
    let mirror = Mirror::start(dir.path(), Subscribe { keep: false, ..upstream.settings() });
    until("both are taken", || mirror.holds(&[1, 2]));
    let feeds = || upstream.count(|(path, _)| path == "/feed");
    upstream.publish(&[2]);
    until("it is removed", || mirror.has() == [2]);
    let asked = feeds();
    until("the feed was read on", || feeds() > asked + 3);
    assert_eq!(mirror.removed.lock().unwrap().len(), 1, "removed once");
    upstream.publish(&[1, 2]);
    until("it is taken again", || mirror.holds(&[1, 2]));
    mirror.stop();
}

#[test]
fn an_old_version_makes_place_for_the_next_one_of_its_name_and_one_that_is_kept_stays_beside_it() {
    // The old one is gone from the feed in two of these.
    for (keep, feed, held) in
        [(false, &[2, 3][..], &[2, 3][..]), (true, &[2, 3], &[1, 2, 3]), (false, &[1, 2, 3], &[1, 2, 3])]
    {
        let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
        upstream.put("/3.torrent", "200 OK", torrent_called(3, "001.iso"));
        upstream.publish(&[1, 2]);
        let mirror = Mirror::start(dir.path(), Subscribe { keep, ..upstream.settings() });
        until("both are taken", || mirror.is("urn:1", ItemState::Taken) && mirror.is("urn:2", ItemState::Taken));
        upstream.publish(feed);
        until("the new one is taken", || mirror.is("urn:3", ItemState::Taken));
        assert!(mirror.holds(held), "{keep} {:?}", mirror.has());
        assert_eq!(mirror.removed.lock().unwrap().len(), 3 - held.len());
        mirror.stop();
    }
}

#[test]
fn the_oldest_that_waits_is_the_next_one_that_finds_room() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let all: Vec<u64> = (1..=12).collect();
    upstream.publish(&all);
    let mirror = Mirror::start(dir.path(), Subscribe { max_items: Some(3), ..upstream.settings() });
    for first in 1..=9 {
        until("the oldest are taken", || mirror.has() == all[first - 1..first + 2]);
        // That there is no room was said to the next one, again and again.
        until("the next one waits", || {
            mirror.item(&format!("urn:{}", first + 3)).is_some_and(|item| item.reason.is_some())
        });
        mirror.catalogue.apply_blocking(vec![Change::RemoveTorrent(mirror.rows()[0].number)]).unwrap();
    }
    until("all had their turn", || mirror.has() == [10, 11, 12]);
    mirror.stop();
}

#[test]
fn what_is_too_large_for_the_room_that_is_left_waits_and_the_next_one_that_fits_is_taken() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[5, 30, 6, 7]);
    let mirror = Mirror::start(dir.path(), Subscribe { max_total_size: Some(Size(20)), ..upstream.settings() });
    until("what fits is taken", || mirror.has() == [5, 6, 7]);
    until("the other one was tried", || mirror.item("urn:30").unwrap().reason.is_some());
    assert!(mirror.is("urn:30", ItemState::Waiting));
    mirror.stop();
}

#[test]
fn an_item_by_another_id_keeps_the_torrent_that_came_by_the_first() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.publish(&[5, 6]);
    let mirror = Mirror::start(dir.path(), Subscribe { keep: false, ..upstream.settings() });
    until("both are taken", || mirror.holds(&[5, 6]));
    let feeds = || upstream.count(|(path, _)| path == "/feed");
    let links: String = [5, 6].map(|number| format!("<item><link>{}</link></item>", magnet(number))).concat();
    upstream.put("/feed", "200 OK", format!("<rss><channel>{links}</channel></rss>"));
    until("it is known", || mirror.is(&magnet(6), ItemState::Taken));
    let asked = feeds();
    until("the feed was read on", || feeds() > asked + 3);
    assert!(mirror.holds(&[5, 6]));
    // It goes with the last of its items.
    upstream.put("/feed", "200 OK", format!("<rss><channel><item><link>{}</link></item></channel></rss>", magnet(6)));
    until("it is removed", || mirror.has() == [6]);
    assert!(mirror.item(&magnet(5)).is_none());
    mirror.stop();
}

#[test]
fn a_feed_that_is_none_is_told_of_once_and_asked_again() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    upstream.put("/feed", "200 OK", "<html><body>Sign in</body></html>");
    let mirror = Mirror::start(dir.path(), upstream.settings());
    until("it was asked again", || upstream.count(|(path, _)| path == "/feed") > 2);
    upstream.publish(&[1]);
    until("it is a feed now", || mirror.has() == [1]);
    until("somebody is told", || mirror.webhooks.counters().queued.load(Relaxed) == 1);
    mirror.stop();
}

#[test]
fn certificates_that_are_none_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    assert!(read_roots(&path).is_err());
    std::fs::write(&path, "rubbish").unwrap();
    assert_eq!(read_roots(&path), Err("holds no certificate in PEM".to_owned()));
}
