//! What peers say of themselves and are told of each other: extension handshakes (BEP 10) and peer exchange (BEP 11). Whom to
//! tell of whom is for `swarm::PexLog`. The shards that serve a torrent tell each other who came and who went, so that a small
//! swarm is whole for each of its peers. Seeds tell, but need not be told.

use crate::connection::{Connection, Phase};
use crate::event_loop::Shard;
use crate::table::Key;
use crate::torrents::Served;
use mesh::TorrentId;
use metainfo::Torrent;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use swarm::{Fault, PeerSource, PexLog, PexPeer};
use wire::PexFlags;

/// What passed between a peer and us about other peers.
#[derive(Default)]
pub(crate) struct Exchange {
    /// Where the peer takes connections, as far as that is known.
    pub(crate) listens_at: Option<SocketAddr>,
    /// What it was told of others, and has told.
    pex: Option<PexPeer>,
}

/// Peers of other shards that a torrent's peers are told of here: the latest. A message holds a quarter of them.
const ELSEWHERE_LIMIT: usize = 200;

/// How long they are believed to be there: that one has left may be lost on the way. Those who stay longer than this are known by
/// then to whoever came with them.
const ELSEWHERE_AGE: Duration = Duration::from_secs(3600);

/// Whom the peers of a torrent are told of.
pub(crate) struct Acquaintances {
    log: PexLog,
    /// Those of them that are connected to other shards, the longest known first, and when they were told of.
    elsewhere: VecDeque<(SocketAddr, Duration)>,
}

/// One shard tells the others of a peer. It is hearsay: what finds a full mailbox is lost.
#[derive(Clone, Copy)]
pub(crate) struct Gossip {
    torrent: TorrentId,
    address: SocketAddr,
    happened: Happened,
}

#[derive(Clone, Copy)]
enum Happened {
    Joined(PexFlags),
    Left,
}

impl Acquaintances {
    /// Nothing if the torrent is private.
    pub(crate) fn new(torrent: &Torrent) -> Option<Acquaintances> {
        Some(Acquaintances { log: PexLog::new(torrent)?, elsewhere: VecDeque::new() })
    }

    /// Takes in what another shard tells.
    fn handle_gossip(&mut self, now: Duration, address: SocketAddr, happened: Happened) {
        match happened {
            Happened::Joined(flags) => {
                if self.elsewhere.len() == ELSEWHERE_LIMIT
                    && let Some((oldest, _)) = self.elsewhere.pop_front()
                {
                    self.log.handle_left(oldest);
                }
                self.elsewhere.push_back((address, now));
                self.log.handle_joined(address, flags);
            }
            Happened::Left => {
                if let Some(at) = self.elsewhere.iter().position(|(known, _)| *known == address) {
                    self.elsewhere.remove(at);
                    self.log.handle_left(address);
                }
            }
        }
    }

    /// Forgets those of other shards of whom nothing was heard for too long.
    fn forget_old(&mut self, now: Duration) {
        while let Some((address, told)) = self.elsewhere.front().copied()
            && now.saturating_sub(told) >= ELSEWHERE_AGE
        {
            self.elsewhere.pop_front();
            self.log.handle_left(address);
        }
    }
}

impl Served {
    /// A peer takes connections there.
    pub(crate) fn note_listening(
        &mut self,
        connection: &mut Connection,
        address: SocketAddr,
        gossip: &mut Vec<Gossip>,
    ) {
        let is_dialled = connection.dialled().is_some();
        let exchange = connection.exchange.get_or_insert_default();
        if exchange.listens_at.is_some() {
            return;
        }
        exchange.listens_at = Some(address);
        if let Some(leech) = &mut self.leech {
            leech.peer_list.handle_connected(address);
        }
        self.note_joined(address, if is_dialled { PexFlags::REACHABLE } else { PexFlags::NONE }, gossip);
    }

    fn note_joined(&mut self, address: SocketAddr, flags: PexFlags, gossip: &mut Vec<Gossip>) {
        if let Some(known) = &mut self.pex {
            known.log.handle_joined(address, flags);
            gossip.push(Gossip { torrent: self.id, address, happened: Happened::Joined(flags) });
        }
    }

    /// A peer has told what it can.
    pub(crate) fn note_extensions(&mut self, key: Key, connection: &mut Connection, gossip: &mut Vec<Gossip>) {
        let Phase::Peer(peer) = &connection.phase else { return };
        let Some(extensions) = peer.session.extensions() else { return };
        let (listen_port, speaks_pex) = (extensions.listen_port, extensions.ut_pex.is_some());
        if let Some(leech) = &mut self.leech {
            if let Some(limit) = extensions.request_queue_limit {
                leech.download.handle_reqq(key, limit);
            }
            if let Some(seen) = extensions.your_ip {
                leech.peer_list.handle_seen_as(connection.address.ip(), seen);
            }
        }
        if let Some(port) = listen_port.filter(|_| connection.dialled().is_none()) {
            self.note_listening(connection, SocketAddr::new(connection.address.ip(), port), gossip);
        }
        if let Some(known) = self.pex.as_ref().filter(|_| speaks_pex) {
            connection.exchange.get_or_insert_default().pex.get_or_insert_with(|| PexPeer::new(&known.log));
        }
    }

    /// A peer tells of others.
    pub(crate) fn handle_pex(
        &mut self,
        now: Duration,
        connection: &mut Connection,
        payload: &[u8],
    ) -> Result<(), Fault> {
        let Phase::Peer(peer) = &mut connection.phase else { return Ok(()) };
        peer.session.handle_payload(now);
        let (Some(known), Some(leech)) = (&self.pex, &mut self.leech) else { return Ok(()) };
        let from = connection.address.ip();
        let pex = connection.exchange.get_or_insert_default().pex.get_or_insert_with(|| PexPeer::new(&known.log));
        pex.handle_message(now, from, payload, |address, flags| {
            leech.peer_list.handle_found(address, PeerSource::Pex);
            if flags.has(PexFlags::SEED) {
                leech.peer_list.handle_seed(address);
            }
        })?;
        Ok(())
    }

    /// A peer comes from another shard: those here are told of it, and it of those here.
    pub(crate) fn join_exchange(&mut self, exchange: &mut Option<Box<Exchange>>, gossip: &mut Vec<Gossip>) {
        let (Some(known), Some(exchange)) = (&self.pex, exchange) else { return };
        if let Some(pex) = &mut exchange.pex {
            pex.handle_moved(&known.log);
        }
        if let Some(address) = exchange.listens_at {
            self.note_joined(address, PexFlags::NONE, gossip);
        }
    }

    /// The peer that listens there has left, or goes to another shard.
    pub(crate) fn leave_exchange(&mut self, listens_at: Option<SocketAddr>, gossip: &mut Vec<Gossip>) {
        if let (Some(known), Some(address)) = (&mut self.pex, listens_at) {
            known.log.handle_left(address);
            gossip.push(Gossip { torrent: self.id, address, happened: Happened::Left });
        }
    }
}

impl Shard {
    /// Takes in what another shard tells of a peer.
    pub(crate) fn handle_gossip(&mut self, Gossip { torrent, address, happened }: Gossip) {
        let slot = self.torrents.find_id(torrent);
        if let Some(known) = slot.and_then(|slot| self.torrents.get_mut(slot)).and_then(|served| served.pex.as_mut()) {
            known.handle_gossip(self.now, address, happened);
        }
    }

    /// Tells a peer of others, if that is due.
    pub(crate) fn exchange_peers(&mut self, connection: &mut Connection) {
        let Connection { phase: Phase::Peer(peer), exchange: Some(exchange), outbox, address, .. } = connection else {
            return;
        };
        let Some(served) = self.torrents.get_mut(peer.torrent) else { return };
        let (Some(known), Some(pex)) = (&mut served.pex, &mut exchange.pex) else { return };
        known.forget_old(self.now);
        if served.task.terms.shut_gate().is_some() {
            // Nobody hears of anybody before the time.
            return;
        }
        let Some(id) = peer.session.extensions().and_then(|extensions| extensions.ut_pex) else { return };
        let to = exchange.listens_at.unwrap_or(SocketAddr::new(address.ip(), 0));
        pex.poll_message(self.now, &known.log, to, id, outbox.tail());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u16) -> SocketAddr {
        ([192, 0, 2, 1], number).into()
    }

    #[test]
    fn who_is_never_said_to_have_left_another_shard_is_forgotten_in_time() {
        let mut known = Acquaintances { log: PexLog::default(), elsewhere: VecDeque::new() };
        let gone = |known: &Acquaintances| {
            let mut pex = PexPeer::new(&known.log);
            !pex.poll_message(Duration::ZERO, &known.log, peer(9), 1, &mut Vec::new())
        };
        known.handle_gossip(Duration::ZERO, peer(1), Happened::Joined(PexFlags::NONE));
        known.handle_gossip(Duration::from_secs(60), peer(2), Happened::Joined(PexFlags::NONE));
        known.forget_old(ELSEWHERE_AGE - Duration::from_secs(1));
        assert_eq!(known.elsewhere.len(), 2);
        known.forget_old(ELSEWHERE_AGE);
        assert_eq!(known.elsewhere.iter().map(|(address, _)| *address).collect::<Vec<_>>(), [peer(2)]);
        assert!(!gone(&known));
        known.forget_old(ELSEWHERE_AGE + Duration::from_secs(60));
        assert!(known.elsewhere.is_empty() && gone(&known), "and nobody is told of them");
        // That they left comes after all.
        known.handle_gossip(2 * ELSEWHERE_AGE, peer(1), Happened::Left);
        assert!(gone(&known));
    }
}
