//! How connections and torrents come and go: accepting, time limits, commands from control, results from the disk,
//! the end.

use crate::connection::{Connection, Phase};
use crate::disk::{Done, Way};
use crate::event_loop::{Shard, Stopping};
use crate::limits::{ACCEPT_PAUSE, ACCEPTS_PER_TURN, DISK_STOP_SLACK, HANDSHAKE_LIMIT, SHORTAGE_PAUSE, STALL_LIMIT};
use crate::parked::check_waiting;
use crate::receive::{reason, say_hashes};
use crate::send_buffers::UnsentShare;
use crate::table::Key;
use crate::torrents::{Slot, TorrentTask};
use mesh::{Command, DropReason, Event, record_time};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{SocketFlags, sockopt};
use std::net::SocketAddr;
use std::time::Duration;
use storage::StorageError;
use swarm::Slots;

impl Shard {
    /// Takes up what waits at the listeners.
    pub(crate) fn accept(&mut self) {
        if !self.accept_ready || self.now < self.accept_after || self.stopping.is_some() {
            return;
        }
        // Listeners are edge-triggered: as long as one of them was not emptied, there is more to do.
        self.accept_ready = false;
        for n in 0..self.listeners.len() {
            for accepted in 0.. {
                if accepted == ACCEPTS_PER_TURN {
                    self.accept_ready = true;
                    break;
                }
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                match rustix::net::acceptfrom_with(&self.listeners[n], flags) {
                    Ok((socket, address)) => {
                        if let Some(address) = address.and_then(|address| SocketAddr::try_from(address).ok()) {
                            self.take_up(socket, address);
                        }
                    }
                    Err(Errno::AGAIN) => break,
                    // The peer gave up before we came; the next one may be alive.
                    Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => {}
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept connections for a moment");
                        self.accept_ready = true;
                        self.accept_after = self.now + ACCEPT_PAUSE;
                        return;
                    }
                }
            }
        }
    }

    fn take_up(&mut self, socket: OwnedFd, address: SocketAddr) {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        // An address is in the books while it has connections, so that a storm of refused ones leaves nothing in them.
        let from_address = self.by_address.get(&address.ip()).copied().unwrap_or(0);
        if self.table.len() >= self.config.connection_limit || from_address >= self.config.connections_per_address {
            self.link.counters.count_drop(DropReason::TooManyConnections);
            return;
        }
        // Every write is a gathered one already: there is nothing to wait for (Nagle).
        let _ = sockopt::set_tcp_nodelay(&socket, true);
        let Some(key) = self.watch(&socket) else { return };
        self.link.counters.accepted.add(1);
        let connection = Box::new(Connection::new(
            socket,
            address,
            UnsentShare::among(self.config.unsent_budget_bytes, self.table.len()),
            self.now,
        ));
        self.remember_connection(&connection);
        self.table.put(key, connection);
        self.enqueue(key);
    }

    /// Puts a socket into the set, under the key of the connection that is to come.
    pub(crate) fn watch(&mut self, socket: &OwnedFd) -> Option<Key> {
        let key = self.table.reserve();
        if let Err(error) = self.poller.add_socket(socket, key.token()) {
            tracing::warn!(%error, "cannot watch a connection");
            self.table.free(key);
            self.link.counters.count_drop(DropReason::Network);
            return None;
        }
        Some(key)
    }

    /// Enters a connection into the shard's books.
    pub(crate) fn remember_connection(&mut self, connection: &Connection) {
        *self.by_address.entry(connection.address.ip()).or_default() += 1;
        self.link.counters.connections.add(1);
    }

    /// Takes a connection out of the shard's books.
    pub(crate) fn forget_connection(&mut self, key: Key, connection: &Connection) {
        if let Some(count) = self.by_address.get_mut(&connection.address.ip()) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&connection.address.ip());
            }
        }
        self.link.counters.connections.subtract(1);
        self.table.free(key);
    }

    /// Ends a connection that has used up its time, says keep-alives, and gives the connection its share of the kernel's
    /// memory as it is now.
    pub(crate) fn check_time(&mut self, connection: &mut Connection) -> Result<(), DropReason> {
        let unsent = UnsentShare::among(self.config.unsent_budget_bytes, self.table.len());
        if std::mem::replace(&mut connection.unsent, unsent) != unsent {
            unsent.set(&connection.socket);
        }
        if !connection.has_output() {
            connection.progress_at = self.now;
        } else if self.now.saturating_sub(connection.progress_at) >= STALL_LIMIT && connection.cold_since.is_none() {
            return Err(DropReason::Stalled);
        }
        let incoming = connection.fetching.as_ref().and_then(|fetching| fetching.incoming.as_ref());
        if !self.starved.is_empty() && incoming.is_some_and(|incoming| incoming.is_late(self.now)) {
            // Others wait for the buffer that its block sits in.
            return Err(DropReason::Stalled);
        }
        connection.tick_traffic();
        self.exchange_peers(connection);
        let busy = connection.has_output();
        match &mut connection.phase {
            Phase::Greeting => check_waiting(connection, self.now, HANDSHAKE_LIMIT),
            Phase::Draining => Ok(()),
            Phase::Peer(peer) => {
                let out = connection.outbox.tail();
                peer.session.handle_tick(self.now, busy, out).map_err(|fault| reason(&fault))
            }
        }
    }

    /// Does what control says.
    pub(crate) fn handle_commands(&mut self) {
        while let Some(command) = self.link.commands.take() {
            match command {
                Command::Serve { id, torrent, terms, counters } => {
                    self.serve(id, TorrentTask { seeded: torrent, counters, terms });
                }
                Command::Withdraw { id } => self.withdraw(id),
                Command::Rest { id, ticket } => self.rest_torrent(id, ticket),
                Command::Refuse { id } => self.refuse_parked(id, DropReason::NotLoaded),
                Command::SetSlots { slots } => {
                    self.ordered_slots = slots.map(|slots| Slots::Fixed(slots as usize));
                    self.choker.set_slots(self.ordered_slots.unwrap_or(Slots::Unlimited));
                    self.fit_leech_slots();
                }
                Command::Measure { ticket } => {
                    self.report(Event::Measured { ticket, histograms: self.histograms.clone() });
                }
                Command::SetTerms { id, terms } => self.set_terms(id, terms),
                Command::Hold { id, held } => self.hold(id, held),
                Command::SetConnections { limit } => self.config.connection_limit = limit,
                Command::ListPeers { ticket, id } => self.list_peers(ticket, id),
                Command::Shed { to, count } => self.shed(to, count as usize),
                Command::Fetch(fetch) => self.fetch(*fetch),
                Command::Forward { id, info_hashes, home } => {
                    self.torrents.forward(id, &info_hashes, home);
                    self.resume_parked(id);
                }
                Command::Peers { id, origin, addresses } => self.note_peers(id, origin, &addresses),
                Command::Attach { id, socket, address } => self.attach(id, socket, address),
                Command::Stop { grace } => self.begin_stop(grace),
            }
        }
    }

    fn serve(&mut self, id: mesh::TorrentId, task: TorrentTask) {
        self.torrents.keep(id);
        match self.torrents.find_id(id) {
            None => _ = self.torrents.add(id, task, self.config.pex),
            Some(slot) if self.torrents.leech_mut(slot).is_some() => self.complete(slot, task),
            Some(_) => {}
        }
        self.resume_parked(id);
    }

    fn withdraw(&mut self, id: mesh::TorrentId) {
        self.torrents.keep(id);
        self.refuse_parked(id, DropReason::TorrentGone);
        let Some(slot) = self.torrents.find_id(id) else { return };
        self.close_all(slot);
        self.forget_leech(slot);
        self.drop_torrent(slot);
    }

    /// Ends all connections that a torrent has.
    pub(crate) fn close_all(&mut self, slot: Slot) {
        let mut keys = Vec::new();
        self.table.keys(&mut keys);
        for key in keys {
            let Some(connection) = self.table.take(key) else { continue };
            match &connection.phase {
                Phase::Peer(peer) if peer.torrent == slot => self.close(key, *connection, DropReason::TorrentGone),
                Phase::Greeting if connection.dialled().is_some_and(|dialled| dialled.torrent == slot) => {
                    self.close(key, *connection, DropReason::TorrentGone);
                }
                _ => self.table.put(key, connection),
            }
        }
    }

    /// Forgets a torrent that no connection is here for any more.
    pub(crate) fn drop_torrent(&mut self, slot: Slot) {
        self.torrents.remove(slot);
        self.super_seeding.drop_torrent(slot);
        self.disk.windows.drop_torrent(slot);
    }

    /// Takes what the disk brought and wakes who waited for it.
    pub(crate) fn handle_disk(&mut self) {
        let mut woken = Vec::new();
        for done in self.disk.take_finished(self.now, &mut woken) {
            match done {
                Done::Opened { slot, id, file, result } => {
                    let known = self.torrents.get(slot).is_some_and(|served| served.id == id);
                    match result {
                        Ok(open) if known => self.torrents.keep_file(slot, file, open, self.config.open_file_limit),
                        Err(error) if known => self.handle_disk_error(slot, error),
                        Ok(_) | Err(_) => {}
                    }
                }
                Done::Read { key, result } => {
                    let known = self.torrents.get(key.slot).is_some_and(|served| served.id == key.id);
                    match result {
                        Ok((bytes, way)) => {
                            self.link.counters.disk_read_bytes.add(bytes.len() as u64);
                            match known {
                                true => self.disk.windows.keep(key, bytes, way == Way::Cached, self.now),
                                false => self.disk.windows.give_back(bytes),
                            }
                        }
                        Err(error) => {
                            self.disk.windows.forget_buffer();
                            if known {
                                self.handle_disk_error(key.slot, error);
                            }
                        }
                    }
                }
                Done::Leaves { peer, id, request, result } => self.answer_leaves(peer, id, &request, result),
                Done::Written { slot, id, written } => self.handle_written(slot, id, written),
            }
        }
        for key in woken {
            if let Some(connection) = self.table.get_mut(key) {
                if let Some(since) = connection.cold_since.take() {
                    record_time(&mut self.histograms.cold_wait_us, self.now.saturating_sub(since), 1);
                }
                connection.progress_at = self.now;
                self.enqueue(key);
            }
        }
    }

    fn answer_leaves(
        &mut self,
        key: Key,
        id: mesh::TorrentId,
        request: &wire::HashRequest,
        result: Result<Vec<hash::Sha256Digest>, StorageError>,
    ) {
        let Some(mut connection) = self.table.take(key) else { return };
        if !matches!(connection.phase, Phase::Peer(_)) {
            // It was shut meanwhile, and what it is told now would only reset it.
            return self.table.put(key, connection);
        }
        let slot = connection.peer_mut().map(|peer| peer.torrent);
        let served = slot.and_then(|slot| self.torrents.get_mut(slot)).filter(|served| served.id == id);
        let (hashes, error) = match (served, result) {
            (Some(served), Ok(leaves)) => (served.answer_hashes(request, &leaves), None),
            (Some(_), Err(error)) => (None, Some(error)),
            (None, _) => (None, None),
        };
        match hashes {
            Some(hashes) => say_hashes(request, &hashes, connection.outbox.tail()),
            None => wire::Message::HashReject(*request).encode(connection.outbox.tail()),
        }
        if let (Some(slot), Some(error)) = (slot, error) {
            self.handle_disk_error(slot, error);
        }
        self.table.put(key, connection);
        self.enqueue(key);
    }

    /// An error of the content ends its torrent; after a shortage of ours the disk rests for a moment.
    fn handle_disk_error(&mut self, slot: Slot, error: StorageError) {
        // That the torrent is gone is for its connections to find out, each in its turn.
        if self.handle_storage_error(slot, error).is_ok() {
            self.disk.rest_until(self.now + SHORTAGE_PAUSE);
        }
    }

    /// Enters a peer that is past its handshake into the books of its torrent and the choker.
    pub(crate) fn remember_peer(&mut self, key: Key, connection: &mut Connection) {
        let Connection { phase: Phase::Peer(peer), exchange, .. } = connection else { return };
        self.link.counters.peers.add(1);
        self.link.counters.unchoked.add(u64::from(!peer.session.is_choked()));
        if let Some(served) = self.torrents.get_mut(peer.torrent) {
            served.task.counters.shard(self.config.shard).peers.add(1);
            served.join_exchange(exchange, &mut self.gossip);
        }
        if peer.session.is_interested() {
            self.link.counters.interested.add(1);
            self.choker.handle_interested(key, self.now);
        }
    }

    /// Takes a peer out of the books of its torrent and the choker.
    pub(crate) fn forget_peer(&mut self, key: Key, connection: &Connection, reason: DropReason) {
        let Phase::Peer(peer) = &connection.phase else { return };
        self.forget_member(key, connection, peer, reason);
        self.choker.handle_gone(key);
        self.link.counters.peers.subtract(1);
        self.link.counters.interested.subtract(u64::from(peer.session.is_interested()));
        self.link.counters.unchoked.subtract(u64::from(!peer.session.is_choked()));
        if let Some(served) = self.torrents.get_mut(peer.torrent) {
            served.task.counters.shard(self.config.shard).peers.subtract(1);
            served.leave_exchange(connection.listens_at(), &mut self.gossip);
        }
        self.forget_swarm_peer(key, peer);
    }

    /// Accepts nothing more and lets what is queued go out.
    fn begin_stop(&mut self, grace: Duration) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(Stopping { deadline: self.now.saturating_add(grace) });
        self.end_leeching();
        self.accept_ready = false;
        // Those that still wait there are reset, as by any server that goes away.
        self.listeners.clear();
        let mut keys = Vec::new();
        self.table.keys(&mut keys);
        for key in keys {
            let Some(connection) = self.table.get_mut(key) else { continue };
            let Phase::Peer(peer) = &mut connection.phase else { continue };
            if peer.session.refuse_more(connection.outbox.tail()) {
                self.link.counters.unchoked.subtract(1);
            }
            self.enqueue(key);
        }
    }

    /// Whether a stopping shard has nothing left to do. Connections with nothing left to send are shut; the peer's
    /// own close then ends them, so that no reset overtakes what is under way.
    pub(crate) fn is_stopped(&mut self) -> bool {
        let Some(Stopping { deadline }) = self.stopping else { return false };
        let mut keys = Vec::new();
        self.table.keys(&mut keys);
        for key in keys {
            let Some(mut connection) = self.table.take(key) else { continue };
            if self.now >= deadline || matches!(connection.phase, Phase::Greeting) {
                self.close(key, *connection, DropReason::Stopping);
                continue;
            }
            if !connection.has_output() && !matches!(connection.phase, Phase::Draining) {
                let _ = rustix::net::shutdown(&connection.socket, rustix::net::Shutdown::Write);
                self.forget_peer(key, &connection, DropReason::Stopping);
                connection.phase = Phase::Draining;
            }
            self.table.put(key, connection);
        }
        // glommio's pool thread must find its executor alive when a job ends.
        let may_leave = !self.disk.is_busy() || self.now >= deadline.saturating_add(DISK_STOP_SLACK);
        self.table.len() == 0 && may_leave
    }
}

#[cfg(test)]
pub(crate) mod tests;
