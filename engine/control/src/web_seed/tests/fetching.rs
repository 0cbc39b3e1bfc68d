//! Servers that behave: whatever is asked for in whatever order, the bytes are the content's.

use std::collections::HashSet;

use proptest::sample::Index;

use super::peer_end::PeerEnd;
use super::server::{Reply, Server};
use super::*;

#[tokio::test]
async fn a_file_is_fetched_in_few_ranges_over_few_kept_connections() {
    let torrent = Arc::new(torrent_of(Version::V1, 1 << 17, &[9 << 20]));
    let layout = torrent.layout();
    let server = Server::start(layout, |_| Reply::Good).await;
    let seed = seed_at(&clients(quick()), Arc::clone(&torrent), &server.url());
    assert_eq!(seed.status().state, WebSeedState::Idle);
    let mut end = PeerEnd::greet(&seed).await;
    end.fetch(layout, &all_blocks(layout), 256).await;
    let asked = server.asked();
    assert!(asked.len() <= 24, "{} requests for 9 MiB", asked.len());
    let connections: HashSet<usize> = asked.iter().map(|request| request.connection).collect();
    assert!(connections.len() <= 4, "{connections:?}");
    assert!(asked.iter().all(|request| request.target == "/pub/rel%201"), "{:?}", asked[0]);
    let head = asked[0].head.to_lowercase();
    assert!(head.contains("\r\naccept-encoding: identity\r\n") && head.contains("\r\nuser-agent: spillway/"), "{head}");
    let status = seed.status();
    assert_eq!((status.fetched_bytes, status.missing_files, status.last_error), (9 << 20, 0, None));
    assert!(status.rate_bytes_per_s > 0);
    assert_eq!(end.close().await, Ended::PeerClosed);
    assert_eq!(seed.status().state, WebSeedState::Idle);
}

#[tokio::test]
async fn many_small_files_of_a_hybrid_come_without_their_pads() {
    let sizes: Vec<u64> = (0..50).map(|n| n * 997 % 40_000).collect();
    let torrent = Arc::new(torrent_of(Version::Hybrid, 1 << 14, &sizes));
    let layout = torrent.layout();
    assert!(layout.files().iter().any(metainfo::FileEntry::is_pad));
    let server = Server::start(layout, |_| Reply::Good).await;
    // Without the slash that a folder's URL should end in.
    let url = format!("http://{}/pub", server.address);
    let seed = seed_at(&clients(quick()), Arc::clone(&torrent), &url);
    let mut end = PeerEnd::greet(&seed).await;
    end.fetch(layout, &all_blocks(layout), 64).await;
    assert!(server.asked().iter().all(|request| request.target.starts_with("/pub/rel%201/dir%20")));
}

#[tokio::test]
async fn a_server_that_answers_with_less_than_was_asked_for_is_asked_for_the_rest() {
    let torrent = Arc::new(torrent_of(Version::V2, 1 << 16, &[300_000]));
    let layout = torrent.layout();
    let content = file_content(layout, layout.file_index(0).unwrap());
    let server = Server::start(layout, move |asked| {
        let range = asked.range.clone().unwrap();
        let range = range.start..range.end.min(range.start + 50_000);
        let head = format!("Content-Range: bytes {}-{}/{}", range.start, range.end - 1, content.len());
        let mut reply = format!("HTTP/1.1 206 Partial\r\n{head}\r\nConnection: close\r\n\r\n").into_bytes();
        reply.extend_from_slice(&content[range.start as usize..range.end as usize]);
        Reply::Raw(reply)
    })
    .await;
    let seed = seed_at(&clients(quick()), Arc::clone(&torrent), &server.url());
    let mut end = PeerEnd::greet(&seed).await;
    end.fetch(layout, &all_blocks(layout), 64).await;
    assert_eq!(seed.status().last_error, None);
}

#[tokio::test]
async fn small_files_come_from_a_server_that_knows_no_ranges() {
    let torrent = Arc::new(torrent_of(Version::V1, 1 << 15, &[70_000, 1, 90_000]));
    let layout = torrent.layout();
    let server = Server::start(layout, |_| Reply::Whole).await;
    let seed = seed_at(&clients(quick()), Arc::clone(&torrent), &server.url());
    let mut end = PeerEnd::greet(&seed).await;
    let blocks = all_blocks(layout);
    end.fetch(layout, &blocks, 64).await;
    end.fetch(layout, &blocks, 1).await;
    assert_eq!(seed.status().last_error, None);
}

#[tokio::test]
async fn two_web_seeds_of_one_program_do_not_look_like_one_peer() {
    let (first, second) = (peer_id(), peer_id());
    assert_ne!(first, second);
    assert!([first, second].iter().all(|id| id.0.starts_with(PEER_ID_PREFIX)));
    assert_eq!(first.client().to_string(), "Spillway w.e.b");
}

#[test]
fn whatever_the_layout_and_the_order_of_requests_the_bytes_are_the_contents() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clients = clients(quick());
    let config = ProptestConfig { cases: 48, ..ProptestConfig::default() };
    proptest!(config, |(
        version in any_version(),
        piece_log in 14u32..17,
        sizes in prop::collection::vec(prop_oneof![Just(0u64), 1u64..50, 1u64..150_000], 1..10),
        picks in prop::collection::vec((any::<Index>(), any::<Index>(), 1u32..40_000), 1..60),
        depth in 1usize..40,
        connections in 1usize..5,
    )| {
        runtime.block_on(async {
            let torrent = Arc::new(torrent_of(version, 1 << piece_log, &sizes));
            let layout = torrent.layout();
            let server = Server::start(layout, |_| Reply::Good).await;
            let config = WebSeedConfig { connections, ..quick() };
            let clients = if connections == 4 { Arc::clone(&clients) } else { super::clients(config) };
            let seed = seed_at(&clients, Arc::clone(&torrent), &server.url());
            let mut blocks: Vec<BlockRange> = picks.iter().map(|(piece, begin, size)| {
                let piece = layout.piece(piece.index(layout.piece_count() as usize) as u32).unwrap();
                let piece_size = layout.piece_size(piece);
                let begin = begin.index(piece_size as usize) as u32;
                layout.block(piece.get(), begin, (*size).min(piece_size - begin)).unwrap()
            }).collect();
            let mut seen = HashSet::new();
            blocks.retain(|block| seen.insert((block.piece(), block.begin(), block.size())));
            let mut end = PeerEnd::greet(&seed).await;
            end.fetch(layout, &blocks, depth).await;
            assert_eq!(end.close().await, Ended::PeerClosed);
        });
    });
}
