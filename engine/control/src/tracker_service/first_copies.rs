//! Torrents of which somebody wants to hear when another peer than ourselves announces that it has all of it.

use hash::InfoHash;
use std::collections::HashMap;
use std::sync::Arc;
use tracker::{AnnounceRequest, Event};

/// Whom to tell, by the names of the torrents.
#[derive(Default)]
pub(super) struct FirstCopies(HashMap<InfoHash, Awaited>);

struct Awaited {
    /// Our own id, which does not count.
    own: [u8; 20],
    tell: Arc<dyn Fn() + Send + Sync>,
}

impl FirstCopies {
    pub(super) fn await_one(&mut self, info_hashes: &[InfoHash], own: [u8; 20], tell: &Arc<dyn Fn() + Send + Sync>) {
        let awaited = info_hashes.iter().map(|info_hash| (*info_hash, Awaited { own, tell: tell.clone() }));
        self.0.extend(awaited);
    }

    pub(super) fn forget(&mut self, info_hashes: &[InfoHash]) {
        for info_hash in info_hashes {
            self.0.remove(info_hash);
        }
    }

    /// Somebody has announced. Under the other name of a hybrid it may be told once more.
    pub(super) fn note(&mut self, request: &AnnounceRequest) {
        // Who begins with nothing left may only not know how much it lacks (`AnnounceRequest::wants_seeds`).
        let is_copy = request.is_seed() && !matches!(request.event, Event::Started | Event::Stopped);
        if !is_copy || self.0.get(&request.info_hash).is_none_or(|awaited| awaited.own == request.peer_id) {
            return;
        }
        if let Some(awaited) = self.0.remove(&request.info_hash) {
            (awaited.tell)();
        }
    }
}
