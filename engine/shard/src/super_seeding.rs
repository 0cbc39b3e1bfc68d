//! Super-seeded torrents: what their peers say goes to the super-seeder, what it decides goes out as HAVE messages. Who is
//! told of what is for `swarm`; here the swarm is gathered in one shard, which sees all of it.

use crate::connection::{Connection, Peer, Phase};
use crate::event_loop::Shard;
use crate::handover::Leave;
use crate::limits::{GATHER_SHARE, REVEAL_BYTES};
use crate::receive::reason;
use crate::table::Key;
use crate::torrents::{Slot, Torrents};
use mesh::DropReason;
use rustix::net::sockopt;
use std::time::Duration;
use swarm::{Reaction, RequestQueue, SuperSeedAction, SuperSeedEnd, SuperSeeder};
use wire::{Message, PIECE_HEADER_SIZE, PeerId};

/// One torrent of this shard whose swarm is watched.
pub(crate) struct SuperSeed {
    seeder: SuperSeeder<Key>,
    /// An upload limit has kept one of its peers waiting since the last tick.
    limited: bool,
}

/// What is to be said to the peers of super-seeded torrents.
#[derive(Default)]
pub(crate) struct SuperSeeding {
    actions: Vec<(Slot, SuperSeedAction<Key>)>,
    /// What one torrent's super-seeder decided just now.
    decided: Vec<SuperSeedAction<Key>>,
    /// Peers that are being told that we have everything, and the first piece that they were not told of yet.
    revealing: Vec<(Key, u32)>,
}

impl SuperSeeding {
    /// Whether the peer is being told that we have everything, and has not heard all of it.
    pub(crate) fn is_revealing(&self, key: Key) -> bool {
        self.revealing.iter().any(|(peer, _)| *peer == key)
    }

    /// What was decided for a torrent that is gone must not be said of the next one in its slot.
    pub(crate) fn drop_torrent(&mut self, slot: Slot) {
        self.actions.retain(|(of, _)| *of != slot);
    }

    /// Lets the torrent's super-seeder take note of something, if it has one.
    pub(crate) fn note<R>(
        &mut self,
        torrents: &mut Torrents,
        slot: Slot,
        what: impl FnOnce(&mut SuperSeeder<Key>, &mut Vec<SuperSeedAction<Key>>) -> R,
    ) -> Option<R> {
        let seed = torrents.get_mut(slot)?.super_seed.as_mut()?;
        let result = what(&mut seed.seeder, &mut self.decided);
        self.actions.extend(self.decided.drain(..).map(|action| (slot, action)));
        Some(result)
    }

    /// The kernel took `sent` bytes for a peer: the rest of a block under way, the outbox, then blocks.
    pub(crate) fn note_sent(
        &mut self,
        torrents: &mut Torrents,
        now: Duration,
        (key, slot): (Key, Slot),
        queue: &RequestQueue,
        sent: usize,
        outbox: usize,
    ) {
        self.note(torrents, slot, |seeder, out| {
            let header_bytes = PIECE_HEADER_SIZE as u32;
            let under_way =
                if queue.front_sent_bytes() > 0 { queue.front_left_bytes(header_bytes) as usize } else { 0 };
            let first = sent.min(under_way);
            let blocks = sent - (sent - first).min(outbox);
            queue.payload_by_piece(header_bytes, blocks as u64, |piece, bytes| {
                seeder.handle_sent(now, key, piece, bytes, out);
            });
        });
    }
}

impl Shard {
    /// A peer's handshake has come: says in which shard it goes on and, if that is this one, whether it is greeted as by
    /// a leech that has nothing.
    pub(crate) fn join_swarm(&mut self, key: Key, slot: Slot, peer_id: &PeerId) -> Result<bool, Leave> {
        let has_room = self.table.len() < self.config.connection_limit / GATHER_SHARE.1 * GATHER_SHARE.0;
        let Some(served) = self.torrents.get_mut(slot) else { return Err(DropReason::UnknownTorrent.into()) };
        let terms = &served.task.terms;
        if !terms.gathers() {
            return Ok(self.note_joined(key, slot, peer_id));
        }
        let home = self.config.neighbours.home_of(served.id);
        if home != self.config.shard {
            return Err(Leave::HandOver { to: home });
        }
        if !has_room {
            // Rather all at once than turned away.
            terms.set_gathers(false);
        } else if served.super_seed.is_none() {
            let seeder = SuperSeeder::new(terms.super_seeding, served.torrent().layout(), self.config.seed);
            match seeder {
                Some(seeder) => served.super_seed = Some(Box::new(SuperSeed { seeder, limited: false })),
                None => served.task.terms.set_gathers(false),
            }
        }
        Ok(self.note_joined(key, slot, peer_id))
    }

    fn note_joined(&mut self, key: Key, slot: Slot, peer_id: &PeerId) -> bool {
        let (now, dozes) = (self.now, swarm::dozes(peer_id));
        let joined = |seeder: &mut SuperSeeder<Key>, out: &mut _| seeder.handle_joined(now, key, dozes, out);
        self.super_seeding.note(&mut self.torrents, slot, joined).unwrap_or(false)
    }

    /// Takes in a message of a peer whose swarm is watched.
    pub(crate) fn handle_swarm_message(
        &mut self,
        key: Key,
        connection: &mut Connection,
        slot: Slot,
        message: Message<'_>,
    ) -> Result<(), DropReason> {
        let Some(served) = self.torrents.get_mut(slot) else { return Err(DropReason::TorrentGone) };
        let (Some(seed), Phase::Peer(peer)) = (&mut served.super_seed, &mut connection.phase) else { return Ok(()) };
        let torrent = served.task.seeded.torrent();
        let (now, layout) = (self.now, torrent.layout());
        let (session, outbox) = (&mut peer.session, connection.outbox.tail());
        let (seeder, out) = (&mut seed.seeder, &mut self.super_seeding.decided);
        if let Message::Request { index, begin, length } = message
            && let Some(piece) = layout.piece(index)
            && !seeder.handle_request(now, key, piece)
        {
            let refused = session.refuse_request(now, (index, begin, length), outbox);
            self.react(key, connection, slot, refused.map_err(|fault| reason(&fault))?);
            return Ok(());
        }
        let lists = matches!(message, Message::Bitfield(_) | Message::HaveAll | Message::HaveNone);
        // What rtorrent says in place of a bitfield: it has nothing (BEP 3 has no bitfield after another message).
        let is_empty = matches!(message, Message::KeepAlive);
        if lists {
            seeder.forget_pieces(key, session.availability().pieces(layout));
        }
        let reaction = session.handle_message(now, message, torrent, outbox);
        match reaction {
            // Also if it was one list too many: what was forgotten is there again.
            _ if lists => seeder.handle_listed(now, key, session.availability().pieces(layout), out),
            Ok(_) if is_empty => seeder.handle_listed(now, key, [], out),
            Ok(Reaction::HasPiece(piece)) => seeder.handle_has(now, key, piece, out),
            Ok(_) if matches!(message, Message::Extended { id: 0, .. }) => {
                served.note_extensions(key, connection, &mut self.gossip);
            }
            Ok(Reaction::BecameInterested | Reaction::LostInterest) => {
                seeder.handle_wishes(now, key, (session.is_interested(), !session.is_choked()), out);
            }
            _ => {}
        }
        if is_empty || matches!(reaction, Ok(Reaction::HasPiece(_))) {
            // What it says next waits in its kernel (RFC 896) until ours acknowledges this. While we have nothing to say to
            // it, ours would put that off for 40 ms.
            let _ = sockopt::set_tcp_quickack(&connection.socket, true);
        }
        let decided = self.super_seeding.decided.drain(..);
        self.super_seeding.actions.extend(decided.map(|action| (slot, action)));
        self.react(key, connection, slot, reaction.map_err(|fault| reason(&fault))?);
        Ok(())
    }

    /// What a peer may ask for has changed.
    pub(crate) fn note_wishes(&mut self, key: Key) {
        let Some(Phase::Peer(peer)) = self.table.get_mut(key).map(|connection| &connection.phase) else { return };
        let wishes = (peer.session.is_interested(), !peer.session.is_choked());
        let (slot, now) = (peer.torrent, self.now);
        self.super_seeding.note(&mut self.torrents, slot, |seeder, out| seeder.handle_wishes(now, key, wishes, out));
    }

    /// An upload limit keeps a peer of this torrent waiting.
    pub(crate) fn note_limited(&mut self, slot: Slot) {
        if let Some(seed) = self.torrents.get_mut(slot).and_then(|served| served.super_seed.as_mut()) {
            seed.limited = true;
        }
    }

    /// A peer has left.
    pub(crate) fn forget_swarm_peer(&mut self, key: Key, peer: &Peer) {
        let Some(served) = self.torrents.get_mut(peer.torrent) else { return };
        let Some(seed) = &mut served.super_seed else { return };
        let pieces = peer.session.availability().pieces(served.task.seeded.torrent().layout());
        seed.seeder.handle_gone(self.now, key, pieces, &mut self.super_seeding.decided);
        if seed.seeder.peer_count() == 0 {
            served.super_seed = None;
        }
        let decided = self.super_seeding.decided.drain(..);
        self.super_seeding.actions.extend(decided.map(|action| (peer.torrent, action)));
    }

    /// Looks at the clock for every swarm that is watched here, or could be.
    pub(crate) fn tick_super_seeding(&mut self) {
        for slot in self.torrents.slots() {
            let Some(served) = self.torrents.get_mut(slot) else { continue };
            let terms = &served.task.terms;
            if terms.super_seeding == swarm::SuperSeeding::Off {
                continue;
            }
            let peer_count = served.task.counters.peers();
            let Some(seed) = &mut served.super_seed else {
                if peer_count == 0 && !terms.gathers() && self.config.neighbours.home_of(served.id) == self.config.shard
                {
                    // Nobody is left; whoever comes next may be the first of a new swarm.
                    terms.set_gathers(true);
                }
                continue;
            };
            if !seed.seeder.is_active() && peer_count != seed.seeder.peer_count() as u64 {
                // Others are served elsewhere: what is seen here says nothing of the swarm any more.
                served.super_seed = None;
                continue;
            }
            let (now, limited) = (self.now, std::mem::take(&mut seed.limited));
            self.super_seeding.note(&mut self.torrents, slot, |seeder, out| seeder.handle_tick(now, limited, out));
        }
    }

    /// Tells peers what was decided.
    pub(crate) fn say_super_seeding(&mut self) {
        if self.super_seeding.actions.is_empty() && self.super_seeding.revealing.is_empty() {
            return;
        }
        let mut actions = std::mem::take(&mut self.super_seeding.actions);
        for (slot, action) in actions.drain(..) {
            match action {
                SuperSeedAction::Reveal { peer, piece } => {
                    let connection = self.table.get_mut(peer);
                    // One that was shut as we stop must find nothing new to say.
                    let is_peer = |connection: &&mut Connection| matches!(connection.phase, Phase::Peer(_));
                    if let Some(connection) = connection.filter(is_peer) {
                        Message::Have { index: piece }.encode(connection.outbox.tail());
                        self.enqueue(peer);
                    }
                }
                SuperSeedAction::RevealAll { peer } => self.super_seeding.revealing.push((peer, 0)),
                SuperSeedAction::Began => self.note_phase(slot, true, "super-seeding begins"),
                SuperSeedAction::Ended(SuperSeedEnd::WholeCopy) => {
                    self.note_phase(slot, false, "super-seeding ends: the peers have a whole copy");
                }
                SuperSeedAction::Ended(SuperSeedEnd::Hurts) => {
                    self.note_phase(slot, false, "super-seeding ends: the upload was idle");
                }
                SuperSeedAction::Ended(SuperSeedEnd::Ordered) => {
                    self.note_phase(slot, false, "super-seeding ends: it is not wanted any more");
                }
                SuperSeedAction::Ended(SuperSeedEnd::OneLeech) => {
                    self.note_phase(slot, true, "super-seeding pauses: there is one peer");
                }
            }
        }
        self.super_seeding.actions = actions;
        let mut revealing = std::mem::take(&mut self.super_seeding.revealing);
        revealing.retain_mut(|(key, next)| self.reveal_more(*key, next));
        self.super_seeding.revealing = revealing;
    }

    /// Whether the peer is told of our pieces one by one.
    pub(crate) fn super_seeding_hides(&self, slot: Slot, key: Key) -> bool {
        let seed = self.torrents.get(slot).and_then(|served| served.super_seed.as_ref());
        seed.is_some_and(|seed| seed.seeder.hides_from(key))
    }

    /// Newcomers go to this shard as long as it has to see all of them.
    fn note_phase(&self, slot: Slot, gathers: bool, what: &str) {
        if let Some(served) = self.torrents.get(slot) {
            served.task.terms.set_gathers(gathers);
            tracing::debug!(torrent = served.torrent().layout().name(), "{what}");
        }
    }

    /// Tells a peer of more pieces, from `next` on, as far as its outbox has room. False if nothing is left to tell.
    fn reveal_more(&mut self, key: Key, next: &mut u32) -> bool {
        let Some(connection) = self.table.get_mut(key) else { return false };
        let Phase::Peer(peer) = &connection.phase else { return false };
        let Some(served) = self.torrents.get(peer.torrent) else { return false };
        let layout = served.torrent().layout();
        let before = *next;
        while let Some(piece) = layout.piece(*next) {
            if connection.outbox.len() >= REVEAL_BYTES {
                break;
            }
            if !peer.session.availability().has(piece) {
                Message::Have { index: *next }.encode(connection.outbox.tail());
            }
            *next += 1;
        }
        let left = *next < layout.piece_count();
        if *next > before {
            self.enqueue(key);
        }
        left
    }
}
