use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

fn id(text: &[u8; 20]) -> NodeId {
    NodeId(*text)
}

fn message<'a>(transaction: &'a [u8], body: Body<'a>) -> Message<'a> {
    Message { transaction, version: None, read_only: false, seen_as: None, body }
}

/// The examples of BEP 5 (its announce in the canonical form, with `implied_port`), read and written.
#[test]
fn the_examples_of_the_bep_are_read_and_written() {
    let asker = id(b"abcdefghij0123456789");
    let answerer = id(b"mnopqrstuvwxyz123456");
    let info_hash = InfoHash(answerer.0);
    let query = |method| Body::Query(Query { id: asker, method });
    let peers: Vec<SocketAddr> =
        vec!["97.120.106.101:11893".parse().unwrap(), "105.100.104.116:28269".parse().unwrap()];
    let token: &[u8] = b"aoeusnth";
    let announce = Method::AnnouncePeer { info_hash, port: 6881, implied_port: true, token };
    let cases: [(&[u8], Body<'_>); 8] = [
        (b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", query(Method::Ping)),
        (
            b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re",
            Body::Response(Response { id: answerer, ..Response::default() }),
        ),
        (
            b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
            query(Method::FindNode { target: answerer, want: None }),
        ),
        (
            b"d1:rd2:id20:0123456789abcdefghij5:nodes9:def456...e1:t2:aa1:y1:re",
            Body::Response(Response {
                id: id(b"0123456789abcdefghij"),
                nodes: Some(b"def456..."),
                ..Response::default()
            }),
        ),
        (
            b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
            query(Method::GetPeers { info_hash, want: None }),
        ),
        (
            b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
            Body::Response(Response { id: asker, values: peers, token: Some(token), ..Response::default() }),
        ),
        (
            b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e\
              5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
            query(announce),
        ),
        (
            b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee",
            Body::Error(ErrorReply { code: 201, text: b"A Generic Error Ocurred" }),
        ),
    ];
    for (bytes, body) in cases {
        let expected = message(b"aa", body);
        assert_eq!(Message::decode(bytes).as_ref(), Ok(&expected));
        assert_eq!(expected.encode().escape_ascii().to_string(), bytes.escape_ascii().to_string());
    }
}

#[test]
fn a_malformed_query_names_its_transaction_and_a_malformed_answer_does_not() {
    let no_target = b"d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t2:aa1:y1:qe";
    let expected = Malformed { error: MessageError::Argument("target"), query: Some(b"aa") };
    assert_eq!(Message::decode(no_target), Err(expected));
    let short_id = b"d1:rd2:id3:abce1:t2:aa1:y1:re";
    assert_eq!(Message::decode(short_id), Err(Malformed { error: MessageError::Id, query: None }));
}

#[test]
fn values_of_wrong_sizes_and_types_are_passed_over() {
    let bytes = b"d1:rd2:id20:abcdefghij01234567896:valuesl5:axje.i5e6:idhtnm0:lelee5:token3:abce1:t1:a1:y1:re";
    let Ok(Message { body: Body::Response(response), .. }) = Message::decode(bytes) else { panic!("an answer") };
    assert_eq!(response.values, ["105.100.104.116:28269".parse().unwrap()]);
    let huge = Response { token: Some(&[b'x'; MAX_TOKEN_BYTES + 1]), ..response };
    let bytes = message(b"a", Body::Response(huge)).encode();
    let Ok(Message { body: Body::Response(response), .. }) = Message::decode(&bytes) else { panic!("an answer") };
    assert_eq!(response.token, None, "nobody keeps so much");
}

#[test]
fn an_announce_without_port_needs_to_imply_it() {
    let with = |arguments: &str| {
        let bytes = format!(
            "d1:ad2:id20:abcdefghij0123456789{arguments}9:info_hash20:mnopqrstuvwxyz1234565:token1:xe\
             1:q13:announce_peer1:t2:aa1:y1:qe"
        );
        Message::decode(bytes.as_bytes()).map(drop).map_err(|malformed| malformed.error)
    };
    assert_eq!(with("12:implied_porti1e"), Ok(()));
    for wrong in ["", "12:implied_porti0e", "4:porti65536e", "4:porti-1e", "4:port2:99"] {
        assert_eq!(with(wrong), Err(MessageError::Argument("port")), "{wrong}");
    }
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<([u8; 4], u16)>().prop_map(SocketAddr::from);
    let v6 = any::<([u8; 16], u16)>().prop_map(SocketAddr::from);
    prop_oneof![v4, v6].prop_map(canonical)
}

fn any_want() -> impl Strategy<Value = Option<Want>> {
    proptest::option::of(any::<(bool, bool)>().prop_map(|(v4, v6)| Want { v4, v6 }))
}

proptest! {
    #[test]
    fn a_query_is_read_back(
        asker: [u8; 20], place: [u8; 20], want in any_want(), port: u16, implied_port: bool, read_only: bool,
        bytes in proptest::collection::vec(any::<u8>(), 0..=MAX_TRANSACTION_BYTES), kind in 0..4,
    ) {
        let method = match kind {
            0 => Method::Ping,
            1 => Method::FindNode { target: NodeId(place), want },
            2 => Method::GetPeers { info_hash: InfoHash(place), want },
            _ => Method::AnnouncePeer { info_hash: InfoHash(place), port, implied_port, token: &bytes },
        };
        let body = Body::Query(Query { id: NodeId(asker), method });
        let query = Message { read_only, version: Some(b"SW01"), ..message(&bytes, body) };
        let datagram = query.encode();
        prop_assert_eq!(Message::decode(&datagram), Ok(query));
    }

    #[test]
    fn an_answer_is_read_back(
        answerer: [u8; 20], values in proptest::collection::vec(any_address(), 0..20), seen_as in any_address(),
        nodes in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200)),
        token in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
    ) {
        let (nodes, token) = (nodes.as_deref(), token.as_deref());
        let response = Response { id: NodeId(answerer), nodes, nodes6: nodes, values, token };
        let answer = Message { seen_as: Some(seen_as), ..message(b"12", Body::Response(response)) };
        let datagram = answer.encode();
        prop_assert_eq!(Message::decode(&datagram), Ok(answer));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(datagram in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Message::decode(&datagram);
    }
}
