//! Both ends of the tracker's wires: queries and replies over HTTP, datagrams over UDP, and the swarm table behind them.

use std::net::{IpAddr, SocketAddr};

use tracker::http::{announce_url, parse_announce, parse_announce_reply, parse_scrape, parse_scrape_reply, scrape_url};
use tracker::table::{Access, Answer, Limits, Source};
use tracker::udp::{Request, parse_request, parse_response, write_announce, write_scrape};
use tracker::{AnnounceRequest, Family, SwarmTable, TrackerUrl};

/// What a client or a stranger may write behind `?`, and an operator as a tracker's URL.
pub fn tracker_query(input: &[u8]) {
    let ours = TrackerUrl::parse("http://tracker.example/announce?k=v").expect("a good URL");
    if let Ok(announce) = parse_announce(input) {
        let url = announce_url(&ours, &announce);
        assert_eq!(parse_announce(query(&url)).as_ref(), Ok(&what_is_sent(announce)));
    }
    if let Ok(info_hashes) = parse_scrape(input) {
        let url = scrape_url(&ours, &info_hashes);
        assert_eq!(parse_scrape(query(&url)), Ok(info_hashes));
    }
    if let Ok(url) = std::str::from_utf8(input).map_err(drop).and_then(|text| TrackerUrl::parse(text).map_err(drop)) {
        assert_eq!(TrackerUrl::parse(url.as_str()).as_ref(), Ok(&url));
        if let Some(scrape) = url.scrape_url() {
            assert_eq!(TrackerUrl::parse(scrape.as_str()).as_ref(), Ok(&scrape));
        }
    }
}

/// The body of a tracker's reply.
pub fn tracker_reply(input: &[u8]) {
    if let Ok(reply) = parse_announce_reply(input) {
        assert!(reply.peers.len() <= tracker::http::MAX_REPLY_PEERS);
        assert!(reply.peers.iter().all(|peer| peer.port() != 0));
        assert!(reply.warning.is_none_or(|text| !text.contains(char::is_control)));
    }
    if let Ok(reply) = parse_scrape_reply(input) {
        assert!(reply.swarms.len() <= tracker::http::MAX_SCRAPE_HASHES);
    }
}

/// A datagram, taken for a client's and for a tracker's.
pub fn tracker_udp(input: &[u8]) {
    for family in Family::ALL {
        let _ = parse_response(family, input);
    }
    match parse_request(input) {
        Ok(Request::Announce { connection_id, transaction_id, announce, .. }) => {
            let mut again = Vec::new();
            write_announce(&mut again, connection_id, transaction_id, &announce, "/announce");
            let url_data = b"/announce".to_vec();
            let announce = what_is_sent(announce);
            serve(&announce);
            let expected = Request::Announce { connection_id, transaction_id, announce, url_data };
            assert_eq!(parse_request(&again), Ok(expected));
        }
        Ok(Request::Scrape { connection_id, transaction_id, info_hashes }) => {
            let mut again = Vec::new();
            write_scrape(&mut again, connection_id, transaction_id, &info_hashes);
            assert_eq!(parse_request(&again), Ok(Request::Scrape { connection_id, transaction_id, info_hashes }));
        }
        Ok(Request::Connect { .. }) | Err(_) => {}
    }
}

fn query(url: &str) -> &[u8] {
    url.split_once('?').map_or("", |(_, query)| query).as_bytes()
}

/// A client that does not know what it lacks says one block.
fn what_is_sent(announce: AnnounceRequest) -> AnnounceRequest {
    AnnounceRequest { left_bytes: announce.left_bytes.or(Some(16 * 1024)), ..announce }
}

/// The table answers any announce, and never with the asker's own address.
fn serve(announce: &AnnounceRequest) {
    let mut table = SwarmTable::new(Access::Open, Limits { request_rate: None, ..Limits::default() }, 1);
    let mut answer = Answer::default();
    for last in 1..4 {
        let source = Source { ip: IpAddr::from([192, 0, 2, last]), local: None };
        if table.announce(0, announce, source, 50, &mut answer).is_ok() {
            let own = SocketAddr::new(source.ip, announce.port);
            assert!(tracker::unpack(answer.family, &answer.packed_peers).all(|peer| peer != own));
        }
    }
}
