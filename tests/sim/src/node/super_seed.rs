//! A seed that tells each peer of other pieces as long as nobody else has a copy.

use super::Node;
use crate::net::{LinkId, Net};
use metainfo::PieceIndex;
use swarm::{SuperSeedAction, SuperSeeder};
use wire::Message;

type Seeder = SuperSeeder<LinkId>;
type Actions = Vec<SuperSeedAction<LinkId>>;

impl Node {
    /// Lets the super-seeder take something in, and says what it decides.
    pub(super) fn note<T>(&mut self, net: &mut Net, take_in: impl FnOnce(&mut Seeder, &mut Actions) -> T) -> Option<T> {
        let mut actions = Vec::new();
        let answer = take_in(self.super_seeder.as_mut()?, &mut actions);
        for action in actions {
            let mut out = Vec::new();
            let to = match action {
                SuperSeedAction::Reveal { peer, piece } => {
                    Message::Have { index: piece }.encode(&mut out);
                    peer
                }
                SuperSeedAction::RevealAll { peer } => {
                    (0..self.have.piece_count()).for_each(|index| Message::Have { index }.encode(&mut out));
                    peer
                }
                SuperSeedAction::Began | SuperSeedAction::Ended(_) => continue,
            };
            self.say(net, to, out);
        }
        Some(answer)
    }

    /// What the peer has, as far as it has said.
    pub(super) fn pieces_of(&self, link: LinkId) -> Vec<PieceIndex> {
        let layout = self.torrent.layout();
        self.peers.get(&link).map_or(Vec::new(), |peer| peer.session.availability().pieces(layout).collect())
    }

    /// The peer's wishes, or whether it may have them, have changed.
    pub(super) fn note_wishes(&mut self, net: &mut Net, link: LinkId) {
        let Some(peer) = self.peers.get(&link) else { return };
        let (wishes, now) = ((peer.session.is_interested(), !peer.session.is_choked()), net.now);
        self.note(net, |seeder, out| seeder.handle_wishes(now, link, wishes, out));
    }
}
