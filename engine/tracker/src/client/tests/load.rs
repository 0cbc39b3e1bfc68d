//! Thousands of torrents at trackers that live, limp or are dead, with time and the network played.

use super::*;

/// What the trackers do with announces, by the first letter of their name.
struct Network {
    client: TrackerClient,
    now: Millis,
    /// Announces under way: when what comes of them is known.
    under_way: BinaryHeap<Reverse<(Millis, u64)>>,
    actions: Vec<AnnounceAction>,
    /// When each announce was sent, and to whom.
    sent: Vec<(Millis, String, Family)>,
    answered_count: usize,
}

const ROUND_TRIP_MS: Millis = 80;
const TIMEOUT_MS: Millis = 20_000;

impl Network {
    fn new(config: Config) -> Network {
        Network {
            client: TrackerClient::new(config, 7),
            now: 0,
            under_way: BinaryHeap::new(),
            actions: Vec::new(),
            sent: Vec::new(),
            answered_count: 0,
        }
    }

    /// Plays until `until`, or until so many announces were answered.
    fn play(&mut self, until: Millis, answers: usize) {
        while self.now <= until && self.answered_count < answers {
            while let Some(action) = self.client.poll_announce(self.now) {
                self.sent.push((self.now, action.url.host().to_owned(), action.family));
                let is_dead = action.url.host().starts_with("dead");
                let at = self.now + if is_dead { TIMEOUT_MS } else { ROUND_TRIP_MS };
                self.under_way.push(Reverse((at, self.actions.len() as u64)));
                self.actions.push(action);
            }
            let arrives = self.under_way.peek().map(|Reverse((at, _))| *at);
            let due = self.client.poll_timeout();
            let Some(next) = arrives.into_iter().chain(due).min() else { return };
            self.now = next.max(self.now);
            if due.is_some_and(|due| due <= self.now) && arrives != Some(self.now) {
                // What is due and not handed out now would be asked about for ever.
                self.now += u64::from(next < self.now + 1);
            }
            while let Some(Reverse((at, index))) = self.under_way.peek().copied()
                && at <= self.now
            {
                self.under_way.pop();
                let action = self.actions[index as usize].clone();
                let host = action.url.host();
                if host.starts_with("dead") || (host.starts_with("lossy") && index % 100 == 99) {
                    self.client.handle_failure(self.now, action.id, lost());
                } else {
                    self.client.handle_reply(self.now, action.id, &good());
                    self.answered_count += 1;
                }
            }
        }
    }

    /// The most that one tracker was sent in one family in any second.
    fn most_in_a_second(&self) -> usize {
        let hosts: BTreeSet<(&str, Family)> =
            self.sent.iter().map(|(_, host, family)| (host.as_str(), *family)).collect();
        let most = |(host, family): (&str, Family)| {
            let times: Vec<Millis> = self
                .sent
                .iter()
                .filter(|sent| (sent.1.as_str(), sent.2) == (host, family))
                .map(|sent| sent.0)
                .collect();
            let in_second = |(at, begin): (usize, &Millis)| times[at..].partition_point(|time| *time < begin + 1000);
            times.iter().enumerate().map(in_second).max().unwrap_or(0)
        };
        hosts.into_iter().map(most).max().unwrap_or(0)
    }
}

fn hashes(torrent: u64) -> [InfoHash; 2] {
    let hash = |version: u8| {
        let mut hash = [version; 20];
        hash[..8].copy_from_slice(&torrent.to_be_bytes());
        InfoHash(hash)
    };
    [hash(1), hash(2)]
}

#[test]
fn ten_thousand_hybrids_are_announced_within_a_minute_and_no_faster_than_they_may_be() {
    for url in ["http://tracker/announce", "udp://tracker:6969"] {
        let mut network = Network::new(Config::default());
        for torrent in 0..10_000 {
            network.client.add_restored(0, TorrentId(torrent), &hashes(torrent), &tiers(&[&[url]]));
        }
        network.play(60_000, 40_000);
        assert_eq!(network.answered_count, 40_000, "{url}: both hashes in both families by {} ms", network.now);
        let most = network.most_in_a_second();
        assert!(most <= 506, "{url}: {most} announces in a second");
    }
}

#[test]
fn a_hundred_dead_trackers_cost_a_living_one_nothing() {
    let play = |dead_count: usize| {
        let mut network = Network::new(Config::default());
        let dead: Vec<String> = (0..dead_count).map(|number| format!("http://dead{number}/announce")).collect();
        for torrent in 0..3000 {
            let mut both = vec![vec!["http://alive/announce".to_owned()]];
            both.extend(dead.get(torrent as usize % 100).map(|url| vec![url.clone()]));
            network.client.add(0, TorrentId(torrent), &hashes(torrent)[..1], &both);
        }
        network.play(600_000, 6000);
        assert_eq!(network.answered_count, 6000);
        network.now
    };
    let (alone, among_dead) = (play(0), play(100));
    assert!(among_dead <= alone + 100, "{alone} ms alone, {among_dead} ms among dead ones");
}

#[test]
fn a_tracker_that_loses_one_announce_in_a_hundred_is_not_given_up() {
    let mut network = Network::new(Config::default());
    for torrent in 0..5000 {
        network.client.add(0, TorrentId(torrent), &hashes(torrent)[..1], &tiers(&[&["udp://lossy:1"]]));
    }
    network.play(120_000, 10_000);
    assert_eq!(network.answered_count, 10_000, "by {} ms", network.now);
}

#[test]
fn a_new_release_goes_before_those_that_an_earlier_run_announced() {
    let mut network = Network::new(Config { families: vec![Family::V4], ..Config::default() });
    let tier = tiers(&[&["http://tracker/announce"]]);
    for torrent in 0..5000 {
        network.client.add_restored(0, TorrentId(torrent), &hashes(torrent)[..1], &tier);
    }
    network.play(5000, usize::MAX);
    assert!(network.answered_count < 3000, "they are many");
    let before = network.actions.len();
    network.client.add(network.now, TorrentId(9999), &hashes(9999)[..1], &tier);
    network.play(network.now + 100, usize::MAX);
    let at = network.actions[before..].iter().position(|action| action.torrent == TorrentId(9999));
    assert!(at.is_some_and(|at| at <= 1), "{at:?} others were sent first");
}

#[test]
fn numbers_of_lines_that_are_gone_find_no_others() {
    let mut client = client();
    let tier = tiers(&[&["http://a/"]]);
    client.add(0, ID, &[HASH], &tier);
    let gone = client.poll_announce(0).unwrap();
    client.remove(10_000, ID);
    client.add(10_000, TorrentId(2), &[InfoHash([2; 20])], &tier);
    client.handle_reply(10_000, gone.id, &good());
    let line = client.status().next().unwrap();
    assert_eq!((line.torrent, line.outcome.success_count), (TorrentId(2), 0));
}

#[test]
fn trackers_that_no_torrent_has_any_more_are_forgotten() {
    let mut client = client();
    for torrent in 0..10_000 {
        client.add(0, TorrentId(torrent), &hashes(torrent)[..1], &tiers(&[&[&format!("http://h{torrent}/")]]));
        client.remove(0, TorrentId(torrent));
    }
    assert!(client.is_idle());
    assert!(client.tiers.len() <= 1024 + 2, "{}", client.tiers.len());
}

#[test]
fn another_pace_holds_from_the_moment_on() {
    let mut network = Network::new(Config { families: vec![Family::V4], ..Config::default() });
    for torrent in 0..2000 {
        network.client.add(0, TorrentId(torrent), &hashes(torrent), &tiers(&[&["http://tracker/announce"]]));
    }
    network.client.set_pace(0, 20, 4);
    network.play(10_000, usize::MAX);
    let slow = network.sent.len();
    assert!((180..=206).contains(&slow), "{slow} announces in ten seconds at 20 a second");
    network.client.set_pace(network.now, 500, 50);
    network.play(20_000, usize::MAX);
    assert_eq!(network.answered_count, 4000, "all are announced by {} ms", network.now);
    let of_one_second = |from: Millis| network.sent.iter().filter(|sent| (from..from + 1000).contains(&sent.0)).count();
    assert!(of_one_second(12_000) > 400, "{}", of_one_second(12_000));
}
