//! Where a server may send us, and where not. Loopback's addresses play the parts of networks.

use std::net::IpAddr;

use super::peer_end::{PeerEnd, Said};
use super::scope::Scope;
use super::server::{Reply, Server};
use super::*;
use crate::announcer::resolve::Resolver;

const PUBLIC: [u8; 4] = [127, 0, 0, 1];
const PRIVATE: [u8; 4] = [127, 0, 0, 2];
const HOST: [u8; 4] = [127, 0, 0, 3];

fn pretend(ip: IpAddr) -> Scope {
    match ip {
        IpAddr::V4(ip) if ip.octets() == PUBLIC => Scope::Public,
        IpAddr::V4(ip) if ip.octets() == PRIVATE => Scope::Private,
        _ => Scope::Host,
    }
}

fn torrent() -> Arc<Torrent> {
    Arc::new(torrent_of(Version::V1, 1 << 15, &[100_000]))
}

/// Who redirects to `location`, and a web seed there.
async fn redirecting(ip: [u8; 4], location: String, allow_private_networks: bool) -> (Server, Arc<WebSeed>) {
    let torrent = torrent();
    let reply = Reply::Status(format!("302 Found\r\nLocation: {location}\r\n"));
    let server = Server::start_at(ip.into(), torrent.layout(), move |_| reply.clone()).await;
    let config = WebSeedConfig { allow_private_networks, ..quick() };
    let resolver = Resolver::new();
    resolver.remember("rebind.test", &[HOST.into()]).await;
    resolver.remember("public.test", &[PUBLIC.into()]).await;
    let clients = Arc::new(WebSeedClients::with_scopes(config, pretend, resolver).unwrap());
    let seed = seed_at(&clients, torrent, &server.url());
    (server, seed)
}

async fn works(seed: &Arc<WebSeed>) {
    let layout = seed.source.torrent.layout();
    let mut end = PeerEnd::greet(seed).await;
    end.fetch(layout, &all_blocks(layout), 16).await;
    assert_eq!(end.close().await, Ended::PeerClosed);
}

async fn is_refused(seed: &Arc<WebSeed>, expected: &str) {
    let mut end = PeerEnd::greet(seed).await;
    end.request(&all_blocks(seed.source.torrent.layout())[..2]).await;
    assert_eq!(end.rejects(2).await, 2);
    let Ended::Failed(why) = end.ended().await else { panic!("{expected}") };
    assert!(why.contains(expected), "{why}");
}

#[tokio::test]
async fn a_mirror_is_followed_to_where_its_server_is_or_further_out() {
    for (from, to) in [(PUBLIC, PUBLIC), (PRIVATE, PUBLIC), (PRIVATE, PRIVATE), (HOST, PRIVATE), (HOST, HOST)] {
        let target = Server::start_at(to.into(), torrent().layout(), |_| Reply::Good).await;
        let (server, seed) = redirecting(from, format!("{}rel%201", target.url()), false).await;
        works(&seed).await;
        assert_eq!(server.asked().len(), target.asked().len());
        let range = |server: &Server| server.asked().iter().map(|asked| asked.range.clone()).collect::<Vec<_>>();
        assert_eq!(range(&server), range(&target));
    }
}

#[tokio::test]
async fn a_public_server_redirects_nobody_into_a_private_network() {
    for to in [PRIVATE, HOST] {
        let target = Server::start_at(to.into(), torrent().layout(), |_| Reply::Good).await;
        for location in [format!("{}rel%201", target.url()), format!("//{}/pub/rel%201", target.address)] {
            let (_server, seed) = redirecting(PUBLIC, location.clone(), false).await;
            is_refused(&seed, "own network").await;
        }
        assert!(target.asked().is_empty());
        let (_server, seed) = redirecting(PUBLIC, format!("{}rel%201", target.url()), true).await;
        works(&seed).await;
    }
    let target = Server::start_at(HOST.into(), torrent().layout(), |_| Reply::Good).await;
    let (_server, seed) = redirecting(PRIVATE, format!("{}rel%201", target.url()), false).await;
    is_refused(&seed, "own network").await;
    for literal in ["http://[::1]:1/", "http://[::ffff:127.0.0.3]:1/", "http://0x7f000003:1/", "http://2130706435:1/"] {
        let (_server, seed) = redirecting(PUBLIC, literal.to_owned(), false).await;
        is_refused(&seed, "own network").await;
    }
}

#[tokio::test]
async fn a_name_that_leads_inside_is_no_way_around() {
    let target = Server::start_at(HOST.into(), torrent().layout(), |_| Reply::Good).await;
    let location = format!("http://rebind.test:{}/pub/rel%201", target.address.port());
    let (_server, seed) = redirecting(PUBLIC, location.clone(), false).await;
    is_refused(&seed, "own network").await;
    // What the name meant when it was checked may change before it is connected to.
    let patience = client::Patience::new(Duration::from_secs(30));
    let clients = &seed.source.clients;
    let url = ::url::Url::parse(&location).unwrap();
    assert!(clients.ask(&url, &(0..10), &patience).await.is_ok());
    assert!(clients.connect_in(Scope::Public, &url).await.is_err());
    assert_eq!(target.asked().len(), 1);
}

#[tokio::test]
async fn a_query_is_not_sent_to_a_server_in_our_own_network() {
    let torrent = torrent();
    for (ip, allow, is_good) in
        [(PUBLIC, false, true), (PRIVATE, false, false), (HOST, false, false), (HOST, true, true)]
    {
        let server = Server::start_at(ip.into(), torrent.layout(), |_| Reply::Good).await;
        let config = WebSeedConfig { allow_private_networks: allow, ..quick() };
        let clients = Arc::new(WebSeedClients::with_scopes(config, pretend, Resolver::new()).unwrap());
        let url = format!("{}rel%201?reboot=yes", server.url());
        let seed = seed_at(&clients, Arc::clone(&torrent), &url);
        match is_good {
            true => works(&seed).await,
            false => is_refused(&seed, "a URL with a query").await,
        }
        assert_eq!(server.asked().is_empty(), !is_good);
    }
}

#[tokio::test]
async fn redirects_that_lead_nowhere_are_refused() {
    for (location, expected) in [
        ("ftp://x/y", "no HTTP URL"),
        ("http://", "no URL"),
        ("/pub/rel%201", "more than 5 redirects"),
        ("file:///etc/passwd", "no HTTP URL"),
    ] {
        let (_server, seed) = redirecting(PUBLIC, location.to_owned(), false).await;
        is_refused(&seed, expected).await;
    }
}

#[tokio::test]
async fn a_redirect_without_a_target_is_a_file_that_is_not_there() {
    let torrent = torrent();
    let server = Server::start(torrent.layout(), |_| Reply::Status("302 Found\r\n".to_owned())).await;
    let seed = seed_at(&clients(quick()), torrent, &server.url());
    is_refused(&seed, "HTTP status 302").await;
}

#[tokio::test]
async fn a_password_goes_to_its_own_server_only() {
    let torrent = torrent();
    let target = Server::start(torrent.layout(), |_| Reply::Good).await;
    let to = format!("{}rel%201", target.url());
    let mut steps = vec![to, "/pub/again".to_owned()];
    let server = Server::start(torrent.layout(), move |_| {
        let location = steps.pop().unwrap_or_else(|| "/end".to_owned());
        Reply::Status(format!("302 Found\r\nLocation: {location}\r\n"))
    })
    .await;
    let url = server.url().replace("http://", "http://me:secret@");
    let seed = seed_at(&clients(quick()), Arc::clone(&torrent), &url);
    let mut end = PeerEnd::greet(&seed).await;
    end.request(&all_blocks(torrent.layout())[..1]).await;
    assert!(matches!(end.next().await, Said::Piece(..)));
    let has_password = |server: &Server| -> Vec<bool> {
        server.asked().iter().map(|asked| asked.head.to_lowercase().contains("\r\nauthorization: basic ")).collect()
    };
    assert_eq!((has_password(&server), has_password(&target)), (vec![true, true], vec![false]));
    assert!(!seed.status().url.contains("secret"));
}
