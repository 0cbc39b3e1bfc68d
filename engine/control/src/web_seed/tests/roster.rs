//! All web seeds of a torrent: who is tried, and who is tried again.

use mesh::TorrentId;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::peer_end::{PeerEnd, Said};
use super::server::{Reply, Server};
use super::*;

fn torrent() -> Arc<Torrent> {
    Arc::new(torrent_of(Version::V1, 1 << 14, &[50_000, 50_000, 50_000]))
}

struct Fixture {
    seeds: WebSeeds,
    near_ends: mpsc::Receiver<NearEnd>,
    torrent: Arc<Torrent>,
}

impl Fixture {
    fn start(torrent: Arc<Torrent>, urls: &[String]) -> Fixture {
        let (sender, near_ends) = mpsc::channel(1);
        let seeds = WebSeeds::start(&clients(quick()), (TorrentId(7), &torrent), urls, &sender);
        Fixture { seeds, near_ends, torrent }
    }

    async fn next(&mut self) -> (SocketAddr, PeerEnd) {
        let near = soon(self.near_ends.recv()).await.unwrap();
        assert_eq!(near.id, TorrentId(7));
        let stream = UnixStream::from_std(near.socket.into()).unwrap();
        (near.address, PeerEnd::over(stream, self.torrent.layout().piece_count()).await)
    }
}

#[tokio::test]
async fn a_torrent_is_fetched_from_all_of_its_web_seeds_and_the_odd_ones_are_named() {
    let torrent = torrent();
    let (first, second) = (Server::start(torrent.layout(), |_| Reply::Good).await, {
        Server::start(torrent.layout(), |_| Reply::Good).await
    });
    let urls = [first.url(), "ftp://me:secret@x/pub".to_owned(), first.url(), second.url(), "pub/x".to_owned()];
    let mut fixture = Fixture::start(Arc::clone(&torrent), &urls);
    let blocks = all_blocks(torrent.layout());
    let mut addresses = Vec::new();
    for half in [&blocks[..5], &blocks[5..]] {
        let (address, mut end) = fixture.next().await;
        while end.next().await != Said::Unchoke {}
        end.fetch(torrent.layout(), half, 8).await;
        addresses.push(address);
    }
    assert_ne!(addresses[0].ip(), addresses[1].ip(), "each can be banned by itself");
    let status = fixture.seeds.status();
    let failed: Vec<bool> = status.iter().map(|seed| matches!(seed.state, WebSeedState::Failed { .. })).collect();
    assert!(status[2].url == "ftp://x/pub" && status[3].url == "pub/x", "{status:?}");
    assert_eq!(failed, [false, false, true, true]);
    assert_eq!(status.iter().map(|seed| seed.fetched_bytes).sum::<u64>(), 150_000);
    drop(fixture.seeds);
    assert!(soon(fixture.near_ends.recv()).await.is_none());
}

#[tokio::test]
async fn a_server_that_lacks_a_file_comes_back_without_it_and_with_its_address() {
    let torrent = torrent();
    let server = Server::start(torrent.layout(), move |asked| match asked.target.ends_with("%231") {
        true => Reply::Status("404 Not Found\r\n".to_owned()),
        false => Reply::Good,
    })
    .await;
    let mut fixture = Fixture::start(Arc::clone(&torrent), &[server.url()]);
    let (address, mut end) = fixture.next().await;
    while end.next().await != Said::Unchoke {}
    end.request(&all_blocks(torrent.layout())).await;
    let (again, mut end) = fixture.next().await;
    assert_eq!(again, address);
    assert!(matches!(end.next().await, Said::Hello(_)));
    assert!(matches!(end.next().await, Said::Bitfield(_)));
}

#[tokio::test]
async fn only_so_many_servers_are_asked_and_one_of_no_use_makes_room() {
    let torrent = torrent();
    let bad = Server::start(torrent.layout(), |_| Reply::Status("401 No\r\n".to_owned())).await;
    let urls: Vec<String> = (0..10).map(|n| format!("{}{n}/", bad.url())).collect();
    let mut fixture = Fixture::start(Arc::clone(&torrent), &urls);
    let mut ends = Vec::new();
    for _ in 0..8 {
        ends.push(fixture.next().await.1);
    }
    assert!(fixture.near_ends.try_recv().is_err());
    let mut end = ends.remove(3);
    while end.next().await != Said::Unchoke {}
    end.request(&all_blocks(torrent.layout())[..1]).await;
    fixture.next().await;
    let states = fixture.seeds.status();
    assert_eq!(states.iter().filter(|seed| matches!(seed.state, WebSeedState::Failed { .. })).count(), 1);
}
