//! Our client against trackers that hang, lie, lose and break off.

use std::net::SocketAddr;
use std::slice::from_ref;
use std::time::Duration;

use control::announcer::{Announcer, AnnouncerConfig, UdpTimes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tracker::table::Access;
use tracker::udp::{Request, parse_request, write_announce_response, write_connect_response, write_error_response};
use tracker::{AnnounceRequest, Event, SwarmStats};

use crate::announcer::{config, seed, settle};
use crate::{TORRENT, soon, start_tracker};

/// An HTTP tracker that answers every connection with `reply` and closes it.
async fn canned(reply: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let _ = stream.write_all(&reply).await;
            let _ = stream.shutdown().await;
        }
    });
    url
}

fn http_200(body: &[u8], headers: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The error that one such tracker gives, or `None` if its answer is taken.
async fn outcome(reply: Vec<u8>) -> Option<String> {
    let announcer = Announcer::start(&config()).unwrap();
    announcer.add(seed(&[&[canned(reply).await]]));
    let status = settle(&announcer, 1).await;
    status[0].outcome.error.clone()
}

#[tokio::test]
async fn a_tracker_that_hangs_delays_neither_the_others_nor_the_end() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging_udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (server, service) = start_tracker(Access::Open);
    let announcer = Announcer::start(&AnnouncerConfig { http_timeout: Duration::from_secs(600), ..config() }).unwrap();
    let hangs = format!("http://{}/announce", hanging.local_addr().unwrap());
    let hangs_udp = format!("udp://{}", hanging_udp.local_addr().unwrap());
    announcer.add(seed(&[from_ref(&hangs), from_ref(&hangs_udp), &server.urls()[..1]]));
    settle(&announcer, 1).await;
    assert_eq!(service.stats(TORRENT).unwrap().seed_count, 1);
    let told = async {
        while service.stats(TORRENT).is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = announcer.shutdown(Duration::from_secs(600)) => panic!("the others have not been told"),
        () = soon(told) => {}
    }
    let announcer = Announcer::start(&AnnouncerConfig { http_timeout: Duration::from_secs(600), ..config() }).unwrap();
    announcer.add(seed(&[&[hangs], &[hangs_udp]]));
    soon(announcer.shutdown(Duration::from_millis(500))).await;
    soon(server.stop()).await;
}

#[tokio::test]
async fn rubbish_is_an_error_that_shows_what_came() {
    let cases: [(Vec<u8>, &str); 7] = [
        (http_200(b"<html>It works!</html>", ""), "It works!"),
        (http_200(b"", ""), "not a tracker's reply"),
        (http_200(b"d14:failure reason3:whoe", ""), "who"),
        (http_200(b"d14:failure reason77:not today\ne", ""), "not today"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad".to_vec(), "502"),
        (http_200(&vec![b'd'; 3 << 20], ""), "longer than"),
        (b"\x13BitTorrent protocol".to_vec(), ""),
    ];
    for (reply, expected) in cases {
        let error = outcome(reply).await.expect("an error");
        assert!(error.contains(expected), "{error:?} should mention {expected:?}");
    }
    let cut_short = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nd8:interval".to_vec();
    assert!(outcome(cut_short).await.is_some());
}

#[tokio::test]
async fn odd_but_honest_replies_are_taken() {
    assert_eq!(outcome(http_200(b"d8:intervali1800e5:peerslee", "")).await, None);
    assert_eq!(outcome(http_200(b"d8:intervali1800e5:peers0:e\n<!-- ad -->", "")).await, None);
    let chunked =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nd8:in\r\n10\r\ntervali1800ee\n\n\n\r\n0\r\n\r\n";
    assert_eq!(outcome(chunked.to_vec()).await, None);
    let old = b"HTTP/1.0 200 OK\r\n\r\nd8:intervali1800ee".to_vec();
    assert_eq!(outcome(old).await, None);
    let target = canned(http_200(b"d8:intervali1800ee", "")).await;
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(outcome(redirect.into_bytes()).await, None);
}

#[tokio::test]
async fn a_packed_reply_is_unpacked() {
    // gzip of "d8:intervali1800e8:completei7e5:peers0:e", which a tracker may send unasked.
    let packed = [
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0x4b, 0xb1, 0xb0, 0xca, 0xcc, 0x2b, 0x49, 0x2d,
        0x2a, 0x4b, 0xcc, 0xc9, 0x34, 0xb4, 0x30, 0x30, 0x48, 0xb5, 0xb0, 0x4a, 0xce, 0xcf, 0x2d, 0xc8, 0x49, 0x2d,
        0x49, 0xcd, 0x34, 0x4f, 0x35, 0xb5, 0x2a, 0x48, 0x4d, 0x2d, 0x2a, 0x36, 0xb0, 0x4a, 0x05, 0x00, 0x50, 0x0a,
        0x95, 0x3e, 0x28, 0x00, 0x00, 0x00,
    ];
    let announcer = Announcer::start(&config()).unwrap();
    announcer.add(seed(&[&[canned(http_200(&packed, "Content-Encoding: gzip\r\n")).await]]));
    let status = settle(&announcer, 1).await;
    assert_eq!((status[0].outcome.seed_count, &status[0].outcome.error), (Some(7), &None));
}

/// A UDP tracker that does with each request what `answer` says, which sees how many came before.
async fn udp_tracker(
    mut answer: impl FnMut(usize, Request) -> Option<Vec<u8>> + Send + 'static,
) -> (String, tokio::sync::mpsc::UnboundedReceiver<AnnounceRequest>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let url = format!("udp://{}/announce?pass=1", socket.local_addr().unwrap());
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        for count in 0.. {
            let (size, from): (usize, SocketAddr) = socket.recv_from(&mut buffer).await.unwrap();
            let request = parse_request(&buffer[..size]).unwrap();
            if let Request::Announce { announce, url_data, .. } = &request {
                assert_eq!(url_data, b"/announce?pass=1");
                let _ = sender.send(announce.clone());
            }
            if let Some(response) = answer(count, request) {
                socket.send_to(&response, from).await.unwrap();
            }
        }
    });
    (url, receiver)
}

fn answer_well(request: &Request) -> Vec<u8> {
    let mut out = Vec::new();
    match request {
        Request::Connect { transaction_id } => write_connect_response(&mut out, *transaction_id, 42),
        Request::Announce { transaction_id, connection_id, .. } => {
            assert_eq!(*connection_id, 42);
            write_announce_response(&mut out, *transaction_id, 1800, SwarmStats::default(), &[]);
        }
        Request::Scrape { .. } => panic!("nobody asked"),
    }
    out
}

#[tokio::test]
async fn lost_datagrams_are_sent_again() {
    // The first connect and the first announce are lost.
    let (url, _) = udp_tracker(|count, request| (count % 2 == 1).then(|| answer_well(&request))).await;
    let announcer = Announcer::start(&config()).unwrap();
    announcer.add(seed(&[&[url]]));
    let status = settle(&announcer, 1).await;
    assert_eq!((status[0].outcome.success_count, &status[0].outcome.error), (1, &None));
}

#[tokio::test]
async fn answers_to_other_questions_and_from_strangers_are_not_heard() {
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (url, _) = udp_tracker(move |_, request| {
        let mut wrong = answer_well(&request);
        wrong[7] ^= 1;
        // A stranger who has guessed the transaction still has the wrong address.
        let _ = stranger.try_send_to(&answer_well(&request), "127.0.0.1:9".parse().unwrap());
        Some(wrong)
    })
    .await;
    let udp = UdpTimes { attempts: 1, ..config().udp };
    let announcer = Announcer::start(&AnnouncerConfig { udp, ..config() }).unwrap();
    announcer.add(seed(&[&[url]]));
    let status = settle(&announcer, 1).await;
    assert_eq!(status[0].outcome.error.as_deref(), Some("timed out"));
}

#[tokio::test]
async fn a_tracker_that_forgot_our_connection_id_is_asked_for_a_new_one() {
    let (url, mut announces) = udp_tracker(|count, request| match &request {
        // The third request is the stop, with the id of the start.
        Request::Announce { transaction_id, .. } if count == 2 => {
            let mut out = Vec::new();
            write_error_response(&mut out, *transaction_id, "unknown connection id");
            Some(out)
        }
        _ => Some(answer_well(&request)),
    })
    .await;
    let announcer = Announcer::start(&config()).unwrap();
    announcer.add(seed(&[&[url]]));
    settle(&announcer, 1).await;
    soon(announcer.shutdown(Duration::from_secs(30))).await;
    let mut events = Vec::new();
    while let Ok(announce) = announces.try_recv() {
        events.push(announce.event);
    }
    assert_eq!(events, [Event::Started, Event::Stopped, Event::Stopped]);
}

#[tokio::test]
async fn a_udp_refusal_is_shown_in_the_trackers_words() {
    let (url, _) = udp_tracker(|_, request| match &request {
        Request::Announce { transaction_id, .. } => {
            let mut out = Vec::new();
            write_error_response(&mut out, *transaction_id, "no such torrent");
            Some(out)
        }
        _ => Some(answer_well(&request)),
    })
    .await;
    let announcer = Announcer::start(&config()).unwrap();
    announcer.add(seed(&[&[url]]));
    let status = settle(&announcer, 1).await;
    assert_eq!(status[0].outcome.error.as_deref(), Some("no such torrent"));
}
