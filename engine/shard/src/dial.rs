//! Connections that we make: to peers that may have a torrent which is fetched here, and to the near ends of web seeds. Whom
//! to dial, and when, is for `swarm::PeerList`; here it is done without waiting.

use crate::connection::{Connection, Dialled, Fetching, Phase};
use crate::event_loop::Shard;
use crate::limits::DIAL_LEAST_WAIT;
use crate::receive::handshake_for;
use crate::send_buffers::UnsentShare;
use crate::table::Key;
use crate::torrents::Slot;
use mesh::{DropReason, TorrentId};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use swarm::DialFailure;

impl Shard {
    /// Dials those whose turn it is.
    pub(crate) fn dial(&mut self) {
        if self.now < self.dial_at || self.stopping.is_some() {
            return;
        }
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        slots.extend(self.torrents.leeching());
        // One of each torrent, then the next of each: a swarm of thousands does not keep a small one waiting.
        while slots.iter().map(|slot| self.dial_one(*slot)).filter(|dialled| *dialled).count() > 0 {}
        let due = slots.iter().filter_map(|slot| self.torrents.leech_mut(*slot)?.next_dial_at()).min();
        let pace = self.dial_pace.next_at();
        // Whatever changes either sets this anew.
        self.dial_at = due.zip(pace).map_or(Duration::MAX, |(due, pace)| due.max(pace).max(self.now + DIAL_LEAST_WAIT));
        self.slots = slots;
    }

    fn dial_one(&mut self, slot: Slot) -> bool {
        let now = self.now;
        if self.table.len() >= self.config.connection_limit {
            return false;
        }
        let Some(served) = self.torrents.get_mut(slot) else { return false };
        let Some(leech) = served.leech.as_deref_mut().filter(|leech| leech.may_dial()) else { return false };
        let Some(address) = leech.peer_list.next(now, &mut self.dial_pace) else { return false };
        let admitted = served.task.terms.shut_gate().map_or(Some(true), |gate| gate.try_admits(address.ip(), now));
        if admitted != Some(true) {
            // It is tried again like one that cannot be reached: the gate may be open by then.
            let why = if admitted.is_none() { DialFailure::NoRoom } else { DialFailure::Unreachable };
            self.handle_not_dialled(slot, address, why);
            return true;
        }
        match start_connect(address, &self.config.dial_from) {
            Ok(socket) => {
                tracing::debug!(%address, "dialling");
                let dialled = Dialled { torrent: slot, is_web_seed: false };
                if self.begin(socket, address, dialled, false).is_none() {
                    self.handle_not_dialled(slot, address, DialFailure::NoRoom);
                }
            }
            Err(error) => {
                tracing::debug!(%address, %error, "cannot dial");
                let is_ours = matches!(error, Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL | Errno::NOBUFS);
                let why = if is_ours { DialFailure::NoRoom } else { DialFailure::Unreachable };
                self.handle_not_dialled(slot, address, why);
            }
        }
        true
    }

    fn handle_not_dialled(&mut self, slot: Slot, address: SocketAddr, why: DialFailure) {
        let now = self.now;
        self.dial_pace.handle_ended();
        self.dial_at = now;
        if let Some(leech) = self.torrents.leech_mut(slot) {
            leech.peer_list.handle_failed(now, address, why);
        }
    }

    /// Takes up a connection that control has made for a torrent that is fetched here.
    pub(crate) fn attach(&mut self, id: TorrentId, socket: OwnedFd, address: SocketAddr) {
        let Some(slot) = self.torrents.find_id(id).filter(|slot| self.torrents.leech_mut(*slot).is_some()) else {
            return;
        };
        self.begin(socket, address, Dialled { torrent: slot, is_web_seed: true }, true);
    }

    /// Enters a connection of ours; it says its handshake as soon as there is somebody to hear it.
    fn begin(&mut self, socket: OwnedFd, address: SocketAddr, dialled: Dialled, is_connected: bool) -> Option<Key> {
        let _ = sockopt::set_tcp_nodelay(&socket, true);
        let key = self.watch(&socket)?;
        let unsent = UnsentShare::among(self.config.unsent_budget_bytes, self.table.len());
        let mut connection = Box::new(Connection::new(socket, address, unsent, self.now));
        connection.fetching = Some(Box::new(Fetching { dialled: Some(dialled), ..Fetching::default() }));
        connection.readable = is_connected;
        connection.writable = is_connected;
        if let Some(served) = self.torrents.get(dialled.torrent) {
            let handshake = handshake_for(served.torrent(), None, &self.config);
            connection.outbox.tail().extend_from_slice(&handshake.encode());
        }
        self.remember_connection(&connection);
        self.table.put(key, connection);
        self.enqueue(key);
        Some(key)
    }

    /// A handshake has come where we dialled.
    pub(crate) fn handle_reached(&mut self) {
        self.dial_pace.handle_ended();
        self.dial_at = self.now;
    }

    /// Books the end of a connection that we made.
    pub(crate) fn forget_dialled(&mut self, connection: &Connection, reason: DropReason) {
        let Some(dialled) = connection.dialled().filter(|dialled| !dialled.is_web_seed) else { return };
        if !matches!(connection.phase, Phase::Greeting) {
            return;
        }
        let why = match reason {
            DropReason::SelfConnection => DialFailure::Ourselves,
            DropReason::Duplicate => DialFailure::Duplicate,
            DropReason::Network | DropReason::HandshakeTimeout => DialFailure::Unreachable,
            _ => DialFailure::Handshake,
        };
        self.handle_not_dialled(dialled.torrent, connection.address, why);
    }
}

/// Begins to connect, from the address of the same family that we are to be known by, if there is one.
fn start_connect(address: SocketAddr, from: &[IpAddr]) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    if let Some(from) = from.iter().find(|from| from.is_ipv4() == address.is_ipv4()) {
        rustix::net::bind(&socket, &SocketAddr::new(*from, 0))?;
    }
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}
