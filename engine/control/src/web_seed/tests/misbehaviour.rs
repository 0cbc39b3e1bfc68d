//! Servers that do not behave.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use wire::Message;

use super::peer_end::{PeerEnd, Said};
use super::server::{Reply, Server};
use super::*;

/// A torrent of one file of 400,000 bytes.
fn one_file() -> Arc<Torrent> {
    Arc::new(torrent_of(Version::V1, 1 << 15, &[400_000]))
}

/// A server whose first answer is `first`, and the others are good.
async fn bad_once(torrent: &Torrent, first: Reply) -> Server {
    let mut first = Some(first);
    Server::start(torrent.layout(), move |_| first.take().unwrap_or(Reply::Good)).await
}

/// What the first answer does: all requests are rejected behind a choke, which ends; then everything comes.
async fn is_backed_off(first: Reply) -> WebSeedStatus {
    is_backed_off_with(first, quick()).await
}

async fn is_backed_off_with(first: Reply, config: WebSeedConfig) -> WebSeedStatus {
    let torrent = one_file();
    let layout = torrent.layout();
    let server = bad_once(&torrent, first).await;
    let seed = seed_at(&clients(config), Arc::clone(&torrent), &server.url());
    let mut end = PeerEnd::greet(&seed).await;
    let blocks = &all_blocks(layout)[..8];
    end.request(blocks).await;
    let (mut open, mut rejects) = (true, 0);
    let mut came = Vec::new();
    while rejects + came.len() < blocks.len() {
        match end.next().await {
            Said::Choke => open = false,
            Said::Reject(..) if !open => rejects += 1,
            Said::Piece(index, begin, data) => {
                let block = layout.block(index, begin, data.len() as u32).unwrap();
                assert_eq!(data, block_content(layout, block));
                came.push(block);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(rejects > 0);
    let status = seed.status();
    assert_eq!(end.next().await, Said::Unchoke);
    end.fetch(layout, &all_blocks(layout), 16).await;
    assert_eq!(end.close().await, Ended::PeerClosed);
    status
}

fn why(status: &WebSeedStatus) -> &str {
    status.last_error.as_deref().unwrap()
}

#[tokio::test]
async fn a_busy_server_is_left_alone_for_a_while() {
    for status in ["503 Service Unavailable\r\n", "429 Slow down\r\n", "500 Oops\r\n"] {
        let status = is_backed_off(Reply::Status(status.to_owned())).await;
        assert!(matches!(&status.state, WebSeedState::BackedOff { why, .. } if why.starts_with("HTTP status")));
    }
}

#[tokio::test]
async fn a_server_says_how_long_it_wants_to_be_left_alone() {
    let torrent = one_file();
    let server = bad_once(&torrent, Reply::Status("503 Busy\r\nRetry-After: 900\r\n".to_owned())).await;
    let seed = seed_at(&clients(quick()), Arc::clone(&torrent), &server.url());
    let mut end = PeerEnd::greet(&seed).await;
    let blocks = &all_blocks(torrent.layout())[..3];
    end.request(blocks).await;
    assert_eq!(end.rejects(3).await, 3);
    // What is asked for behind the choke is rejected too.
    end.request(blocks).await;
    assert_eq!(end.rejects(3).await, 3);
    assert_eq!(end.close().await, Ended::PeerClosed);
    let WebSeedState::BackedOff { until, .. } = seed.status().state else { panic!("{:?}", seed.status()) };
    assert!(until > Instant::now() + Duration::from_secs(600), "the server's wait outlives the peer");
    // The next virtual peer knows of it.
    let mut end = PeerEnd::meet(&seed).await;
    assert!(matches!(end.next().await, Said::Hello(_)));
    assert_eq!(end.next().await, Said::HaveAll);
    end.request(blocks).await;
    assert_eq!(end.rejects(3).await, 3);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_body_that_ends_early_is_a_failure_after_the_blocks_that_came() {
    let status = is_backed_off(Reply::Cut(50_000)).await;
    assert_eq!(status.fetched_bytes, 3 * 16384);
}

#[tokio::test]
async fn a_connection_that_closes_without_an_answer_is_a_failure() {
    is_backed_off(Reply::Cut(0)).await;
    is_backed_off(Reply::Cut(20)).await;
}

#[tokio::test]
async fn a_server_that_stalls_is_given_up() {
    let config = || WebSeedConfig { stall_timeout: Duration::from_millis(200), ..quick() };
    for sent in [0, 30, 50_000] {
        let status = is_backed_off_with(Reply::Stall(sent), config()).await;
        assert!(why(&status).contains("stalls"), "{status:?}");
    }
}

#[tokio::test]
async fn answers_that_are_not_http_or_not_the_range_are_failures() {
    let partial = |fields: &str| {
        let mut reply = format!("HTTP/1.1 206 Partial\r\nConnection: close\r\n{fields}\r\n\r\n").into_bytes();
        reply.resize(reply.len() + 140_000, 7);
        Reply::Raw(reply)
    };
    for first in [
        Reply::Raw(b"220 ftp.example.org ready\r\n".to_vec()),
        Reply::Raw(vec![0xff; 5000]),
        Reply::Raw([b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 3 << 20]].concat()),
        partial("X: y"),
        partial("Content-Range: bytes 16384-147455/400000"),
        partial("Content-Range: bytes 0-399999/400000"),
        partial("Content-Range: bytes 0-131071/400000\r\nContent-Length: 100"),
    ] {
        let status = is_backed_off(first).await;
        assert_eq!(status.fetched_bytes, 0, "{status:?}");
    }
    // More than was announced, seen once all that was wanted is there.
    let torrent = one_file();
    let server = bad_once(&torrent, partial("Content-Range: bytes 0-16383/400000")).await;
    let seed = seed_at(&clients(quick()), Arc::clone(&torrent), &server.url());
    let mut end = PeerEnd::greet(&seed).await;
    end.request(&all_blocks(torrent.layout())[..1]).await;
    assert!(matches!(end.next().await, Said::Piece(0, 0, _)));
    assert_eq!(end.next().await, Said::Choke);
    assert!(why(&seed.status()).contains("more than it announced"));
}

#[tokio::test]
async fn a_file_that_is_not_there_ends_the_only_file() {
    let raw = |text: &str| Reply::Raw(format!("HTTP/1.1 {text}").into_bytes());
    let bad = [
        ("HTTP status 404", Reply::Status("404 Not Found\r\n".to_owned())),
        ("HTTP status 410", Reply::Status("410 Gone\r\n".to_owned())),
        ("packs the file", raw("200 OK\r\nContent-Encoding: gzip\r\n\r\nxyz")),
        ("has 12 bytes", raw("200 OK\r\nContent-Length: 12\r\n\r\n<h1>hey</h1>")),
        ("HTTP status 401", Reply::Status("401 Who are you\r\n".to_owned())),
    ];
    for (expected, reply) in bad {
        let torrent = one_file();
        let server = Server::start(torrent.layout(), move |_| reply.clone()).await;
        let seed = seed_at(&clients(quick()), Arc::clone(&torrent), &server.url());
        let mut end = PeerEnd::greet(&seed).await;
        end.request(&all_blocks(torrent.layout())[..9]).await;
        assert_eq!(end.rejects(9).await, 9);
        let Ended::Failed(why) = end.ended().await else { panic!("{expected}") };
        assert!(why.contains(expected), "{why}");
        assert_eq!(seed.status().state, WebSeedState::Failed { why: why.clone() });
        // There is no use in trying again.
        let (_ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        assert_eq!(soon(seed.serve(theirs)).await, Ended::Failed(why));
    }
}

#[tokio::test]
async fn the_end_of_a_large_file_is_not_dug_out_of_a_whole_answer() {
    let torrent = Arc::new(torrent_of(Version::V1, 1 << 17, &[3 << 20]));
    let layout = torrent.layout();
    let server = Server::start(layout, |_| Reply::Whole).await;
    let seed = seed_at(&clients(quick()), Arc::clone(&torrent), &server.url());
    let mut end = PeerEnd::greet(&seed).await;
    let blocks = all_blocks(layout);
    end.fetch(layout, &blocks[..20], 16).await;
    end.request(&blocks[180..]).await;
    assert!(matches!(end.ended().await, Ended::Failed(why) if why.contains("no ranges")));
}

#[tokio::test]
async fn what_a_server_lacks_is_not_offered_again_and_the_rest_is_had() {
    let torrent = Arc::new(torrent_of(Version::V1, 1 << 14, &[50_000, 50_000, 50_000]));
    let layout = torrent.layout();
    let lost = "/pub/rel%201/dir%201/file%231";
    let server = Server::start(layout, move |asked| match asked.target == lost {
        true => Reply::Status("404 Not Found\r\n".to_owned()),
        false => Reply::Good,
    })
    .await;
    let seed = seed_at(&clients(quick()), Arc::clone(&torrent), &server.url());
    let mut end = PeerEnd::greet(&seed).await;
    end.request(&all_blocks(layout)).await;
    assert!(end.rejects(10).await > 0);
    assert_eq!(end.ended().await, Ended::FilesMissing);
    let mut end = PeerEnd::meet(&seed).await;
    assert!(matches!(end.next().await, Said::Hello(_)));
    // The second of three files is in pieces 3 to 6 of 10.
    let Said::Bitfield(bits) = end.next().await else { panic!("not all is there") };
    assert_eq!(bits, [0b1110_0001, 0b1100_0000]);
    assert_eq!(end.next().await, Said::Unchoke);
    let there: Vec<BlockRange> =
        all_blocks(layout).into_iter().filter(|block| !(3..7).contains(&block.piece().get())).collect();
    end.fetch(layout, &there, 16).await;
    end.request(&[layout.block(4, 0, 100).unwrap()]).await;
    assert_eq!(end.next().await, Said::Reject(4, 0, 100));
    assert_eq!(seed.status().missing_files, 1);
    assert_eq!(end.close().await, Ended::PeerClosed);
}

#[tokio::test]
async fn a_server_that_lacks_very_many_files_is_given_up() {
    let torrent = Arc::new(torrent_of(Version::V2, 1 << 14, &[1000; 100]));
    let layout = torrent.layout();
    let server = Server::start(layout, |asked| match asked.target.ends_with("%2399") {
        true => Reply::Good,
        false => Reply::Status("404 Not Found\r\n".to_owned()),
    })
    .await;
    let seed = seed_at(&clients(quick()), Arc::clone(&torrent), &server.url());
    let mut meetings = 0;
    loop {
        let mut end = PeerEnd::meet(&seed).await;
        meetings += 1;
        while end.next().await != Said::Unchoke {}
        end.request(&all_blocks(layout)).await;
        match end.ended().await {
            Ended::FilesMissing => {}
            Ended::Failed(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(meetings <= 65, "{meetings}");
}

#[tokio::test]
async fn a_server_that_bears_one_connection_is_asked_over_one() {
    let torrent = Arc::new(torrent_of(Version::V1, 1 << 17, &[6 << 20]));
    let layout = torrent.layout();
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let server = Server::start(layout, move |asked| match asked.connection {
        0 => Reply::Good,
        _ => {
            count.fetch_add(1, Ordering::Relaxed);
            Reply::Status("503 One connection each\r\nConnection: close\r\n".to_owned())
        }
    })
    .await;
    let seed = seed_at(&clients(quick()), Arc::clone(&torrent), &server.url());
    let mut end = PeerEnd::greet(&seed).await;
    let blocks = all_blocks(layout);
    // Two gaps, so that there are three runs for three connections.
    let wanted: Vec<BlockRange> = [&blocks[..100], &blocks[110..200], &blocks[210..300]].concat();
    end.request(&wanted).await;
    let (mut came, mut rejected) = (0, Vec::new());
    while came < wanted.len() {
        match end.next().await {
            Said::Piece(index, begin, data) => {
                assert_eq!(data, block_content(layout, layout.block(index, begin, data.len() as u32).unwrap()));
                came += 1;
            }
            // If the first connection had nothing left to do for a moment, that was a back-off.
            Said::Reject(index, begin, length) => rejected.push(layout.block(index, begin, length).unwrap()),
            Said::Unchoke => end.request(&std::mem::take(&mut rejected)).await,
            Said::Choke => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(refused.load(Ordering::Relaxed) >= 1);
}

#[tokio::test]
async fn a_peer_that_does_not_read_holds_the_server_up_and_is_not_blamed_on_it() {
    let torrent = Arc::new(torrent_of(Version::V1, 1 << 20, &[16 << 20]));
    let layout = torrent.layout();
    let server = Server::start(layout, |_| Reply::Good).await;
    let stall_timeout = Duration::from_secs(2);
    let seed = seed_at(&clients(WebSeedConfig { stall_timeout, ..quick() }), Arc::clone(&torrent), &server.url());
    let mut end = PeerEnd::greet(&seed).await;
    let blocks = all_blocks(layout);
    end.request(&blocks).await;
    // Until nothing moves: the socket, the outbox and the blocks between are full, far below what was asked for.
    let mut before = 0;
    soon(async {
        loop {
            // A server that sent nothing for so long would be to blame.
            tokio::time::sleep(stall_timeout + Duration::from_millis(500)).await;
            let now = seed.status().fetched_bytes;
            if now == before && now > 0 {
                break;
            }
            before = now;
        }
    })
    .await;
    assert!(before < 8 << 20, "{before} bytes were taken from the server for a peer that does not read");
    end.say(Message::Interested).await;
    let mut came = 0;
    while came < blocks.len() {
        match end.next().await {
            Said::Piece(..) => came += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seed.status().last_error, None);
}

/// Answers that are nearly good: any status, any of the headers that count, with values that are odd or not, any body.
fn any_answer() -> impl Strategy<Value = Vec<u8>> {
    let header = prop_oneof![
        "Content-Range: bytes [0-9]{1,6}-[0-9]{1,6}/([0-9]{1,6}|\\*)\r\n",
        "Content-Range: bytes 0-16383/400000\r\n",
        "Content-Range: [ -~]{0,30}\r\n",
        "Content-Length: [0-9]{1,22}\r\n",
        "Content-Length: (16384|400000|0|-1)\r\n",
        "Content-Encoding: (gzip|identity|br|[ -~]{0,9})\r\n",
        "Transfer-Encoding: (chunked|gzip)\r\n",
        "Location: ([0-Z]{0,30}|/|//|http://|:|/pub/\\.\\.)\r\n",
        "Retry-After: ([0-9]{1,25}|[ -~]{0,20})\r\n",
        "[!-9;-~]{1,20}: [ -~]{0,40}\r\n",
    ];
    let head = (200u16..600, prop::collection::vec(header, 0..5));
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        (0usize..40_000).prop_map(|size| vec![b'7'; size]),
        Just(b"4000\r\nxxxx".to_vec()),
        Just(b"ffffffffffffffff\r\nx".to_vec()),
    ];
    let good_heads = prop_oneof![Just(200u16), Just(206), Just(302), Just(503)];
    (head, good_heads, any::<bool>(), body).prop_map(|((status, headers), good, is_good, body)| {
        let status = if is_good { good } else { status };
        let mut answer = format!("HTTP/1.1 {status} X\r\n{}\r\n", headers.concat()).into_bytes();
        answer.extend_from_slice(&body);
        answer
    })
}

#[test]
fn whatever_a_server_answers_the_request_is_answered_and_nobody_panics() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clients = clients(WebSeedConfig { stall_timeout: Duration::from_secs(2), ..quick() });
    let torrent = one_file();
    proptest!(ProptestConfig { cases: 200, ..ProptestConfig::default() }, |(answer in any_answer())| {
        runtime.block_on(async {
            let server = Server::start(torrent.layout(), move |_| Reply::Raw(answer.clone())).await;
            let seed = seed_at(&clients, Arc::clone(&torrent), &server.url());
            let mut end = PeerEnd::greet(&seed).await;
            end.request(&all_blocks(torrent.layout())[..1]).await;
            end.rejects(1).await;
            // A task that panicked would fail here.
            let ended = end.close().await;
            assert!(matches!(ended, Ended::PeerClosed | Ended::Failed(_)), "{ended:?}");
        });
    });
}
