//! What peers of a torrent that is fetched here say of themselves and of each other: extension handshakes (BEP 10) and peer
//! exchange (BEP 11). Whom to tell of whom is for `swarm::PexLog`.

use super::Leech;
use crate::connection::{Connection, Fetching, Phase};
use crate::event_loop::Shard;
use crate::table::Key;
use crate::torrents::Slot;
use std::net::SocketAddr;
use std::time::Duration;
use swarm::{Fault, PeerSource, PexPeer};
use wire::PexFlags;

impl Leech {
    /// A peer takes connections there.
    pub(super) fn note_listening(&mut self, address: SocketAddr, fetching: &mut Fetching) {
        if fetching.listens_at.is_some() {
            return;
        }
        fetching.listens_at = Some(address);
        self.peer_list.handle_connected(address);
        if let Some(log) = &mut self.pex {
            let flags = if fetching.dialled.is_some() { PexFlags::REACHABLE } else { PexFlags::NONE };
            log.handle_joined(address, flags);
        }
    }

    /// A peer tells of others.
    pub(super) fn handle_pex(
        &mut self,
        now: Duration,
        connection: &mut Connection,
        payload: &[u8],
    ) -> Result<(), Fault> {
        let Phase::Peer(peer) = &mut connection.phase else { return Ok(()) };
        peer.session.handle_payload(now);
        let Some(log) = &self.pex else { return Ok(()) };
        let from = connection.address.ip();
        let pex = connection.fetching.get_or_insert_default().pex.get_or_insert_with(|| PexPeer::new(log));
        pex.handle_message(now, from, payload, |address, flags| {
            self.peer_list.handle_found(address, PeerSource::Pex);
            if flags.has(PexFlags::SEED) {
                self.peer_list.handle_seed(address);
            }
        })?;
        Ok(())
    }
}

impl Shard {
    /// A peer has told what it can.
    pub(super) fn note_extensions(&mut self, key: Key, connection: &mut Connection, slot: Slot) {
        let Some(leech) = self.torrents.leech_mut(slot) else { return };
        let Phase::Peer(peer) = &connection.phase else { return };
        let Some(extensions) = peer.session.extensions() else { return };
        if let Some(limit) = extensions.request_queue_limit {
            leech.download.handle_reqq(key, limit);
        }
        if let Some(seen) = extensions.your_ip {
            leech.peer_list.handle_seen_as(connection.address.ip(), seen);
        }
        let fetching = connection.fetching.get_or_insert_default();
        if let Some(port) = extensions.listen_port.filter(|_| fetching.dialled.is_none()) {
            leech.note_listening(SocketAddr::new(connection.address.ip(), port), fetching);
        }
        if let (Some(log), None, Some(_)) = (&leech.pex, &fetching.pex, extensions.ut_pex) {
            fetching.pex = Some(PexPeer::new(log));
        }
    }

    /// Tells a peer of others, if that is due.
    pub(crate) fn exchange_peers(&mut self, connection: &mut Connection) {
        let Connection { phase: Phase::Peer(peer), fetching: Some(fetching), outbox, address, .. } = connection else {
            return;
        };
        if self.torrents.get(peer.torrent).is_some_and(|served| served.task.terms.shut_gate().is_some()) {
            // Nobody hears of anybody before the time.
            return;
        }
        let Some(log) = self.torrents.leech_mut(peer.torrent).and_then(|leech| leech.pex.as_ref()) else { return };
        let Some(id) = peer.session.extensions().and_then(|extensions| extensions.ut_pex) else { return };
        let to = fetching.listens_at.unwrap_or(SocketAddr::new(address.ip(), 0));
        if let Some(pex) = &mut fetching.pex {
            pex.poll_message(self.now, log, to, id, outbox.tail());
        }
    }
}
