//! What the operator says of torrents that are at work here: other terms, a rest, an embargo.

use crate::connection::{Connection, Phase};
use crate::event_loop::Shard;
use crate::handover::Leave;
use crate::torrents::Slot;
use mesh::{DropReason, TorrentId};
use std::sync::Arc;
use swarm::{SuperSeeding, Terms};

impl Shard {
    /// Whether whoever names the torrent may have it now. To one who may not, it is as unknown as any other.
    pub(crate) fn check_admission(&self, connection: &Connection, slot: Slot) -> Result<(), Leave> {
        let Some(served) = self.torrents.get(slot) else { return Err(DropReason::UnknownTorrent.into()) };
        if served.leech.as_ref().is_some_and(|leech| leech.is_held) {
            return Err(DropReason::UnknownTorrent.into());
        }
        if connection.dialled().is_some_and(|dialled| dialled.is_web_seed) {
            // The other end is ours.
            return Ok(());
        }
        let Some(gate) = served.task.terms.shut_gate() else { return Ok(()) };
        match gate.try_admits(connection.address.ip(), self.now) {
            Some(true) => Ok(()),
            Some(false) => Err(DropReason::Embargoed.into()),
            None => Err(Leave::ReadAgain),
        }
    }

    /// A peer has told what it has; if that is everything, somebody may wait to hear of it.
    pub(crate) fn note_copy(&self, connection: &Connection, slot: Slot) {
        let (Some(served), Phase::Peer(peer)) = (self.torrents.get(slot), &connection.phase) else { return };
        if let Some(first_copy) = served.task.terms.first_copy()
            && served.leech.is_none()
            && peer.session.availability().is_complete()
        {
            first_copy.note();
        }
    }

    /// Serves or fetches the torrent on other terms.
    pub(crate) fn set_terms(&mut self, id: TorrentId, terms: Arc<Terms>) {
        let Some(slot) = self.torrents.find_id(id) else { return };
        let Some(served) = self.torrents.get_mut(slot) else { return };
        let before = std::mem::replace(&mut served.task.terms, terms);
        let mode = served.task.terms.super_seeding;
        if mode != before.super_seeding {
            self.set_super_seeding(slot, mode);
        }
        self.fit_leech_slots();
    }

    fn set_super_seeding(&mut self, slot: Slot, mode: SuperSeeding) {
        let now = self.now;
        self.super_seeding.note(&mut self.torrents, slot, |seeder, out| seeder.set_mode(now, mode, out));
        if mode == SuperSeeding::Off
            && let Some(served) = self.torrents.get_mut(slot)
        {
            // What its peers are still to be told stands among the actions.
            served.super_seed = None;
        }
    }

    /// Leaves a torrent that is fetched here alone, or goes on with it.
    pub(crate) fn hold(&mut self, id: TorrentId, held: bool) {
        let Some(slot) = self.torrents.find_id(id) else { return };
        let Some(leech) = self.torrents.leech_mut(slot) else { return };
        leech.is_held = held;
        match held {
            true => self.close_all(slot),
            false => self.dial_at = self.now,
        }
    }
}
