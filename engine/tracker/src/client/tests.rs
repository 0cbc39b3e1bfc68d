//! The schedule, played through by the hour.

mod load;

use std::collections::BTreeSet;

use super::*;

const HASH: InfoHash = InfoHash([1; 20]);
const ID: TorrentId = TorrentId(1);

/// A client of one family whose back-off has no say unless a test gives it one.
fn client() -> TrackerClient {
    TrackerClient::new(Config { families: vec![Family::V4], ..Config::default() }, 1)
}

fn tiers(tiers: &[&[&str]]) -> Vec<Vec<String>> {
    tiers.iter().map(|tier| tier.iter().map(|url| (*url).to_owned()).collect()).collect()
}

fn good() -> AnnounceReply {
    AnnounceReply { interval_s: Some(1800), ..AnnounceReply::default() }
}

fn lost() -> AnnounceFailure {
    AnnounceFailure::Lost("timed out".to_owned())
}

fn refused(retry: Retry) -> AnnounceFailure {
    AnnounceFailure::Refused(Failure { reason: "no".to_owned(), retry })
}

/// All that is due, unanswered.
fn poll_all(client: &mut TrackerClient, now: Millis) -> Vec<AnnounceAction> {
    std::iter::from_fn(|| client.poll_announce(now)).collect()
}

fn urls(actions: &[AnnounceAction]) -> BTreeSet<&str> {
    actions.iter().map(|action| action.url.as_str()).collect()
}

/// The next announce in time, wherever it is; moves `now` there.
fn next(client: &mut TrackerClient, now: &mut Millis) -> AnnounceAction {
    loop {
        if let Some(action) = client.poll_announce(*now) {
            return action;
        }
        *now = client.poll_timeout().expect("something is due").max(*now + 1);
    }
}

/// Has everybody answer at once until nothing is due for a minute; moves `now` along and gives how many announces that were.
fn answer_all(client: &mut TrackerClient, now: &mut Millis) -> usize {
    let mut count = 0;
    loop {
        while let Some(action) = client.poll_announce(*now) {
            client.handle_reply(*now, action.id, &good());
            count += 1;
        }
        match client.poll_timeout() {
            Some(at) if at < *now + 60_000 => *now = at.max(*now + 1),
            _ => return count,
        }
    }
}

#[test]
fn a_seed_announces_both_hashes_of_a_hybrid_in_both_families_to_every_tier() {
    let mut client = TrackerClient::new(Config::default(), 1);
    let hashes = [HASH, InfoHash([2; 20])];
    client.add(0, ID, &hashes, &tiers(&[&["http://a/announce"], &["udp://b:1"], &["http://[::1]/announce"]]));
    let mut now = 0;
    let actions: Vec<AnnounceAction> = (0..10)
        .map(|_| {
            let action = next(&mut client, &mut now);
            client.handle_reply(now, action.id, &good());
            action
        })
        .collect();
    assert!(now < 100);
    let lines: BTreeSet<_> =
        actions.iter().map(|action| (action.url.as_str(), action.family, action.info_hash)).collect();
    assert_eq!(lines.len(), 2 * (2 + 2 + 1), "an IPv6 address has no IPv4 side");
    assert!(actions.iter().all(|action| action.event == Event::Started));
    assert!(client.poll_timeout() >= Some(1_800_000), "nothing is due before the interval is over");
}

#[test]
fn within_a_tier_the_first_that_works_comes_to_the_front_and_stays_there() {
    let mut client = client();
    client.add(0, ID, &[HASH], &tiers(&[&["http://a/", "http://b/"]]));
    let mut now = 0;
    let first = next(&mut client, &mut now);
    assert_eq!(client.poll_announce(now), None, "one tracker of a tier at a time");
    client.handle_failure(now, first.id, lost());
    let second = next(&mut client, &mut now);
    assert_ne!(first.url, second.url);
    assert_eq!(now, 0, "the other one at once");
    client.handle_reply(now, second.id, &good());
    let third = next(&mut client, &mut now);
    assert_eq!((third.url, third.event), (second.url, Event::None));
    assert!((1_800_000..=1_890_000).contains(&now));
}

#[test]
fn a_tracker_that_hangs_delays_no_other() {
    let mut client = client();
    for torrent in 0..100 {
        let hash = InfoHash([torrent; 20]);
        let id = TorrentId(torrent.into());
        client.add(0, id, &[hash], &tiers(&[&["http://hangs/"], &["http://works/"]]));
    }
    let (mut works_count, mut hung, mut now) = (0, 0, 0);
    while works_count < 100 {
        let action = next(&mut client, &mut now);
        if action.url.host() == "works" {
            works_count += 1;
            client.handle_reply(now, action.id, &good());
        } else {
            hung += 1;
        }
    }
    assert!(now <= 200, "as fast as it may be asked: {now} ms");
    assert_eq!(hung, 1, "who has not answered yet is asked little");
}

#[test]
fn back_off_is_the_hosts_so_a_dead_tracker_of_many_torrents_is_asked_rarely() {
    let mut client = client();
    for torrent in 0..100 {
        client.add(0, TorrentId(torrent.into()), &[InfoHash([torrent; 20])], &tiers(&[&["udp://dead:1"]]));
    }
    let mut now = 0;
    let mut asked_count = 0;
    while now < 3_600_000 {
        let action = next(&mut client, &mut now);
        asked_count += 1;
        client.handle_failure(now, action.id, lost());
    }
    assert!((5..40).contains(&asked_count), "{asked_count} announces in an hour");
    let action = next(&mut client, &mut now);
    client.handle_reply(now, action.id, &good());
    let until = now + 1000;
    let count = answer_all(&mut client, &mut now);
    assert!(count >= 95 && now < until, "once it answers, the others follow: {count} in {} ms", 1000 + now - until);
}

#[test]
fn a_torrents_other_tracker_is_asked_while_the_first_is_left_alone() {
    let mut client = client();
    let two = tiers(&[&["http://a/", "http://b/"]]);
    client.add(0, ID, &[HASH], &two);
    let mut now = 0;
    let first = next(&mut client, &mut now);
    client.handle_failure(now, first.id, lost());
    client.add(0, TorrentId(2), &[InfoHash([2; 20])], &two);
    for _ in 0..2 {
        let other = next(&mut client, &mut now);
        assert_ne!(other.url, first.url);
        client.handle_reply(now, other.id, &good());
    }
    assert!(now < 100);
}

#[test]
fn absurd_intervals_are_held_within_limits_and_min_interval_is_kept() {
    for (interval_s, min_interval_s, low_s, high_s) in [
        (Some(1), None, 60, 63),
        (Some(0), None, 1800, 1890),
        (None, None, 1800, 1890),
        (Some(u32::MAX), None, 21_600, 22_680),
        (Some(300), Some(900), 900, 945),
        (Some(900), Some(300), 900, 945),
    ] {
        let mut client = client();
        client.add(0, ID, &[HASH], &tiers(&[&["http://a/"]]));
        let mut now = 0;
        let action = next(&mut client, &mut now);
        let reply = AnnounceReply { interval_s, min_interval_s, ..AnnounceReply::default() };
        client.handle_reply(now, action.id, &reply);
        next(&mut client, &mut now);
        assert!((low_s * 1000..=high_s * 1000).contains(&now), "{interval_s:?} {min_interval_s:?}: {now}");
    }
}

#[test]
fn stopped_goes_to_whom_we_are_known_and_to_nobody_else() {
    let mut client = client();
    client.add(0, ID, &[HASH], &tiers(&[&["http://a/"], &["http://b/"], &["http://c/"]]));
    let actions = poll_all(&mut client, 0);
    let by_host = |host: &str| actions.iter().find(|action| action.url.host() == host).unwrap().id;
    client.handle_reply(0, by_host("a"), &good());
    client.handle_failure(0, by_host("b"), lost());
    client.remove(1000, ID);
    let stops = poll_all(&mut client, 1000);
    assert_eq!(urls(&stops), BTreeSet::from(["http://a/"]), "b never answered, c is still under way");
    assert_eq!(stops[0].event, Event::Stopped);
    client.handle_reply(1500, by_host("c"), &good());
    let late = poll_all(&mut client, 1500);
    assert_eq!((urls(&late), late[0].event), (BTreeSet::from(["http://c/"]), Event::Stopped));
    assert!(!client.is_idle());
    assert_eq!(client.poll_finished(), None);
    client.handle_reply(2000, stops[0].id, &good());
    client.handle_failure(2000, late[0].id, lost());
    assert!(client.is_idle(), "stopped is said once");
    assert_eq!((client.poll_finished(), client.poll_finished()), (Some(ID), None));
    assert!(client.hosts.is_empty());
}

#[test]
fn nobody_waits_at_the_end_for_a_tracker_that_has_been_silent_all_along() {
    let mut client = client();
    client.add(0, ID, &[HASH], &tiers(&[&["http://hangs/"], &["http://works/"]]));
    let actions = poll_all(&mut client, 0);
    let by_host = |host: &str| actions.iter().find(|action| action.url.host() == host).unwrap().id;
    client.handle_reply(100, by_host("works"), &good());
    client.remove_all(10_000);
    let stop = client.poll_announce(10_000).unwrap();
    assert_eq!((stop.url.host(), stop.event), ("works", Event::Stopped));
    client.handle_reply(10_100, stop.id, &good());
    assert!(client.is_idle());
    client.handle_reply(10_200, by_host("hangs"), &good());
    assert_eq!(client.in_flight_count, 0);
}

#[test]
fn a_torrent_that_comes_back_at_once_is_not_stopped_after_its_start() {
    let mut client = client();
    let tier = tiers(&[&["http://a/"]]);
    client.add(0, ID, &[HASH], &tier);
    let start = client.poll_announce(0).unwrap();
    client.handle_reply(0, start.id, &good());
    client.remove(10, ID);
    client.add(20, TorrentId(2), &[HASH], &tier);
    let events: Vec<Event> = poll_all(&mut client, 20).iter().map(|action| action.event).collect();
    assert_eq!(events, [Event::Started]);
}

#[test]
fn a_torrent_that_comes_back_while_it_is_announced_is_not_stopped_after_its_start() {
    let mut client = client();
    let tier = tiers(&[&["http://a/"]]);
    client.add(0, ID, &[HASH], &tier);
    let start = client.poll_announce(0).unwrap();
    client.remove(10, ID);
    client.add(20, TorrentId(2), &[HASH], &tier);
    let mut events: Vec<Event> = poll_all(&mut client, 20).iter().map(|action| action.event).collect();
    client.handle_reply(30, start.id, &good());
    events.extend(poll_all(&mut client, 30).iter().map(|action| action.event));
    assert_eq!(events, [Event::Started]);
}

#[test]
fn completion_is_told_at_once_and_once() {
    let mut client = client();
    client.add(0, ID, &[HASH], &tiers(&[&["http://a/"]]));
    let mut now = 0;
    let start = next(&mut client, &mut now);
    client.completed(5, ID);
    assert_eq!(client.poll_announce(5), None, "not while the start is under way");
    client.handle_reply(10, start.id, &good());
    let completed = client.poll_announce(10).unwrap();
    assert_eq!(completed.event, Event::Completed);
    client.handle_reply(20, completed.id, &good());
    now = 20;
    assert_eq!(next(&mut client, &mut now).event, Event::None);
}

#[test]
fn never_means_never_and_minutes_are_waited() {
    let mut client = client();
    client.add(0, ID, &[HASH], &tiers(&[&["http://a/"], &["http://b/"]]));
    for action in poll_all(&mut client, 0) {
        let retry = if action.url.host() == "a" { Retry::Never } else { Retry::AfterMinutes(90) };
        client.handle_failure(0, action.id, refused(retry));
    }
    let mut now = 0;
    assert_eq!(next(&mut client, &mut now).url.host(), "b");
    assert_eq!(now, 90 * 60_000);
    let given_up = client.status().find(|status| status.url.is_none()).unwrap();
    assert_eq!((given_up.activity, given_up.outcome.error.as_deref()), (Activity::GivenUp, Some("no")));
}

#[test]
fn a_refusal_for_one_torrent_does_not_block_the_tracker_for_others() {
    let mut client = client();
    client.add(0, ID, &[HASH], &tiers(&[&["http://a/"]]));
    let action = client.poll_announce(0).unwrap();
    client.handle_failure(0, action.id, refused(Retry::Unsaid));
    client.add(0, TorrentId(2), &[InfoHash([2; 20])], &tiers(&[&["http://a/"]]));
    assert!(client.poll_announce(0).is_some());
    let mut pauses = Vec::new();
    let mut now = 0;
    for _ in 0..8 {
        let before = now;
        let again = next(&mut client, &mut now);
        assert_eq!(again.torrent, ID);
        pauses.push(now - before);
        client.handle_failure(now, again.id, refused(Retry::Unsaid));
    }
    assert!(pauses.windows(2).all(|pair| pair[1] > pair[0] || pair[1] >= 1_800_000), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= 36 * 60_000));
}

#[test]
fn a_family_without_addresses_is_asked_for_once_an_hour() {
    let mut client = client();
    client.add(0, ID, &[HASH], &tiers(&[&["http://a/"]]));
    let mut now = 0;
    let action = next(&mut client, &mut now);
    client.handle_failure(0, action.id, AnnounceFailure::NoAddress("no IPv4 address".to_owned()));
    next(&mut client, &mut now);
    assert_eq!(now, 3_600_000);
}

#[test]
fn a_new_release_does_not_wait_behind_routine_announces() {
    let mut client = client();
    let tier = tiers(&[&["http://a/"]]);
    for torrent in 0..50 {
        client.add(0, TorrentId(torrent.into()), &[InfoHash([torrent; 20])], &tier);
    }
    assert_eq!(answer_all(&mut client, &mut 0), 50);
    let mut later = 2_000_000;
    let routine = next(&mut client, &mut later);
    assert_eq!(routine.event, Event::None);
    client.add(later, TorrentId(99), &[InfoHash([99; 20])], &tier);
    assert_eq!(next(&mut client, &mut later).event, Event::Started);
}

/// No assertion on time: work that grows with the square of the torrents would be noticed without one.
#[test]
fn ten_thousand_torrents_come_and_go() {
    let mut client = client();
    let tier = tiers(&[&["http://a/", "http://b/"], &["udp://c:1"]]);
    for torrent in 0..10_000u64 {
        let mut hash = [0; 20];
        hash[..8].copy_from_slice(&torrent.to_be_bytes());
        client.add(0, TorrentId(torrent), &[InfoHash(hash)], &tier);
    }
    let mut now = 0;
    assert_eq!(answer_all(&mut client, &mut now), 20_000);
    client.remove_all(now);
    assert_eq!(answer_all(&mut client, &mut now), 20_000);
    assert!(client.is_idle());
    assert_eq!(std::iter::from_fn(|| client.poll_finished()).count(), 10_000);
}

#[test]
fn a_tracker_id_goes_back_to_the_tracker_that_gave_it_only() {
    let mut client = client();
    client.add(0, ID, &[HASH], &tiers(&[&["http://a/", "http://b/"]]));
    let mut now = 0;
    let first = next(&mut client, &mut now);
    let reply = AnnounceReply { tracker_id: Some(b"id".to_vec()), ..good() };
    client.handle_reply(now, first.id, &reply);
    let again = next(&mut client, &mut now);
    assert_eq!(again.tracker_id.as_deref(), Some(&b"id"[..]));
    client.handle_failure(now, again.id, lost());
    let other = next(&mut client, &mut now);
    assert_eq!((other.tracker_id.clone(), other.event), (None, Event::Started), "it does not know us yet");
    client.handle_reply(now, other.id, &good());
    let other = next(&mut client, &mut now);
    assert_eq!((other.tracker_id, other.event), (None, Event::None));
}

#[test]
fn useless_and_doubled_trackers_are_named_and_left_out() {
    let mut client = TrackerClient::new(Config { max_trackers_per_torrent: 2, ..Config::default() }, 1);
    let given = tiers(&[&["wss://x/", "http://a/", "http://a/"], &["http://a/"], &["http://b/", "http://c/"]]);
    let unused = client.add(0, ID, &[HASH], &given);
    assert_eq!(
        unused,
        [
            UnusedTracker { url: "wss://x/".to_owned(), error: Some(crate::url::UrlError::UnknownScheme) },
            UnusedTracker { url: "http://c/".to_owned(), error: None },
        ]
    );
    assert_eq!(urls(&poll_all(&mut client, 0)), BTreeSet::from(["http://a/", "http://b/"]));
}

#[test]
fn a_late_answer_to_nobody_is_passed_over() {
    let mut client = client();
    client.add(0, ID, &[HASH], &tiers(&[&["http://a/"]]));
    let action = client.poll_announce(0).unwrap();
    client.handle_reply(0, action.id, &good());
    client.handle_reply(0, action.id, &good());
    client.handle_failure(0, action.id, lost());
    client.handle_failure(0, SlotId(77), lost());
    assert_eq!(client.in_flight_count, 0);
}

#[test]
fn an_announce_that_a_person_asks_for_goes_out_at_once_but_not_twice() {
    let mut client = client();
    client.add(0, ID, &[HASH], &tiers(&[&["http://a/"], &["http://b/"]]));
    let mut now = 0;
    for _ in 0..2 {
        let action = next(&mut client, &mut now);
        client.handle_reply(now, action.id, &good());
    }
    now += 60_000;
    assert_eq!(client.poll_announce(now), None, "its time has not come");
    assert_eq!(client.announce_now(now, ID), 2);
    let asked = poll_all(&mut client, now);
    assert_eq!(urls(&asked), BTreeSet::from(["http://a/", "http://b/"]));
    for action in asked {
        assert_eq!(action.event, Event::None);
        client.handle_reply(now, action.id, &good());
    }
    now += ASKED_PAUSE_MS - 1;
    assert_eq!(client.announce_now(now, ID), 0);
    assert_eq!(client.poll_announce(now), None);
    assert_eq!(client.announce_now(now, TorrentId(77)), 0, "nobody knows that one");
    assert_eq!(client.status_of(ID).map(|line| line.tier).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn an_announce_that_a_person_asks_for_leaves_a_dead_host_alone() {
    let mut client = client();
    client.add(0, ID, &[HASH], &tiers(&[&["udp://dead:1"]]));
    let mut now = 0;
    let action = next(&mut client, &mut now);
    client.handle_failure(now, action.id, lost());
    client.announce_now(now + 1, ID);
    assert_eq!(client.poll_announce(now + 1), None);
    let again = next(&mut client, &mut now);
    assert_eq!(again.url, action.url, "it is asked when its pause is over");
}
