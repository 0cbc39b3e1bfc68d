//! What a download has decided, said to its peers: interest, requests, cancels, new pieces, farewells.

use crate::connection::{Connection, Phase};
use crate::event_loop::Shard;
use crate::table::Key;
use crate::torrents::Slot;
use mesh::DropReason;
use swarm::{DownloadAction, DropCause};
use wire::Message;

impl Shard {
    /// Says what is to be said for the torrents that are fetched here, once a turn.
    pub(crate) fn say_leeching(&mut self) {
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        slots.extend(self.torrents.leeching());
        for slot in &slots {
            self.tell_news(*slot);
            self.act(*slot);
        }
        self.slots = slots;
        for (key, reason) in std::mem::take(&mut self.farewells) {
            if let Some(connection) = self.table.take(key) {
                self.close(key, *connection, reason);
            }
        }
    }

    /// Tells peers of the pieces that are new here.
    fn tell_news(&mut self, slot: Slot) {
        let Some(leech) = self.torrents.leech_mut(slot).filter(|leech| !leech.news.is_empty()) else { return };
        let news = std::mem::take(&mut leech.news);
        let members = std::mem::take(&mut leech.members);
        for key in &members {
            let Some(connection) = self.table.get_mut(*key) else { continue };
            let Connection { phase: Phase::Peer(peer), outbox, .. } = connection else { continue };
            let session = &peer.session;
            let has = session.availability();
            // Whoever has a piece does not need to know, unless it super-seeds: it has told us of some pieces, wants none, and
            // tells us of the next when it hears that one has come.
            let waits = !has.is_complete() && !session.is_interested();
            let said = news.iter().filter(|piece| waits || !has.has(**piece));
            said.for_each(|piece| Message::Have { index: piece.get() }.encode(outbox.tail()));
            self.enqueue(*key);
        }
        if let Some(leech) = self.torrents.leech_mut(slot) {
            leech.members = members;
        }
    }

    fn act(&mut self, slot: Slot) {
        let mut actions = match self.torrents.leech_mut(slot) {
            Some(leech) => std::mem::take(&mut leech.actions),
            None => return,
        };
        if let Some(leech) = self.torrents.leech_mut(slot) {
            leech.download.poll_actions(&mut actions);
        }
        for action in actions.drain(..) {
            match action {
                DownloadAction::Interested { peer } => self.say(peer, Message::Interested),
                DownloadAction::NotInterested { peer } => self.say(peer, Message::NotInterested),
                DownloadAction::Cancel { peer, block } => {
                    let (index, begin, length) = (block.piece().get(), block.begin(), block.size());
                    self.say(peer, Message::Cancel { index, begin, length });
                }
                DownloadAction::Wanted { peer } => self.ask_more(peer, slot),
                DownloadAction::RequestHashes { peer, piece } => self.request_leaves(peer, slot, piece),
                DownloadAction::Abandon { piece } => {
                    if let Some(leech) = self.torrents.leech_mut(slot) {
                        leech.assembly.abandon(piece).for_each(|buffer| self.buffers.give_back(buffer));
                    }
                }
                DownloadAction::Ban { peer, address, reason } => {
                    tracing::info!(%address, ?reason, "a peer that sends wrong data is banned");
                    if let Some(leech) = self.torrents.leech_mut(slot) {
                        leech.peer_list.ban(address);
                    }
                    self.farewells.extend(peer.map(|peer| (peer, DropReason::Banned)));
                }
                DownloadAction::Drop { peer, cause: DropCause::Unasked } => {
                    self.farewells.push((peer, DropReason::UnwantedPiece));
                }
                DownloadAction::Drop { peer, cause: DropCause::Lists } => {
                    self.farewells.push((peer, DropReason::Flood));
                }
            }
        }
        if let Some(leech) = self.torrents.leech_mut(slot) {
            leech.actions = actions;
        }
    }

    /// Says something to a peer, unless its connection is on its way out.
    pub(super) fn say(&mut self, peer: Key, message: Message<'_>) {
        let Some(connection) = self.table.get_mut(peer) else { return };
        if matches!(connection.phase, Phase::Peer(_)) {
            message.encode(connection.outbox.tail());
            self.enqueue(peer);
        }
    }

    fn ask_more(&mut self, peer: Key, slot: Slot) {
        let Some(mut connection) = self.table.take(peer) else { return };
        if matches!(connection.phase, Phase::Peer(_)) {
            self.ask(peer, &mut connection, slot);
        }
        self.table.put(peer, connection);
        self.enqueue(peer);
    }
}
