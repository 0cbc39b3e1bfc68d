//! Requests over HTTP, as they come and as they go.

use proptest::prelude::*;

use super::*;

const HASH: &str = "%124Vx%9a%bc%de%f1%23Eg%89%ab%cd%ef%124Vx%9a";

fn parse(query: &str) -> Result<AnnounceRequest, RequestError> {
    parse_announce(query.as_bytes())
}

fn with_hash(rest: &str) -> String {
    format!("info_hash={HASH}&peer_id=-XX0001-abcdefghijkl&port=6881{rest}")
}

#[test]
fn an_info_hash_is_read_from_escapes_from_hex_and_with_a_plus_for_a_space() {
    let raw = InfoHash(*b"\x124Vx\x9a\xbc\xde\xf1\x23Eg\x89\xab\xcd\xef\x124Vx\x9a");
    assert_eq!(parse(&with_hash("")).unwrap().info_hash, raw);
    let hex = "info_hash=123456789abcdef123456789ABCDEF123456789a&peer_id=++++++++++++++++++++&port=1";
    let request = parse(hex).unwrap();
    assert_eq!((request.info_hash, request.peer_id), (raw, [b' '; 20]));
}

#[test]
fn what_a_client_leaves_out_or_garbles_gets_a_sensible_value() {
    let request = parse(&with_hash("&left=-1&numwant=lots&uploaded=99999999999999999999999&event=&flag&=x&compact=0"));
    let request = request.unwrap();
    assert_eq!(request.left_bytes, None);
    assert_eq!(request.want_count, None);
    assert_eq!(request.uploaded_bytes, u64::MAX);
    assert_eq!(request.event, Event::None);
    assert!(!request.compact);
    assert!(parse(&with_hash("")).unwrap().compact, "compact unless refused (BEP 23)");
    assert_eq!(parse(&with_hash("&ip=10.1.2.3")).unwrap().claimed_ip, Some([10, 1, 2, 3].into()));
    assert_eq!(parse(&with_hash("&event=paused")).unwrap().event, Event::Paused);
    assert_eq!(parse(&with_hash("").replace("port=6881", "port=0")).unwrap().port, 0);
}

#[test]
fn a_key_is_the_same_however_it_is_written() {
    assert_eq!(parse(&with_hash("&key=DEADbeef")).unwrap().key, 0xdead_beef);
    let odd = parse(&with_hash("&key=not-hex-at-all")).unwrap().key;
    assert_ne!(odd, 0);
    assert_eq!(odd, parse(&with_hash("&key=not%2Dhex-at-all")).unwrap().key);
}

#[test]
fn a_malformed_announce_is_refused_by_the_name_of_its_fault() {
    for (query, error) in [
        ("peer_id=-XX0001-abcdefghijkl&port=1".to_owned(), RequestError::Missing("info_hash")),
        (with_hash("").replace("&port=6881", ""), RequestError::Missing("port")),
        (with_hash("").replace("6881", "65536"), RequestError::BadPort),
        (with_hash("").replace("6881", "x"), RequestError::BadPort),
        (with_hash("&info_hash=aaaaaaaaaaaaaaaaaaaa"), RequestError::Duplicate("info_hash")),
        (with_hash("&port=2"), RequestError::Duplicate("port")),
        ("info_hash=short&peer_id=x&port=1".to_owned(), RequestError::NotTwentyBytes("info_hash")),
        (with_hash("&x=%"), RequestError::BadEscape),
        (with_hash("&x=%2"), RequestError::BadEscape),
        (with_hash("&x=%zz"), RequestError::BadEscape),
        (with_hash(&format!("&x={}", "y".repeat(9000))), RequestError::QueryTooLong),
    ] {
        assert_eq!(parse(&query), Err(error), "{query}");
    }
    assert!(parse(&with_hash("&port=6881")).is_ok(), "twice the same is no contradiction");
}

#[test]
fn a_scrape_asks_for_many_but_neither_none_nor_too_many() {
    let query = |count: usize| vec![format!("info_hash={HASH}"); count].join("&");
    assert_eq!(parse_scrape(query(MAX_SCRAPE_HASHES).as_bytes()).unwrap().len(), MAX_SCRAPE_HASHES);
    assert_eq!(parse_scrape(query(MAX_SCRAPE_HASHES + 1).as_bytes()), Err(RequestError::TooManyHashes));
    assert_eq!(parse_scrape(b"x=1"), Err(RequestError::Missing("info_hash")));
}

#[test]
fn a_passkey_in_the_tracker_url_stays_in_front() {
    let info_hashes = [InfoHash([0xff; 20])];
    let url = |text: &str| scrape_url(&TrackerUrl::parse(text).unwrap(), &info_hashes);
    let hash = "%FF".repeat(20);
    assert_eq!(url("http://h/s?pass=1"), format!("http://h/s?pass=1&info_hash={hash}"));
    assert_eq!(url("http://h/s?pass=1&"), format!("http://h/s?pass=1&info_hash={hash}"));
    assert_eq!(url("http://h/s?"), format!("http://h/s?info_hash={hash}"));
    assert_eq!(url("http://h"), format!("http://h/?info_hash={hash}"));
    assert_eq!(url("http://h?a=b"), format!("http://h?a=b&info_hash={hash}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_the_client_builds_the_server_reads(
        info_hash: [u8; 20],
        peer_id: [u8; 20],
        port: u16,
        totals: (u64, u64, u64),
        event in 0..5usize,
        want_count: Option<u32>,
        key in 1..=u32::MAX,
        tracker_id in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
    ) {
        let request = AnnounceRequest {
            info_hash: InfoHash(info_hash),
            peer_id,
            port,
            uploaded_bytes: totals.0,
            downloaded_bytes: totals.1,
            left_bytes: Some(totals.2),
            event: [Event::None, Event::Started, Event::Completed, Event::Stopped, Event::Paused][event],
            want_count,
            key,
            compact: true,
            no_peer_id: true,
            tracker_id,
            claimed_ip: None,
        };
        let url = announce_url(&TrackerUrl::parse("http://h/announce").unwrap(), &request);
        prop_assert!(url.is_ascii());
        let query = url.split_once('?').unwrap().1;
        prop_assert_eq!(parse_announce(query.as_bytes()), Ok(request));
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(query in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_announce(&query);
        let _ = parse_scrape(&query);
    }

    #[test]
    fn no_near_miss_makes_the_parsers_panic(query in "(&?(info_hash|port|left|peer_id|%)=[%0-9a-z+]{0,45}){0,8}") {
        let _ = parse_announce(query.as_bytes());
        let _ = parse_scrape(query.as_bytes());
    }
}
