use super::*;

const TIMES: ScheduleTimes =
    ScheduleTimes { announce_min_ms: 900_000, announce_max_ms: 1_800_000, few_peers_ms: 20_000, no_nodes_ms: 2_000 };

/// A schedule with the node that it drives: lookups end when a test says so.
struct Bench {
    schedule: Schedule,
    dht: dht::Dht,
}

impl Bench {
    fn new() -> Bench {
        let config = dht::Config { v6: false, ..dht::Config::default() };
        let mut dht = dht::Dht::new(config, [1; 32], 0);
        // A node that never answers keeps lookups under way.
        dht.add_router(0, ([127, 0, 0, 1], 9).into());
        Bench { schedule: Schedule::new(TIMES, 1), dht }
    }

    fn start(&mut self, now: Millis) -> Option<(LookupId, InfoHash)> {
        let (id, info_hash, announce) = self.schedule.next_due(now)?;
        let lookup = self.dht.lookup(now, info_hash, announce).unwrap();
        self.schedule.started(lookup, id, info_hash);
        Some((lookup, info_hash))
    }

    /// Ends a lookup; says how long it is until the next.
    fn done(&mut self, now: Millis, lookup: LookupId, answered: usize, peers: usize) -> Millis {
        let info_hash = InfoHash([0; 20]);
        self.dht.cancel(lookup);
        self.schedule.done(now, &LookupDone { id: lookup, info_hash, answered, announced: answered, peers });
        self.schedule.deadline().unwrap() - now
    }
}

fn torrent(n: u8, wants_peers: bool) -> DhtTorrent {
    let found: Option<Found> = if wants_peers { Some(Arc::new(drop)) } else { None };
    DhtTorrent { info_hashes: vec![InfoHash([n; 20])], port: 6881, is_restored: false, is_private: false, found }
}

#[test]
fn a_seed_is_announced_every_quarter_to_half_an_hour() {
    let mut bench = Bench::new();
    bench.schedule.add(0, torrent(1, false));
    let mut now = 0;
    for _ in 0..50 {
        let (lookup, _) = bench.start(now).unwrap();
        let wait = bench.done(now, lookup, 8, 0);
        assert!((TIMES.announce_min_ms..=TIMES.announce_max_ms).contains(&wait), "{wait}");
        assert_eq!(bench.start(now + wait - 1), None);
        now += wait;
    }
}

#[test]
fn who_lacks_peers_is_looked_up_more_often_and_ever_less_so() {
    let mut bench = Bench::new();
    bench.schedule.add(0, torrent(1, true));
    let (mut now, mut waits) = (0, Vec::new());
    for _ in 0..10 {
        let (lookup, _) = bench.start(now).unwrap();
        waits.push(bench.done(now, lookup, 8, 1));
        now += waits.last().unwrap();
    }
    assert!((20_000..=25_000).contains(&waits[0]), "{waits:?}");
    assert!(waits.windows(2).take(5).all(|pair| pair[1] > pair[0]), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= TIMES.announce_max_ms));
    let (lookup, _) = bench.start(now).unwrap();
    assert!(bench.done(now, lookup, 8, FEW_PEERS) >= TIMES.announce_min_ms, "peers enough");
    let (lookup, _) = bench.start(now + TIMES.announce_max_ms).unwrap();
    assert!(bench.done(now, lookup, 8, 1) <= 25_000, "few again");
}

#[test]
fn while_nobody_answers_all_try_again_soon() {
    let mut bench = Bench::new();
    bench.schedule.add(0, torrent(1, false));
    let (lookup, _) = bench.start(0).unwrap();
    assert!((2_000..=2_500).contains(&bench.done(0, lookup, 0, 0)));
}

#[test]
fn who_lacks_peers_goes_before_who_wants_to_be_found_and_never_too_many_at_once() {
    let mut bench = Bench::new();
    for n in 0..100 {
        bench.schedule.add(0, torrent(n, false));
    }
    bench.schedule.add(5, torrent(200, true));
    let first = bench.start(10).unwrap();
    assert_eq!(first.1, InfoHash([200; 20]));
    let started = (0..100).filter(|n| bench.start(10 + n * 2 * SEEDING_PAUSE_MS).is_some()).count();
    assert_eq!((started + 1, bench.schedule.lookup_count()), (MAX_AT_ONCE, MAX_AT_ONCE));
    assert_eq!((bench.schedule.deadline(), bench.schedule.overdue_count(10)), (None, 101 - MAX_AT_ONCE));
}

#[test]
fn thousands_of_seeds_are_no_storm_and_each_has_its_turn() {
    const COUNT: u32 = 3_000;
    let mut bench = Bench::new();
    for n in 0..COUNT {
        let mut info_hash = InfoHash([1; 20]);
        info_hash.0[..4].copy_from_slice(&n.to_be_bytes());
        let restored = DhtTorrent { info_hashes: vec![info_hash], is_restored: true, ..torrent(1, false) };
        bench.schedule.add(0, restored);
    }
    let mut starts = Vec::new();
    while starts.len() < COUNT as usize {
        let now = bench.schedule.deadline().unwrap();
        let (lookup, info_hash) = bench.start(now).unwrap();
        bench.dht.cancel(lookup);
        let done = LookupDone { id: lookup, info_hash, answered: 8, announced: 8, peers: 0 };
        bench.schedule.done(now, &done);
        starts.push((now, info_hash));
    }
    // Ten a second, a quarter more or less.
    let in_a_second = starts.windows(14).filter(|window| window[13].0 - window[0].0 < 1_000).count();
    assert_eq!(in_a_second, 0);
    let end = starts.last().unwrap().0;
    assert!(end < Millis::from(COUNT) * SEEDING_PAUSE_MS * 5 / 4, "{end}");
    let names: BTreeSet<InfoHash> = starts.iter().map(|(_, info_hash)| *info_hash).collect();
    assert_eq!(names.len(), COUNT as usize, "nobody comes twice before everybody came once");
    let first = |starts: &[(Millis, InfoHash)]| {
        starts.iter().filter(|(_, name)| name.0[..4] < 1_500u32.to_be_bytes()[..]).count()
    };
    let early = first(&starts[..COUNT as usize / 10]);
    assert!(early < COUNT as usize / 10, "the order is not always the same: {early}");
}

#[test]
fn what_nobody_knows_of_yet_goes_before_torrents_of_an_earlier_run() {
    let mut bench = Bench::new();
    for n in 0..200 {
        bench.schedule.add(0, DhtTorrent { is_restored: true, ..torrent(n, false) });
    }
    bench.schedule.add(60_000, torrent(250, false));
    assert_eq!(bench.start(60_000).unwrap().1, InfoHash([250; 20]));
}

#[test]
fn a_removed_torrent_leaves_nothing() {
    let mut bench = Bench::new();
    let both = DhtTorrent { info_hashes: vec![InfoHash([1; 20]), InfoHash([2; 20])], ..torrent(1, true) };
    let id = bench.schedule.add(0, both);
    let (lookup, info_hash) = bench.start(0).unwrap();
    assert_eq!(bench.schedule.finders(info_hash).len(), 1);
    assert_eq!(bench.schedule.remove(id), [lookup]);
    assert_eq!((bench.schedule.deadline(), bench.schedule.torrent_count(), bench.start(0)), (None, 0, None));
    assert!(bench.schedule.finders(info_hash).is_empty());
}

#[test]
fn who_takes_no_connections_is_not_announced() {
    let mut bench = Bench::new();
    bench.schedule.add(0, DhtTorrent { port: 0, ..torrent(1, true) });
    assert!(matches!(bench.schedule.next_due(0), Some((_, _, None))));
}
