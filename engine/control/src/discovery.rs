//! Who is told of our torrents, and asked for peers, beside the trackers: the DHT and the local network. Neither hears of a
//! private torrent.

use crate::dht::{DhtNode, DhtStatus, DhtTorrent, DhtTorrentId};
use crate::lsd::{Lsd, LsdCounts, LsdFound};
use crate::torrents::Since;
use hash::InfoHash;
use mesh::TorrentId;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Takes peers of one torrent, on any thread; it must not wait for anything.
pub(crate) type TakesPeers = Arc<dyn Fn(Vec<SocketAddr>) + Send + Sync>;

/// What finds peers, as far as the operator wants it to.
#[derive(Default)]
pub struct Discovery {
    /// A node of the DHT.
    pub dht: Option<DhtNode>,
    /// Local service discovery, and whom it finds.
    pub lsd: Option<(Lsd, mpsc::Receiver<LsdFound>)>,
    /// Where our peers connect to; 0 if they cannot.
    pub port: u16,
}

/// The torrents that are known out there.
pub(crate) struct Discovered {
    parts: Discovery,
    /// What the DHT's node calls them, if there is one.
    torrents: HashMap<TorrentId, Option<DhtTorrentId>>,
}

impl Discovered {
    pub(crate) fn new(parts: Discovery) -> Discovered {
        Discovered { parts, torrents: HashMap::new() }
    }

    /// Lets others know of a torrent, and passes on who they know, if anybody wants to hear it. A torrent that is known already is
    /// known by this from now on.
    pub(crate) fn begin(&mut self, id: TorrentId, info_hashes: &[InfoHash], found: Option<TakesPeers>, since: Since) {
        self.end(id, info_hashes);
        let node = self.parts.dht.as_ref().map(DhtNode::handle);
        let info_hashes = info_hashes.to_vec();
        if let Some((lsd, _)) = &self.parts.lsd {
            lsd.add_unresolved(&info_hashes);
        }
        let is_restored = since == Since::EarlierRun;
        let torrent = DhtTorrent { info_hashes, port: self.parts.port, is_restored, is_private: false, found };
        self.torrents.insert(id, node.and_then(|node| node.add_torrent(torrent)));
    }

    /// Whether others are told of the torrent.
    pub(crate) fn knows(&self, id: TorrentId) -> bool {
        self.torrents.contains_key(&id)
    }

    /// Speaks no longer of a torrent, by the names under which it was begun.
    pub(crate) fn end(&mut self, id: TorrentId, info_hashes: &[InfoHash]) {
        let Some(dht) = self.torrents.remove(&id) else { return };
        if let (Some(node), Some(torrent)) = (&self.parts.dht, dht) {
            node.handle().remove(torrent);
        }
        if let Some((lsd, _)) = &self.parts.lsd {
            lsd.remove_unresolved(info_hashes);
        }
    }

    /// A peer says that there is a node of the DHT.
    pub(crate) fn add_dht_node(&self, address: SocketAddr) {
        if let Some(node) = &self.parts.dht {
            node.handle().add_node(address);
        }
    }

    /// The next neighbour that was heard of, and what it shares with us; never where nobody listens.
    pub(crate) async fn neighbour(&mut self) -> (SocketAddr, InfoHash) {
        if let Some((_, found)) = &mut self.parts.lsd
            && let Some(LsdFound { info_hash, address }) = found.recv().await
        {
            return (address, info_hash);
        }
        std::future::pending().await
    }

    pub(crate) fn dht_status(&self) -> Option<DhtStatus> {
        self.parts.dht.as_ref().map(|node| node.handle().status())
    }

    pub(crate) fn lsd_counts(&self) -> Option<LsdCounts> {
        self.parts.lsd.as_ref().map(|(lsd, _)| lsd.counts())
    }

    /// Ends it all, and keeps what the next start should know.
    pub(crate) async fn stop(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        if let Some((lsd, _)) = parts.lsd {
            lsd.stop().await;
        }
        if let Some(node) = parts.dht {
            node.stop().await;
        }
    }
}
