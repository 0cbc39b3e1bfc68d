//! A torrent that is fetched here, in its home shard: what its peers say goes to the download, and what that decides goes
//! out. Which block is asked of whom is for `swarm`; how bytes become pieces is in `leech/blocks.rs`, what becomes of
//! pieces in `leech/verdicts.rs`, what peers are told in `leech/tell.rs`, the hashes that find a bad block in
//! `leech/leaves.rs`.

mod blocks;
mod leaves;
mod tell;
mod verdicts;

pub(crate) use blocks::{Flow, IncomingBlock};
pub(crate) use verdicts::Written;

use crate::config::ShardConfig;
use crate::connection::{Connection, Peer, Phase};
use crate::event_loop::Shard;
use crate::limits::{LEECH_SLOT_BYTES_PER_S, LEECH_SLOTS, LEECH_TICK_INTERVAL, PEERS_WANTED};
use crate::peers::Standing;
use crate::receive::reason;
use crate::table::Key;
use crate::torrents::{Slot, TorrentTask};
use blocks::Assembly;
use leaves::FailedLeaves;
use mesh::{DropReason, Fetch, PeerOrigin, TorrentId};
use metainfo::{BLOCK_SIZE, PieceIndex, PieceSet, Torrent};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use storage::{Partial, Seeded};
use swarm::{
    DialFailure, Download, DownloadAction, Keep, LeechChoker, Meeting, PeerIds, PeerList, PeerSource, PeerTraits,
    Reaction, Selection, Slots, Terms,
};
use verdicts::Writing;
use wire::{Handshake, Message, Reserved, UT_PEX_ID};

/// What is known of one torrent that is fetched here.
pub(crate) struct Leech {
    pub(crate) download: Download<Key>,
    pub(crate) choker: LeechChoker<Key>,
    pub(crate) peer_list: PeerList,
    /// Its peers, past their handshakes.
    members: Vec<Key>,
    ids: PeerIds<Key>,
    assembly: Assembly,
    /// Blocks that may be under way or in memory.
    room: usize,
    writing: Writing,
    partial: Arc<Partial>,
    failed_leaves: FailedLeaves,
    /// The operator wants nothing done about it now.
    pub(crate) is_held: bool,
    /// What is verified and written: what the record claims and peers are told.
    pub(crate) verified: PieceSet,
    /// Pieces that were verified since peers were last told.
    news: Vec<PieceIndex>,
    /// What the download decided and nobody was told yet.
    actions: Vec<DownloadAction<Key>>,
}

impl Leech {
    fn new(fetch: &Fetch<Arc<Seeded>, Arc<Terms>, Arc<Partial>>, config: &ShardConfig) -> Leech {
        let torrent = fetch.torrent.torrent();
        let piece_count = torrent.layout().piece_count();
        let wanted = swarm::PieceSet::from_wire(piece_count, &fetch.wanted);
        let have = swarm::PieceSet::from_wire(piece_count, &fetch.have);
        let verified = PieceSet::from_bytes(torrent.layout(), &fetch.have);
        let seed = config.seed ^ u64::from(fetch.id.0);
        let selection = Selection { wanted, sequential: fetch.sequential };
        let mut peer_list = PeerList::new(seed);
        config.listen.iter().for_each(|address| peer_list.add_listen_address(*address));
        Leech {
            download: Download::new(torrent.clone(), have, selection, seed),
            choker: LeechChoker::new(slots_for(config, &fetch.terms), seed),
            peer_list,
            members: Vec::new(),
            ids: PeerIds::new(config.peer_id),
            assembly: Assembly::default(),
            room: 0,
            writing: Writing::default(),
            partial: fetch.partial.clone(),
            failed_leaves: FailedLeaves::default(),
            is_held: false,
            verified: verified.unwrap_or_else(|| PieceSet::empty(torrent.layout())),
            news: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// Whether the piece will never be in memory as a whole, and enough of it is to be worth a write.
    fn must_spill(&self, piece: PieceIndex) -> bool {
        self.assembly.block_count(piece) > self.room && self.assembly.held(piece) >= self.room / 2
    }

    /// Takes in what a peer says of our requests. True if nobody else has to hear of it.
    fn handle_answer(&mut self, now: Duration, torrent: &Torrent, key: Key, message: &Message<'_>) -> bool {
        let (download, layout) = (&mut self.download, torrent.layout());
        match *message {
            Message::Choke => download.handle_choked(now, key),
            Message::Unchoke => download.handle_unchoked(now, key),
            Message::Reject { index, begin, length } => {
                let block = layout.block(index, begin, length);
                return block.is_some_and(|block| download.handle_rejected(now, key, block));
            }
            Message::AllowedFast { index } => {
                if let Some(piece) = layout.piece(index) {
                    download.handle_allowed_fast(key, piece);
                }
            }
            Message::Suggest { index } => {
                if let Some(piece) = layout.piece(index) {
                    download.handle_suggested(key, piece);
                }
            }
            Message::Hashes { request, hashes } => {
                self.failed_leaves.handle_hashes(now, torrent, key, &request, hashes, download);
            }
            Message::HashReject(request) => self.failed_leaves.handle_refused(now, torrent, key, &request, download),
            _ => {}
        }
        false
    }

    /// Whether more peers are wanted.
    pub(crate) fn may_dial(&self) -> bool {
        self.members.len() < PEERS_WANTED && !self.download.is_complete() && !self.is_held
    }

    /// How a peer stands with what is fetched from it.
    pub(crate) fn standing(&self, key: Key) -> Standing {
        Standing { chokes_us: self.download.is_choking(key), is_snubbed: self.download.is_snubbed(key) }
    }

    /// When there will be somebody to dial.
    pub(crate) fn next_dial_at(&self) -> Option<Duration> {
        self.peer_list.next_at().filter(|_| self.may_dial())
    }
}

/// Without a limit of the rate everybody may be served at once. Under one, what is given out must be enough to be worth
/// something to those that are to give something for it.
fn slots_for(config: &ShardConfig, terms: &Terms) -> Slots {
    terms.upload_limits(&config.upload).rate().map_or(Slots::Unlimited, |rate| {
        let count = (rate.get() / LEECH_SLOT_BYTES_PER_S) as usize;
        Slots::Fixed(count.clamp(LEECH_SLOTS.0, LEECH_SLOTS.1))
    })
}

impl Shard {
    /// Fetches a torrent from now on.
    pub(crate) fn fetch(&mut self, fetch: Fetch<Arc<Seeded>, Arc<Terms>, Arc<Partial>>) {
        if self.torrents.find_id(fetch.id).is_some() {
            return;
        }
        let leech = Box::new(Leech::new(&fetch, &self.config));
        let Fetch { id, torrent: seeded, counters, terms, .. } = fetch;
        let slot = self.torrents.add(id, TorrentTask { seeded, counters, terms }, self.config.pex);
        self.counters_of(slot, |counters| counters.left_bytes.add(leech.download.missing_bytes()));
        self.torrents.begin_leech(slot, leech);
        self.share_room();
        self.resume_parked(id);
    }

    /// Peers that may be served at once, of every torrent that is fetched here: what control says, or what the limits as they
    /// are now give.
    pub(crate) fn fit_leech_slots(&mut self) {
        let fetched: Vec<Slot> = self.torrents.leeching().collect();
        for slot in fetched {
            let Some(served) = self.torrents.get_mut(slot) else { continue };
            let slots = self.ordered_slots.unwrap_or_else(|| slots_for(&self.config, &served.task.terms));
            // Control says it every second; a round begins anew only where it is news.
            if let Some(leech) = served.leech.as_mut().filter(|leech| leech.choker.slots() != slots) {
                leech.choker.set_slots(slots);
            }
        }
    }

    /// Divides the room for blocks among the torrents that are fetched here.
    pub(crate) fn share_room(&mut self) {
        let slots: Vec<Slot> = self.torrents.leeching().collect();
        // However many there are, each goes on: where all of them together want too much, they wait for buffers.
        let room = (self.buffers.limit_bytes() / BLOCK_SIZE as usize / slots.len().max(1)).max(1);
        for slot in slots {
            if let Some(leech) = self.torrents.leech_mut(slot) {
                leech.room = room;
                leech.download.set_write_room(room as u32);
            }
        }
    }

    /// These may have a torrent that is fetched here.
    pub(crate) fn note_peers(&mut self, id: TorrentId, origin: PeerOrigin, addresses: &[SocketAddr]) {
        let source = match origin {
            PeerOrigin::Given => PeerSource::Given,
            PeerOrigin::Tracker => PeerSource::Tracker,
            PeerOrigin::Dht => PeerSource::Dht,
            PeerOrigin::Lsd => PeerSource::Lsd,
        };
        let now = self.now;
        let Some(leech) = self.torrents.find_id(id).and_then(|slot| self.torrents.leech_mut(slot)) else { return };
        for address in addresses {
            leech.peer_list.handle_found(*address, source);
        }
        // Whoever is new may be dialled at once.
        self.dial_at = now;
    }

    /// Does what is due for the torrents that are fetched here: once a turn, between what came and what goes.
    pub(crate) fn lead_leeches(&mut self) {
        if !self.torrents.is_leeching() || self.stopping.is_some() {
            return;
        }
        self.tick_leeches();
        self.say_leeching();
        self.work_on_pieces();
        self.dial();
    }

    fn tick_leeches(&mut self) {
        let is_tick = self.now >= self.leech_tick_at;
        if is_tick {
            self.leech_tick_at = self.now + LEECH_TICK_INTERVAL;
        }
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        slots.extend(self.torrents.leeching());
        for slot in &slots {
            self.choke_leeches(*slot);
            let now = self.now;
            let Some(leech) = self.torrents.leech_mut(*slot).filter(|_| is_tick) else { continue };
            leech.download.handle_tick(now);
            let known = leech.peer_list.len() as u64;
            self.counters_of(*slot, |counters| counters.known_peers.set(known));
        }
        self.slots = slots;
        if is_tick {
            self.fit_leech_slots();
            self.buffers.shrink();
        }
    }

    /// Tells the peers of a torrent that is fetched here what its choker decided.
    fn choke_leeches(&mut self, slot: Slot) {
        let now = self.now;
        let mut changes = std::mem::take(&mut self.choke_changes);
        if let Some(leech) = self.torrents.leech_mut(slot)
            && leech.choker.next_wakeup().is_some_and(|due| due <= now)
        {
            let download = &leech.download;
            leech.choker.poll_changes(now, |peer| download.giving(now, peer), &mut changes);
        }
        self.apply_chokes(&mut changes);
        self.choke_changes = changes;
    }

    /// Until when nothing is due for the torrents that are fetched here.
    pub(crate) fn next_leech_work(&self) -> Option<Duration> {
        let is_due = self.torrents.is_leeching() && self.stopping.is_none();
        let due = self.leech_tick_at.min(self.dial_at);
        is_due.then(|| self.piece_work_at.map_or(due, |at| due.min(at)))
    }

    /// A torrent that was fetched here is whole and safe: its peers are served from now on as a seed serves them.
    pub(crate) fn complete(&mut self, slot: Slot, task: TorrentTask) {
        let now = self.now;
        let Some(mut leech) = self.torrents.complete(slot, task) else { return };
        self.counters_of(slot, |counters| counters.known_peers.set(0));
        self.abandon_all(&mut leech);
        let is_limited = self.choker.slots() != Slots::Unlimited;
        for key in &leech.members {
            let Some(connection) = self.table.get_mut(*key) else { continue };
            let Connection { phase: Phase::Peer(peer), outbox, .. } = connection else { continue };
            peer.session.handle_fetched();
            if is_limited && peer.session.choke(outbox.tail()) {
                // The seed's choker gives the slots anew.
                self.link.counters.unchoked.subtract(1);
            }
            if peer.session.is_interested() {
                self.choker.handle_interested(*key, now);
            }
            self.enqueue(*key);
        }
        self.share_room();
    }

    /// A torrent that may be fetched here is no longer.
    pub(crate) fn forget_leech(&mut self, slot: Slot) {
        if let Some(mut leech) = self.torrents.end_leech(slot) {
            self.counters_of(slot, |counters| {
                counters.left_bytes.subtract(leech.download.missing_bytes());
                counters.known_peers.set(0);
            });
            self.abandon_all(&mut leech);
            self.share_room();
        }
    }

    fn abandon_all(&mut self, leech: &mut Leech) {
        leech.assembly.clear().for_each(|buffer| self.buffers.give_back(buffer));
    }

    /// The shard stops: what was verified is recorded for the next start.
    pub(crate) fn end_leeching(&mut self) {
        let slots: Vec<Slot> = self.torrents.leeching().collect();
        slots.into_iter().for_each(|slot| self.end_writing(slot));
    }

    /// A peer's handshake has come, for a torrent that is fetched here.
    pub(crate) fn join_leech(
        &mut self,
        key: Key,
        connection: &mut Connection,
        slot: Slot,
        handshake: &Handshake,
    ) -> Result<(), DropReason> {
        let now = self.now;
        let Some(served) = self.torrents.get_mut(slot) else { return Err(DropReason::UnknownTorrent) };
        let has_v2 = served.task.seeded.torrent().info_hash_v2().is_some();
        let Some(leech) = &mut served.leech else { return Ok(()) };
        if leech.peer_list.is_banned(connection.address.ip()) {
            return Err(DropReason::Banned);
        }
        match leech.ids.handle_joined(key, handshake.peer_id, connection.dialled().is_some()) {
            Meeting::First => {}
            Meeting::Ourselves => return Err(DropReason::SelfConnection),
            Meeting::Again { keep: Keep::Existing, .. } => return Err(DropReason::Duplicate),
            Meeting::Again { keep: Keep::New, existing } => self.farewells.push((existing, DropReason::Duplicate)),
        }
        let traits = PeerTraits {
            address: connection.address,
            peer_id: handshake.peer_id,
            fast: handshake.reserved.has(Reserved::FAST),
            v2: has_v2 && handshake.reserved.has(Reserved::V2),
            is_web_seed: connection.dialled().is_some_and(|dialled| dialled.is_web_seed),
        };
        leech.download.handle_joined(now, key, &traits);
        leech.members.push(key);
        connection.fetching.get_or_insert_default().peer_id = Some(handshake.peer_id);
        Ok(())
    }

    /// A peer has left a torrent that is fetched here.
    pub(crate) fn forget_member(&mut self, key: Key, connection: &Connection, peer: &Peer, reason: DropReason) {
        let now = self.now;
        let Some(leech) = self.torrents.leech_mut(peer.torrent) else { return };
        leech.members.retain(|member| *member != key);
        if let Some(id) = connection.fetching.as_ref().and_then(|fetching| fetching.peer_id) {
            leech.ids.handle_gone(key, id);
        }
        let was_useful = leech.download.last_block(key).is_some();
        leech.download.handle_gone(now, key);
        leech.choker.handle_gone(key);
        if let Some(address) = connection.listens_at() {
            match reason {
                // It is connected under another address; this one is not worth a dial for a while.
                DropReason::Duplicate => leech.peer_list.handle_failed(now, address, DialFailure::Duplicate),
                _ => leech.peer_list.handle_closed(now, address, was_useful),
            }
            self.dial_at = now;
        }
    }

    /// Takes in a message of a peer of a torrent that is fetched here.
    pub(crate) fn handle_leech_message(
        &mut self,
        key: Key,
        connection: &mut Connection,
        slot: Slot,
        message: Message<'_>,
    ) -> Result<(), DropReason> {
        if let Message::Request { index, begin, length } = message
            && !self.torrents.has_piece(slot, index)
        {
            let Phase::Peer(peer) = &mut connection.phase else { return Ok(()) };
            let refused = peer.session.refuse_request(self.now, (index, begin, length), connection.outbox.tail());
            self.react(key, connection, slot, refused.map_err(|fault| reason(&fault))?);
            return Ok(());
        }
        let now = self.now;
        let Some(served) = self.torrents.get_mut(slot) else { return Err(DropReason::TorrentGone) };
        if let Message::Extended { id: UT_PEX_ID, payload } = message {
            let heard = served.handle_pex(now, connection, payload);
            self.dial_at = now;
            return heard.map_err(|fault| reason(&fault));
        }
        let (Some(leech), Phase::Peer(peer)) = (&mut served.leech, &mut connection.phase) else { return Ok(()) };
        let (torrent, outbox) = (served.task.seeded.torrent(), connection.outbox.tail());
        if leech.handle_answer(now, torrent, key, &message) {
            // It answers what we asked, and a choke brings as many of them as there were requests: no noise.
            peer.session.handle_payload(now);
            return Ok(());
        }
        // HAVE NONE tells nothing new.
        let lists = matches!(message, Message::Bitfield(_) | Message::HaveAll);
        let reaction = peer.session.handle_message(now, message, torrent, outbox);
        match reaction {
            Ok(_) if lists => leech.download.handle_listed(key, peer.session.availability()),
            Ok(Reaction::HasPiece(piece)) => leech.download.handle_have(key, piece),
            Ok(_) if matches!(message, Message::Extended { id: 0, .. }) => {
                served.note_extensions(key, connection, &mut self.gossip);
            }
            _ => {}
        }
        self.react(key, connection, slot, reaction.map_err(|fault| reason(&fault))?);
        Ok(())
    }

    /// Asks the peer for as much as its pipeline takes.
    pub(crate) fn ask(&mut self, key: Key, connection: &mut Connection, slot: Slot) {
        let now = self.now;
        let mut wanted = std::mem::take(&mut self.wanted);
        if let Some(leech) = self.torrents.leech_mut(slot) {
            leech.download.poll_requests(now, key, &mut wanted);
        }
        let out = connection.outbox.tail();
        for block in wanted.drain(..) {
            Message::Request { index: block.piece().get(), begin: block.begin(), length: block.size() }.encode(out);
        }
        self.wanted = wanted;
    }
}
