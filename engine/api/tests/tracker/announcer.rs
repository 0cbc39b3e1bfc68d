//! Our client against our server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use control::announcer::{AnnounceTorrent, Announcer, AnnouncerConfig, Totals, UdpTimes};
use hash::InfoHash;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracker::client::{Activity, TrackerStatus};
use tracker::table::Access;
use tracker::{Family, Scheme, SwarmStats, TrackerUrl};

use crate::{TORRENT, soon, start_tracker};

/// A client that loses no time over what is lost.
pub(crate) fn config() -> AnnouncerConfig {
    AnnouncerConfig {
        udp: UdpTimes { first_wait: Duration::from_millis(200), attempts: 6 },
        ..AnnouncerConfig::new(*b"-SP0001-abcdefghijkl", 51413)
    }
}

pub(crate) fn seed(tiers: &[&[String]]) -> AnnounceTorrent {
    let seed = Totals { left_bytes: Some(0), ..Totals::default() };
    AnnounceTorrent {
        info_hashes: vec![TORRENT],
        tiers: tiers.iter().map(|tier| tier.to_vec()).collect(),
        totals: Arc::new(move || seed),
        want_count: 10,
        found: Arc::new(drop),
    }
}

/// Waits until so many announces have come to an end.
pub(crate) async fn settle(announcer: &Announcer, count: u64) -> Vec<TrackerStatus> {
    soon(announcer.settled().wait_for(|settled| *settled >= count)).await.unwrap();
    announcer.status()
}

#[tokio::test]
async fn a_seed_starts_and_stops_on_every_tracker_hash_and_family() {
    let (server, service) = start_tracker(Access::Open);
    let announcer = Announcer::start(&config()).unwrap();
    let truncated_v2 = InfoHash([2; 20]);
    let tiers: Vec<Vec<String>> = server.urls().into_iter().map(|url| vec![url]).collect();
    let hybrid = AnnounceTorrent { info_hashes: vec![TORRENT, truncated_v2], tiers, ..seed(&[]) };
    let (_, unused) = announcer.add(hybrid);
    assert_eq!(unused, []);
    // Two hashes on two wires in two families.
    let status = settle(&announcer, 8).await;
    assert_eq!(status.len(), 8);
    for line in &status {
        assert_eq!((line.outcome.success_count, &line.outcome.error), (1, &None), "{line:?}");
        assert!(matches!(line.activity, Activity::Waiting { until_ms } if until_ms >= 240_000), "{line:?}");
    }
    // HTTP and UDP tell of the same address, which counts once in each family.
    let both = Some(SwarmStats { seed_count: 2, leech_count: 0, completed_count: 0 });
    assert_eq!((service.stats(TORRENT), service.stats(truncated_v2)), (both, both));
    soon(announcer.shutdown(Duration::from_secs(30))).await;
    assert_eq!((service.stats(TORRENT), service.stats(truncated_v2)), (None, None));
    // The first of HTTP and UDP takes the address out; the second finds it gone.
    assert_eq!(service.status().counters.stopped, 4);
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_tracker_by_name_is_announced_to_in_the_families_that_it_has() {
    let (server, service) = start_tracker(Access::Open);
    let port = server.local_addrs()[0].port();
    let announcer = Announcer::start(&config()).unwrap();
    announcer.add(seed(&[&[format!("http://localhost:{port}/announce")], &[format!("udp://localhost:{port}/x?y=z")]]));
    let status = settle(&announcer, 4).await;
    // What `localhost` means is up to the host: one family or both.
    for line in &status {
        match &line.outcome.error {
            None => assert_eq!(line.outcome.success_count, 1),
            Some(error) => assert!(error.contains("has no IPv"), "{error}"),
        }
    }
    assert!(service.stats(TORRENT).unwrap().seed_count >= 1);
    soon(announcer.shutdown(Duration::from_secs(30))).await;
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_refused_torrent_is_shown_in_the_trackers_words_and_removal_is_told() {
    let (server, service) = start_tracker(Access::Listed);
    let announcer = Announcer::start(&config()).unwrap();
    let urls = server.urls();
    let (id, _) = announcer.add(seed(&[&urls[..1], &urls[1..2]]));
    for line in settle(&announcer, 2).await {
        assert_eq!(line.outcome.error.as_deref(), Some("torrent is not registered with this tracker"));
    }
    announcer.remove(id);
    assert_eq!(announcer.status(), []);
    service.allow(TORRENT);
    let (id, _) = announcer.add(seed(&[&urls[..1]]));
    settle(&announcer, 3).await;
    assert_eq!(service.stats(TORRENT).unwrap().seed_count, 1);
    announcer.remove(id);
    settle(&announcer, 4).await;
    assert_eq!(service.stats(TORRENT).unwrap().seed_count, 0);
    soon(announcer.shutdown(Duration::from_secs(30))).await;
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_leech_hears_of_the_seed_and_a_seed_asks_for_nobody() {
    let (server, _service) = start_tracker(Access::Open);
    let urls = server.urls();
    let seeding = Announcer::start(&config()).unwrap();
    seeding.add(seed(&[&urls[..1]]));
    settle(&seeding, 1).await;

    let leeching = Announcer::start(&AnnouncerConfig { port: 51414, ..config() }).unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let lacks = Totals { left_bytes: Some(1), ..Totals::default() };
    let found = Arc::new(move |peers| tell.send(peers).unwrap());
    leeching.add(AnnounceTorrent { totals: Arc::new(move || lacks), found, ..seed(&[&urls[..1]]) });
    let peers = soon(told.recv()).await.unwrap();
    assert!(peers.iter().any(|peer| peer.port() == 51413), "{peers:?}");

    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel::<Vec<_>>();
    let found = Arc::new(move |peers| tell.send(peers).unwrap());
    let announced = seeding.settled().borrow().to_owned();
    let (id, _) = seeding.add(AnnounceTorrent { found, ..seed(&[&urls[..1]]) });
    settle(&seeding, announced + 1).await;
    assert!(told.try_recv().is_err());
    seeding.remove(id);
    soon(leeching.shutdown(Duration::from_secs(30))).await;
    soon(seeding.shutdown(Duration::from_secs(30))).await;
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_scrape_gives_the_size_of_the_swarm_over_both_wires() {
    let (server, _service) = start_tracker(Access::Open);
    let announcer = Announcer::start(&config()).unwrap();
    announcer.add(seed(&[&server.urls()[..1]]));
    settle(&announcer, 1).await;
    for url in server.urls() {
        let url: TrackerUrl = url.parse().unwrap();
        let reply = soon(announcer.scrape(&url, &[TORRENT])).await.unwrap();
        let stats = SwarmStats { seed_count: 1, leech_count: 0, completed_count: 0 };
        assert_eq!(reply.swarms, [(TORRENT, stats)], "{:?}", url.scheme() == Scheme::Udp);
    }
    soon(announcer.shutdown(Duration::from_secs(30))).await;
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_closed_port_is_an_error_that_says_so() {
    let (server, _service) = start_tracker(Access::Open);
    let urls = server.urls();
    soon(server.stop()).await;
    let announcer = Announcer::start(&config()).unwrap();
    announcer.add(seed(&[&urls[..1]]));
    let status = settle(&announcer, 1).await;
    let error = status[0].outcome.error.as_deref().unwrap();
    assert!(error.to_lowercase().contains("refused"), "{error}");
    assert_eq!(status[0].family, Family::V4);
    soon(announcer.shutdown(Duration::from_secs(30))).await;
}

/// So many torrents at one tracker.
fn many(announcer: &Announcer, count: u32, url: &str) {
    for number in 0..count {
        let mut info_hash = InfoHash([7; 20]);
        info_hash.0[..4].copy_from_slice(&number.to_be_bytes());
        let tiers = vec![vec![url.to_owned()]];
        announcer.add_restored(AnnounceTorrent { info_hashes: vec![info_hash], tiers, ..seed(&[]) });
    }
}

/// As fast as the machine allows, all at the start.
fn hurried() -> AnnouncerConfig {
    let mut config = config();
    (config.schedule.announces_per_s, config.schedule.start_spread_ms) = (1_000_000, 0);
    config
}

#[tokio::test]
async fn thousands_of_torrents_are_announced_over_few_connections_that_are_kept() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let counted = accepted.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Relaxed);
            tokio::spawn(async move {
                let mut received = Vec::new();
                while stream.read_buf(&mut received).await.is_ok_and(|count| count > 0) {
                    while let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                        received.drain(..end + 4);
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\nd8:intervali1800e5:peers0:e";
                        stream.write_all(answer).await.unwrap();
                    }
                }
            });
        }
    });
    let announcer = Announcer::start(&hurried()).unwrap();
    many(&announcer, 2000, &url);
    for line in settle(&announcer, 2000).await {
        assert_eq!((line.outcome.success_count, &line.outcome.error), (1, &None));
    }
    // One that is given back a moment after its answer may be too late for the next announce.
    let most = 2 * hurried().schedule.max_in_flight_per_http_host;
    assert!(accepted.load(Relaxed) <= most, "{} connections", accepted.load(Relaxed));
}

#[tokio::test]
async fn thousands_of_torrents_share_one_udp_socket_and_one_connection_id() {
    let (server, service) = start_tracker(Access::Open);
    let announcer = Announcer::start(&hurried()).unwrap();
    let url = server.urls().into_iter().find(|url| url.starts_with("udp://127")).unwrap();
    many(&announcer, 2000, &url);
    settle(&announcer, 2000).await;
    assert_eq!(service.status().torrent_count, 2000);
    soon(announcer.shutdown(Duration::from_secs(60))).await;
    assert_eq!(service.status().peer_count, 0, "all are told that we stop");
    soon(server.stop()).await;
}
