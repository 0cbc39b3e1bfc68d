//! What peers say of themselves and are told of each other: extension handshakes (BEP 10) and peer exchange (BEP 11). Whom to
//! tell of whom is for `swarm::PexLog`; each shard tells of the peers that are its own. Seeds tell, but need not be told.

use crate::connection::{Connection, Phase};
use crate::event_loop::Shard;
use crate::table::Key;
use crate::torrents::Served;
use std::net::SocketAddr;
use std::time::Duration;
use swarm::{Fault, PeerSource, PexPeer};
use wire::PexFlags;

/// What passed between a peer and us about other peers.
#[derive(Default)]
pub(crate) struct Exchange {
    /// Where the peer takes connections, as far as that is known.
    pub(crate) listens_at: Option<SocketAddr>,
    /// What it was told of others, and has told.
    pex: Option<PexPeer>,
}

impl Served {
    /// A peer takes connections there.
    pub(crate) fn note_listening(&mut self, connection: &mut Connection, address: SocketAddr) {
        let is_dialled = connection.dialled().is_some();
        let exchange = connection.exchange.get_or_insert_default();
        if exchange.listens_at.is_some() {
            return;
        }
        exchange.listens_at = Some(address);
        if let Some(leech) = &mut self.leech {
            leech.peer_list.handle_connected(address);
        }
        if let Some(log) = &mut self.pex {
            log.handle_joined(address, if is_dialled { PexFlags::REACHABLE } else { PexFlags::NONE });
        }
    }

    /// A peer has told what it can.
    pub(crate) fn note_extensions(&mut self, key: Key, connection: &mut Connection) {
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
            self.note_listening(connection, SocketAddr::new(connection.address.ip(), port));
        }
        if let Some(log) = self.pex.as_ref().filter(|_| speaks_pex) {
            connection.exchange.get_or_insert_default().pex.get_or_insert_with(|| PexPeer::new(log));
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
        let (Some(log), Some(leech)) = (&self.pex, &mut self.leech) else { return Ok(()) };
        let from = connection.address.ip();
        let pex = connection.exchange.get_or_insert_default().pex.get_or_insert_with(|| PexPeer::new(log));
        pex.handle_message(now, from, payload, |address, flags| {
            leech.peer_list.handle_found(address, PeerSource::Pex);
            if flags.has(PexFlags::SEED) {
                leech.peer_list.handle_seed(address);
            }
        })?;
        Ok(())
    }

    /// A peer comes from another shard: those here are told of it, and it of those here.
    pub(crate) fn join_exchange(&mut self, exchange: &mut Option<Box<Exchange>>) {
        let (Some(log), Some(exchange)) = (&mut self.pex, exchange) else { return };
        if let Some(pex) = &mut exchange.pex {
            pex.handle_moved(log);
        }
        if let Some(address) = exchange.listens_at {
            log.handle_joined(address, PexFlags::NONE);
        }
    }

    /// The peer that listens there has left, or goes to another shard.
    pub(crate) fn leave_exchange(&mut self, listens_at: Option<SocketAddr>) {
        if let (Some(log), Some(address)) = (&mut self.pex, listens_at) {
            log.handle_left(address);
        }
    }
}

impl Shard {
    /// Tells a peer of others, if that is due.
    pub(crate) fn exchange_peers(&mut self, connection: &mut Connection) {
        let Connection { phase: Phase::Peer(peer), exchange: Some(exchange), outbox, address, .. } = connection else {
            return;
        };
        let Some(served) = self.torrents.get(peer.torrent) else { return };
        let (Some(log), Some(pex)) = (&served.pex, &mut exchange.pex) else { return };
        if served.task.terms.shut_gate().is_some() {
            // Nobody hears of anybody before the time.
            return;
        }
        let Some(id) = peer.session.extensions().and_then(|extensions| extensions.ut_pex) else { return };
        let to = exchange.listens_at.unwrap_or(SocketAddr::new(address.ip(), 0));
        pex.poll_message(self.now, log, to, id, outbox.tail());
    }
}
