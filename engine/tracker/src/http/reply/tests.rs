//! Replies over HTTP: ours, and those of trackers that no one here wrote.

use proptest::prelude::*;

use super::*;
use crate::http::{announce_reply, failure_reply, scrape_reply};
use crate::table::Answer;

fn peers(body: &[u8]) -> Vec<String> {
    parse_announce_reply(body).unwrap().peers.iter().map(ToString::to_string).collect()
}

fn refusal(body: &[u8]) -> Failure {
    match parse_announce_reply(body) {
        Err(ReplyError::Refused(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn peers_of_any_shape_are_read_and_of_the_wrong_one_passed_over() {
    assert_eq!(peers(b"d5:peers6:\x01\x02\x03\x04\x00\x50e"), ["1.2.3.4:80"]);
    assert_eq!(peers(b"d5:peers8:\x01\x02\x03\x04\x00\x50ab6:peers60:e"), ["1.2.3.4:80"]);
    let v6 = b"d5:peers0:6:peers618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\x50e";
    assert_eq!(peers(v6), ["[2001:db8::1]:80"]);
    let list = b"d5:peersld2:ip7:1.2.3.44:porti80eed2:ip3:::14:port2:81ed2:ip9:host.name4:porti1eei7ed4:porti1eeee";
    assert_eq!(peers(list), ["1.2.3.4:80", "[::1]:81"]);
    for none in [&b"d5:peersi0ee"[..], b"d5:peersdee", b"d5:peersle6:peers6lee", b"d8:intervali60ee", b"de\n"] {
        assert!(peers(none).is_empty());
    }
    assert!(peers(b"d5:peers6:\x01\x02\x03\x04\x00\x00e").is_empty(), "nobody can connect to port 0");
}

#[test]
fn the_rest_of_a_reply_is_read_in_any_order() {
    let body = b"d15:warning message9:slow\x1b[2J\n10:tracker id2:id8:completei5e10:incomplete1:612:min intervali30e\
        8:intervali-5e11:external ip4:\x0a\0\0\x01e";
    let reply = parse_announce_reply(body).unwrap();
    assert_eq!((reply.seed_count, reply.leech_count, reply.completed_count), (Some(5), Some(6), None));
    assert_eq!((reply.interval_s, reply.min_interval_s), (None, Some(30)));
    assert_eq!(reply.warning.as_deref(), Some("slow [2J"), "no escapes reach the terminal");
    assert_eq!((reply.tracker_id, reply.external_ip), (Some(b"id".to_vec()), Some([10, 0, 0, 1].into())));
}

#[test]
fn a_refusal_is_told_in_the_trackers_words_even_if_they_are_miscounted() {
    let never = b"d14:failure reason4:nope8:retry in5:nevere";
    assert_eq!(refusal(never), Failure { reason: "nope".into(), retry: Retry::Never });
    assert_eq!(refusal(b"d14:failure reason4:nope8:retry ini5ee").retry, Retry::AfterMinutes(5));
    assert_eq!(refusal(b"d14:failure reason4:nope8:retry in2:15e").retry, Retry::AfterMinutes(15));
    assert_eq!(refusal(b"d14:failure reason4:nope8:retry ini-5ee").retry, Retry::Unsaid);
    assert_eq!(refusal(b"d14:failure reason99:not registered here\ne\r\n").reason, "not registered here");
    assert_eq!(refusal(b"d14:failure reason0:e").reason, "refused without a reason");
    assert_eq!(refusal(b"d14:failure reasoni1ee").reason, "refused without a reason");
}

#[test]
fn an_error_page_is_shown_not_believed() {
    for (body, shown) in [
        (&b"<html>404\r\n\x1b</html>"[..], "<html>404 </html>"),
        (b"torrent not registered", "torrent not registered"),
        (b"", ""),
        (b"d8:interval", "d8:interval"),
        (b"i5e", "i5e"),
    ] {
        assert_eq!(parse_announce_reply(body), Err(ReplyError::Rubbish(shown.into())));
    }
    let long = parse_announce_reply(&vec![b'x'; 100_000]);
    assert_eq!(long, Err(ReplyError::Rubbish("x".repeat(300))));
}

#[test]
fn a_scrape_gives_what_it_knows() {
    let body = b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei1e10:downloadedi2e10:incompletei3ee5:shortde\
        20:bbbbbbbbbbbbbbbbbbbbi1ee5:flagsd20:min_request_intervali900eee";
    let reply = parse_scrape_reply(body).unwrap();
    let stats = SwarmStats { seed_count: 1, leech_count: 3, completed_count: 2 };
    assert_eq!(reply.swarms, [(InfoHash([b'a'; 20]), stats)]);
    assert_eq!(reply.min_interval_s, Some(900));
    assert!(matches!(parse_scrape_reply(b"d14:failure_reason2:noe"), Err(ReplyError::Refused(_))));
}

#[test]
fn what_our_server_says_our_client_understands() {
    let stats = SwarmStats { seed_count: 1, leech_count: 2, completed_count: 3 };
    for (family, packed_peers) in [(Family::V4, vec![1; 12]), (Family::V6, vec![1; 36])] {
        let answer = Answer { interval_s: 300, min_interval_s: 60, stats, family, packed_peers };
        let expected: Vec<SocketAddr> = unpack(family, &answer.packed_peers).collect();
        for compact in [true, false] {
            let reply = parse_announce_reply(&announce_reply(&answer, compact)).unwrap();
            assert_eq!(reply.peers, expected);
            assert_eq!((reply.interval_s, reply.min_interval_s), (Some(300), Some(60)));
            assert_eq!((reply.seed_count, reply.leech_count, reply.completed_count), (Some(1), Some(2), Some(3)));
        }
    }
    let swarms = [(InfoHash([9; 20]), stats), (InfoHash([1; 20]), SwarmStats::default())];
    let reply = parse_scrape_reply(&scrape_reply(&swarms)).unwrap();
    assert_eq!(reply.swarms, [swarms[1], swarms[0]]);
    let failure = Failure { reason: "full".into(), retry: Retry::AfterMinutes(7) };
    assert_eq!(refusal(&failure_reply(&failure)), failure);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_make_the_parsers_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_announce_reply(&body);
        let _ = parse_scrape_reply(&body);
    }

    #[test]
    fn no_near_miss_makes_the_parsers_panic(
        body in "d(14:failure reason|5:peers|6:peers6|5:files|8:retry in|[0-9]{1,3}:|i-?[0-9]{0,20}e|l|d|e){0,12}",
    ) {
        let _ = parse_announce_reply(body.as_bytes());
        let _ = parse_scrape_reply(body.as_bytes());
    }
}
