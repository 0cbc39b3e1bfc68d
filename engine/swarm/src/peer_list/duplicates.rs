//! Two connections with one peer, and connections with ourselves. Both ends see the same two connections and must close the
//! same one, or both are lost.

use std::collections::BTreeMap;
use wire::PeerId;

/// Which of two connections stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The one that was there before.
    Existing,
    /// The one that was made now.
    New,
}

/// Which of two connections with the same peer stays. The side with the greater id is the one that may dial, so that the new
/// connection stays if that side made it. Nothing depends on who made the existing one: libtorrent, at the other end,
/// does not look at that either, and what counts is that both ends decide alike.
pub fn resolve_duplicate(ours: PeerId, theirs: PeerId, new_is_outgoing: bool) -> Keep {
    if (ours > theirs) == new_is_outgoing { Keep::New } else { Keep::Existing }
}

/// What the id in a peer's handshake says of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meeting<P> {
    /// A peer that is not connected otherwise.
    First,
    /// We have dialled ourselves.
    Ourselves,
    /// The peer is connected already.
    Again {
        /// The connection that was there before.
        existing: P,
        /// Which of the two stays; the other is to be closed.
        keep: Keep,
    },
}

/// The ids of a torrent's connected peers; `P` names a connection. It holds one entry for each, so that the limit of
/// connections is its limit.
#[derive(Debug)]
pub struct PeerIds<P> {
    ours: PeerId,
    by_id: BTreeMap<PeerId, P>,
}

impl<P: Copy + Eq> PeerIds<P> {
    /// Nobody is connected with us, who go by this id.
    pub fn new(ours: PeerId) -> PeerIds<P> {
        PeerIds { ours, by_id: BTreeMap::new() }
    }

    /// A handshake names this id. The connection that stays is the one that is known from here on.
    pub fn handle_joined(&mut self, peer: P, id: PeerId, is_outgoing: bool) -> Meeting<P> {
        if id == self.ours {
            return Meeting::Ourselves;
        }
        let Some(existing) = self.by_id.get(&id).copied() else {
            self.by_id.insert(id, peer);
            return Meeting::First;
        };
        let keep = resolve_duplicate(self.ours, id, is_outgoing);
        if keep == Keep::New {
            self.by_id.insert(id, peer);
        }
        Meeting::Again { existing, keep }
    }

    /// The connection is gone. One that was a duplicate takes nothing with it.
    pub fn handle_gone(&mut self, peer: P, id: PeerId) {
        if self.by_id.get(&id) == Some(&peer) {
            self.by_id.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOW: PeerId = PeerId([1; 20]);
    const HIGH: PeerId = PeerId([2; 20]);

    #[test]
    fn the_greater_id_keeps_its_outgoing_connection() {
        assert_eq!(resolve_duplicate(HIGH, LOW, true), Keep::New);
        assert_eq!(resolve_duplicate(HIGH, LOW, false), Keep::Existing);
        assert_eq!(resolve_duplicate(LOW, HIGH, true), Keep::Existing);
        assert_eq!(resolve_duplicate(LOW, HIGH, false), Keep::New);
    }

    #[test]
    fn a_duplicate_that_goes_does_not_take_the_other_with_it() {
        let mut ids = PeerIds::new(HIGH);
        assert_eq!(ids.handle_joined(1, LOW, false), Meeting::First);
        assert_eq!(ids.handle_joined(2, LOW, true), Meeting::Again { existing: 1, keep: Keep::New });
        ids.handle_gone(1, LOW);
        assert_eq!(ids.handle_joined(3, LOW, false), Meeting::Again { existing: 2, keep: Keep::Existing });
        ids.handle_gone(3, LOW);
        ids.handle_gone(2, LOW);
        assert_eq!(ids.handle_joined(4, LOW, false), Meeting::First);
        assert_eq!(ids.handle_joined(5, HIGH, true), Meeting::Ourselves);
    }

    proptest! {
        /// Two peers that dial each other at once see the two connections in any order; one survives, the same at both ends.
        #[test]
        fn both_ends_keep_the_same_connection(a: [u8; 20], b: [u8; 20], first_at_a: bool, first_at_b: bool) {
            prop_assume!(a != b);
            let survivor = |ours: [u8; 20], theirs: [u8; 20], outgoing: u8, incoming: u8, outgoing_first: bool| {
                let mut ids = PeerIds::new(PeerId(ours));
                let mut order = [(outgoing, true), (incoming, false)];
                if !outgoing_first {
                    order.reverse();
                }
                ids.handle_joined(order[0].0, PeerId(theirs), order[0].1);
                match ids.handle_joined(order[1].0, PeerId(theirs), order[1].1) {
                    Meeting::Again { existing, keep: Keep::Existing } => existing,
                    _ => order[1].0,
                }
            };
            prop_assert_eq!(survivor(a, b, 1, 2, first_at_a), survivor(b, a, 2, 1, first_at_b));
        }
    }
}
