//! Datagrams there and back.

use hash::InfoHash;
use proptest::prelude::*;

use super::*;
use crate::announce::{AnnounceRequest, Event};
use crate::family::{Family, pack_into};
use crate::scrape::SwarmStats;

fn announce() -> AnnounceRequest {
    AnnounceRequest {
        info_hash: InfoHash([7; 20]),
        peer_id: *b"-XX0001-abcdefghijkl",
        port: 6881,
        uploaded_bytes: 1,
        downloaded_bytes: 2,
        left_bytes: Some(3),
        event: Event::Started,
        want_count: Some(50),
        key: 0xdead_beef,
        compact: true,
        no_peer_id: true,
        tracker_id: None,
        claimed_ip: None,
    }
}

#[test]
fn an_announce_has_the_layout_of_bep_15() {
    let mut datagram = Vec::new();
    write_announce(&mut datagram, 0x0102_0304_0506_0708, 9, &announce(), "");
    assert_eq!(datagram.len(), 98);
    assert_eq!(datagram[..16], [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 0, 0, 0, 9]);
    assert_eq!(datagram[56..84], [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
    assert_eq!(datagram[84..98], [0, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 50, 0x1a, 0xe1]);
}

#[test]
fn a_long_url_comes_through_in_pieces_and_one_too_long_is_left_out() {
    let read = |url: &str| {
        let mut datagram = Vec::new();
        write_announce(&mut datagram, 1, 2, &announce(), url);
        assert!(datagram.len() <= MAX_DATAGRAM_BYTES);
        match parse_request(&datagram) {
            Ok(Request::Announce { url_data, .. }) => String::from_utf8(url_data).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let long = format!("/announce?pass={}", "x".repeat(600));
    assert_eq!(read(&long), long);
    assert_eq!(read(&format!("/{}", "x".repeat(2000))), "");
}

#[test]
fn a_tracker_cannot_steer_the_terminal_nor_have_us_dial_port_0() {
    let mut datagram = Vec::new();
    write_error_response(&mut datagram, 7, "no\u{1b}[2J\nsuch torrent");
    let told = parse_response(Family::V4, &datagram).unwrap().1;
    assert_eq!(told, Response::Error("no [2J such torrent".to_owned()));
    let mut datagram = Vec::new();
    write_error_response(&mut datagram, 7, "\0");
    assert_eq!(
        parse_response(Family::V4, &datagram).unwrap().1,
        Response::Error("refused without a reason".to_owned())
    );
    let (mut datagram, mut packed) = (Vec::new(), Vec::new());
    [0, 5].into_iter().for_each(|port| pack_into(&mut packed, [192, 0, 2, 1].into(), port));
    write_announce_response(&mut datagram, 7, 1800, SwarmStats::default(), &packed);
    let Response::Announce(reply) = parse_response(Family::V4, &datagram).unwrap().1 else { panic!("an announce") };
    assert_eq!(reply.peers, ["192.0.2.1:5".parse().unwrap()]);
}

#[test]
fn options_that_are_unknown_or_cut_short_do_not_harm_the_announce() {
    for options in [
        &[1, 1, 9, 2, 0, 0, 2, 1, b'/'][..],
        &[2, 1, b'/', 2, 200, b'x'],
        &[2, 1, b'/', 0, 2, 1, b'y'],
        &[2, 1, b'/', 2],
    ] {
        let mut datagram = Vec::new();
        write_announce(&mut datagram, 1, 2, &announce(), "");
        datagram.extend_from_slice(options);
        match parse_request(&datagram) {
            Ok(Request::Announce { url_data, announce: read, .. }) => {
                assert_eq!((url_data.as_slice(), read), (&b"/"[..], announce()), "{options:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_no_tracker_request_gets_no_answer_and_what_is_a_bad_one_does() {
    assert_eq!(parse_request(b"d1:ad2:id20:").map_err(|error| error.transaction_id()), Err(None));
    let mut connect = Vec::new();
    write_connect(&mut connect, 5);
    assert_eq!(parse_request(&connect), Ok(Request::Connect { transaction_id: 5 }));
    connect[0] = 1;
    assert_eq!(parse_request(&connect), Err(RequestError::Foreign));
    let mut datagram = Vec::new();
    write_announce(&mut datagram, 1, 2, &announce(), "");
    assert_eq!(parse_request(&datagram[..97]), Err(RequestError::CutShort { transaction_id: 2 }));
    datagram[11] = 8;
    assert_eq!(parse_request(&datagram), Err(RequestError::UnknownAction));
    datagram[11] = 2;
    assert!(matches!(parse_request(&datagram), Ok(Request::Scrape { info_hashes, .. }) if info_hashes.len() == 4));
    assert_eq!(parse_request(&datagram[..20]), Err(RequestError::BadScrape { transaction_id: 2 }));
}

#[test]
fn responses_come_back_as_they_were_said_in_both_families() {
    let stats = SwarmStats { seed_count: 1, leech_count: 2, completed_count: 3 };
    for (family, address) in [(Family::V4, "10.0.0.1:80"), (Family::V6, "[2001:db8::1]:80")] {
        let peer: std::net::SocketAddr = address.parse().unwrap();
        let (mut packed, mut datagram) = (Vec::new(), Vec::new());
        pack_into(&mut packed, peer.ip(), peer.port());
        write_announce_response(&mut datagram, 4, 1800, stats, &packed);
        let (transaction_id, response) = parse_response(family, &datagram).unwrap();
        let Response::Announce(reply) = response else { panic!("{response:?}") };
        assert_eq!((transaction_id, reply.interval_s, reply.peers), (4, Some(1800), vec![peer]));
        assert_eq!((reply.seed_count, reply.leech_count), (Some(1), Some(2)));
    }
    let mut datagram = Vec::new();
    write_scrape_response(&mut datagram, 5, [stats, SwarmStats::default()].into_iter());
    assert_eq!(parse_response(Family::V4, &datagram), Ok((5, Response::Scrape(vec![stats, SwarmStats::default()]))));
    datagram.clear();
    write_connect_response(&mut datagram, 6, 7);
    assert_eq!(parse_response(Family::V4, &datagram), Ok((6, Response::Connect { connection_id: 7 })));
    assert_eq!(parse_response(Family::V4, &datagram[..15]), Err(ResponseError::CutShort));
    datagram.clear();
    write_error_response(&mut datagram, 8, "no such torrent");
    assert_eq!(parse_response(Family::V4, &datagram), Ok((8, Response::Error("no such torrent".into()))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_the_client_writes_the_server_reads(
        info_hash: [u8; 20],
        left_bytes in 0..i64::MAX as u64,
        event in 0..5usize,
        want_count in proptest::option::of(0..i32::MAX as u32),
        ids: (u64, u32),
        url in "(/[a-z?=]{1,400})?",
    ) {
        let event = [Event::None, Event::Started, Event::Completed, Event::Stopped, Event::Paused][event];
        let request = AnnounceRequest {
            info_hash: InfoHash(info_hash), left_bytes: Some(left_bytes), event, want_count, ..announce()
        };
        let mut datagram = Vec::new();
        write_announce(&mut datagram, ids.0, ids.1, &request, &url);
        let expected = Request::Announce {
            connection_id: ids.0, transaction_id: ids.1, announce: request, url_data: url.into_bytes(),
        };
        prop_assert_eq!(parse_request(&datagram), Ok(expected));
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(datagram in proptest::collection::vec(any::<u8>(), 0..200), action in 0..5u8) {
        let mut datagram = datagram;
        let _ = parse_request(&datagram);
        let _ = parse_response(Family::V6, &datagram);
        for at in [3, 11] {
            if let Some(start) = datagram.get_mut(at - 3..=at) {
                start.copy_from_slice(&[0, 0, 0, action]);
            }
        }
        let _ = parse_request(&datagram);
        let _ = parse_response(Family::V4, &datagram);
    }
}
