//! Magnet links resolved on loopback, from scripted peers that give, lie, refuse and break the protocol.

mod script;

use super::*;
use metainfo::{MagnetPeer, Version};
use script::{Script, peer, torrent};

/// Long enough for the slowest machine; a test that waits this long has failed.
const DEADLINE: Duration = Duration::from_secs(60);

fn config() -> ResolveConfig {
    ResolveConfig { give_up_after: Some(DEADLINE), ..ResolveConfig::new(PeerId::ours([7; 12]), "Spillway test") }
}

/// Resolves with what it was given by the caller, not by the link.
async fn resolve(config: ResolveConfig, magnet: Magnet, addresses: Vec<SocketAddr>) -> Result<Resolved, ResolveError> {
    let (found, told) = mpsc::channel(1);
    found.send(FoundPeers { origin: PeerOrigin::Given, addresses }).await.unwrap();
    Resolver::new(config).resolve(magnet, told, 5).finish().await
}

/// The magnet link of a torrent without the names that are not wanted.
fn magnet(torrent: &Torrent, v1: bool, v2: bool) -> Magnet {
    let mut magnet = torrent.magnet();
    magnet.info_hash_v1 = magnet.info_hash_v1.filter(|_| v1);
    magnet.info_hash_v2 = magnet.info_hash_v2.filter(|_| v2);
    magnet
}

fn assert_whole(resolved: &Resolved, torrent: &Torrent) {
    assert_eq!(resolved.torrent.info_bytes(), torrent.info_bytes());
    assert!(!resolved.lacks_layers);
    assert_eq!(resolved.torrent.has_piece_layers(), torrent.has_piece_layers());
    for file in torrent.layout().file_indices() {
        assert_eq!(resolved.torrent.piece_layer(file), torrent.piece_layer(file));
    }
    assert_eq!(resolved.torrent.trackers(), torrent.trackers());
    assert_eq!(resolved.torrent.web_seeds(), torrent.web_seeds());
}

#[tokio::test]
async fn every_version_comes_whole_under_every_name() {
    // 3,000 pieces: several metadata pieces of v1 hashes, a layer of six runs, another of one, a file without any.
    for (version, names) in [
        (Version::V1, &[(true, false)][..]),
        (Version::V2, &[(false, true)]),
        (Version::Hybrid, &[(true, true), (true, false), (false, true)]),
    ] {
        let torrent = torrent(version, &[3_000, 1, 5]);
        let seed = peer(&torrent, Script::Honest).await;
        for (v1, v2) in names {
            let resolved = resolve(config(), magnet(&torrent, *v1, *v2), vec![seed]).await.unwrap();
            assert_whole(&resolved, &torrent);
            assert_eq!((resolved.peers, resolved.selected), (vec![seed], None));
        }
    }
}

#[tokio::test]
async fn the_links_own_peers_are_asked_by_name_and_number_and_its_selection_is_kept() {
    let torrent = torrent(Version::V1, &[4, 4, 4, 4]);
    let by_number = peer(&torrent, Script::Tells("127.0.0.1:9".parse().unwrap())).await;
    let by_name = peer(&torrent, Script::Honest).await;
    let mut magnet = torrent.magnet();
    let given = |host: &str, address: SocketAddr| MagnetPeer { host: host.into(), port: address.port() };
    magnet.peers = vec![given("127.0.0.1", by_number), given("localhost", by_name)];
    magnet.select_only = vec![2..=9, 0..=0, 2..=2];
    let resolved = resolve(config(), magnet, Vec::new()).await.unwrap();
    assert_whole(&resolved, &torrent);
    let selected: Vec<u32> = resolved.selected.unwrap().iter().map(|file| file.get()).collect();
    assert_eq!(selected, [0, 2, 3]);
    assert_eq!(resolved.peers[0], by_name);
}

#[tokio::test]
async fn peers_that_lie_refuse_or_break_the_protocol_do_not_keep_an_honest_one_from_giving() {
    let torrent = torrent(Version::Hybrid, &[2_500, 700]);
    let mut bitfield = Vec::new();
    wire::Message::Bitfield(&vec![0xff; 500_000]).encode(&mut bitfield);
    let metadata = |text: &[u8]| {
        let mut out = Vec::new();
        wire::Message::Extended { id: wire::UT_METADATA_ID, payload: text }.encode(&mut out);
        out
    };
    let scripts = [
        Script::Mute,
        Script::Silent,
        Script::Rejects,
        Script::WrongMetadata,
        Script::WrongMetadata,
        Script::Size(0),
        Script::Size(77),
        Script::Size(20_000),
        Script::Size(u32::MAX),
        Script::WrongHashes,
        Script::NoHashes,
        Script::Bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Script::Bytes(Vec::new()),
        Script::Bytes(vec![0x13; 200]),
        Script::After(bitfield),
        Script::After(vec![0xff; 100]),
        Script::After(vec![0, 0, 0, 2, 20, 0]),
        Script::After(metadata(b"d8:msg_typei1e5:piecei4294967295e10:total_sizei1eexyz")),
        Script::After(metadata(b"d8:msg_typei1e5:piecei0ee")),
        Script::After(metadata(b"d8:msg_typei0e5:piecei0ee")),
        Script::After(metadata(b"le")),
    ];
    let mut addresses = Vec::new();
    for script in scripts {
        addresses.push(peer(&torrent, script).await);
    }
    let honest = peer(&torrent, Script::Honest).await;
    addresses.push(honest);
    let resolved = resolve(config(), torrent.magnet(), addresses).await.unwrap();
    assert_whole(&resolved, &torrent);
    assert!(resolved.peers.contains(&honest));
}

#[tokio::test]
async fn whatever_bytes_come_after_the_handshake_an_honest_peer_is_heard() {
    let torrent = torrent(Version::V2, &[1_200, 7]);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut addresses = Vec::new();
    for round in 0..30u8 {
        let mut bytes = Vec::new();
        for _ in 0..200 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Half of them begin like messages of a kind that is looked into.
            if round % 2 == 0 {
                bytes.extend_from_slice(&[0, 0, 0, 52 + (random as u8 & 1), 20 + (random >> 8) as u8 % 4]);
                bytes.extend(std::iter::repeat_n((random >> 16) as u8, 51));
            }
            bytes.extend_from_slice(&random.to_le_bytes()[..(random >> 60) as usize % 8]);
        }
        addresses.push(peer(&torrent, Script::After(bytes)).await);
    }
    addresses.push(peer(&torrent, Script::Honest).await);
    assert_whole(&resolve(config(), torrent.magnet(), addresses).await.unwrap(), &torrent);
}

#[tokio::test]
async fn a_hybrids_peer_is_met_under_whichever_name_it_knows() {
    let torrent = torrent(Version::Hybrid, &[600, 3]);
    let v2_only = peer(&torrent, Script::Named(torrent.info_hash_v2().unwrap().into())).await;
    assert_whole(&resolve(config(), torrent.magnet(), vec![v2_only]).await.unwrap(), &torrent);
    let upgrades = peer(&torrent, Script::Upgrades).await;
    for (v1, v2) in [(true, true), (true, false)] {
        assert_whole(&resolve(config(), magnet(&torrent, v1, v2), vec![upgrades]).await.unwrap(), &torrent);
    }
}

#[tokio::test]
async fn a_peer_that_hangs_up_on_the_upgrade_is_tried_again() {
    let torrent = torrent(Version::Hybrid, &[600, 3]);
    let busy = peer(&torrent, Script::HangsUpOnce).await;
    assert_whole(&resolve(config(), magnet(&torrent, true, false), vec![busy]).await.unwrap(), &torrent);
}

#[tokio::test]
async fn a_hybrid_whose_peers_know_v1_alone_goes_on_without_layers() {
    let torrent = torrent(Version::Hybrid, &[600, 3]);
    let v1_only = peer(&torrent, Script::Named(torrent.info_hash_v1().unwrap().into())).await;
    let refuses = peer(&torrent, Script::NoHashes).await;
    let config = ResolveConfig { hybrid_patience: Duration::from_millis(300), ..config() };
    let resolved = resolve(config, torrent.magnet(), vec![v1_only, refuses]).await.unwrap();
    assert!(resolved.lacks_layers && !resolved.torrent.has_piece_layers());
    assert_eq!(resolved.torrent.info_bytes(), torrent.info_bytes());
}

#[tokio::test]
async fn peers_tell_of_others_unless_that_is_switched_off() {
    let torrent = torrent(Version::V1, &[4, 4]);
    let honest = peer(&torrent, Script::Honest).await;
    let teller = peer(&torrent, Script::Tells(honest)).await;
    let resolved = resolve(config(), torrent.magnet(), vec![teller]).await.unwrap();
    assert_eq!(resolved.peers, [honest, teller]);
    let deaf = ResolveConfig { pex: false, give_up_after: Some(Duration::from_secs(5)), ..config() };
    let error = resolve(deaf, torrent.magnet(), vec![teller]).await.unwrap_err();
    assert!(matches!(error, ResolveError::TimedOut { what: "the metadata", answered_count: 1, .. }), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
}

#[tokio::test]
async fn families_that_are_switched_off_are_not_dialled() {
    let torrent = torrent(Version::V1, &[4, 4]);
    let honest = peer(&torrent, Script::Honest).await;
    let none = ResolveConfig { v4: false, give_up_after: Some(Duration::from_millis(300)), ..config() };
    let error = resolve(none, torrent.magnet(), vec![honest]).await.unwrap_err();
    assert!(matches!(error, ResolveError::TimedOut { known_count: 0, answered_count: 0, .. }), "{error}");
}

#[tokio::test]
async fn a_link_that_names_two_torrents_and_one_that_names_no_torrent_are_told_apart_from_silence() {
    let (one, other) = (torrent(Version::Hybrid, &[4, 4]), torrent(Version::V2, &[9, 9]));
    let mut mixed = one.magnet();
    mixed.info_hash_v2 = other.info_hash_v2();
    let honest = peer(&one, Script::Honest).await;
    assert_eq!(resolve(config(), mixed, vec![honest]).await.unwrap_err(), ResolveError::HashesDisagree);

    // The metadata of a link may be anything that hashes to it: here it is no torrent.
    let no_torrent = b"d4:name1:ae".to_vec();
    let link = Magnet { info_hash_v1: Some(hash::sha1(&no_torrent)), ..Magnet::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { script::give(listener, &no_torrent).await });
    let error = resolve(config(), link, vec![address]).await.unwrap_err();
    assert!(matches!(error, ResolveError::Unusable(_)), "{error}");
}

#[tokio::test]
async fn progress_is_told_and_a_dropped_link_lets_its_connections_go() {
    let torrent = torrent(Version::V2, &[4, 4]);
    let refuses = peer(&torrent, Script::NoHashes).await;
    let (found, told) = mpsc::channel(1);
    let resolver = Resolver::new(config());
    let resolving = resolver.resolve(torrent.magnet(), told, 5);
    found.send(FoundPeers { origin: PeerOrigin::Tracker, addresses: vec![refuses] }).await.unwrap();
    let mut progress = resolving.progress();
    let is_half_way = |progress: &ResolveProgress| progress.layers.is_some_and(|layers| layers.peer_count == 1);
    let seen = *tokio::time::timeout(DEADLINE, progress.wait_for(is_half_way)).await.unwrap().unwrap();
    assert_eq!((seen.known_count, seen.connected_count, seen.banned_count), (1, 1, 0));
    assert_eq!(seen.metadata.got_bytes as usize, torrent.info_bytes().len());
    assert_eq!(seen.layers.unwrap().hash_count, 4);
    let all = resolver.shared.config.connections_in_all;
    assert_eq!(resolver.shared.connections.available_permits(), all - 1);
    drop(resolving);
    let freed = resolver.shared.connections.acquire_many(all as u32);
    assert!(tokio::time::timeout(DEADLINE, freed).await.is_ok());
}
