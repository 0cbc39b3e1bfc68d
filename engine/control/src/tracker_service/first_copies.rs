//! Torrents of which somebody wants to hear when another peer than ourselves announces that it has all of it.

use hash::InfoHash;
use std::collections::HashMap;
use std::sync::Arc;
use swarm::FirstCopy;
use tracker::{AnnounceRequest, Event};

/// Whom to tell, by the names of the torrents.
#[derive(Default)]
pub(super) struct FirstCopies(HashMap<InfoHash, Awaited>);

struct Awaited {
    /// Our own id, which does not count.
    own: [u8; 20],
    first_copy: Arc<FirstCopy>,
}

impl FirstCopies {
    pub(super) fn await_one(&mut self, info_hashes: &[InfoHash], own: [u8; 20], first_copy: &Arc<FirstCopy>) {
        let awaited = |name: &InfoHash| (*name, Awaited { own, first_copy: first_copy.clone() });
        self.0.extend(info_hashes.iter().map(awaited));
    }

    pub(super) fn forget(&mut self, info_hashes: &[InfoHash]) {
        for info_hash in info_hashes {
            self.0.remove(info_hash);
        }
    }

    /// Somebody has announced.
    pub(super) fn note(&mut self, request: &AnnounceRequest) {
        // Who begins with nothing left may only not know how much it lacks (`AnnounceRequest::wants_seeds`).
        let is_copy = request.is_seed() && !matches!(request.event, Event::Started | Event::Stopped);
        if !is_copy || self.0.get(&request.info_hash).is_none_or(|awaited| awaited.own == request.peer_id) {
            return;
        }
        if let Some(awaited) = self.0.remove(&request.info_hash) {
            awaited.first_copy.note();
        }
    }
}
