//! What a node does of its own accord: what its download and its chokers say, and what must hold whenever it has.

use super::{Leech, Node};
use crate::net::{LinkId, Net, Packet};
use crate::plan::NodePlan;
use metainfo::{BlockRange, Torrent};
use std::time::Duration;
use swarm::{BanReason, ChokeChange, Choker, DownloadAction, Slots};
use wire::Message;

impl Node {
    /// Does all that is due.
    pub(crate) fn act(&mut self, net: &mut Net) {
        while let Some(leech) = &mut self.leech {
            let mut actions = Vec::new();
            leech.download.poll_actions(&mut actions);
            if actions.is_empty() {
                break;
            }
            // All of them are of one turn: what is taken back is no more asked for.
            actions.sort_by_key(|action| matches!(action, DownloadAction::Wanted { .. }));
            actions.into_iter().for_each(|action| self.act_on(net, action));
        }
        self.choke(net);
        self.check();
        if self.leech.as_ref().is_some_and(|leech| leech.download.is_complete()) {
            self.finish(net);
        }
    }

    fn act_on(&mut self, net: &mut Net, action: DownloadAction<LinkId>) {
        let Some(leech) = &mut self.leech else { return };
        let mut out = Vec::new();
        let to = match action {
            DownloadAction::Interested { peer } => {
                Message::Interested.encode(&mut out);
                peer
            }
            DownloadAction::NotInterested { peer } => {
                Message::NotInterested.encode(&mut out);
                peer
            }
            DownloadAction::Cancel { peer, block } => {
                leech.ledger.settle(peer, block.piece().get(), block.begin());
                let (index, begin, length) = fields(block);
                Message::Cancel { index, begin, length }.encode(&mut out);
                peer
            }
            DownloadAction::Wanted { peer } => {
                leech.ask(net.now, peer, &self.plan, &mut out);
                peer
            }
            DownloadAction::RequestHashes { peer, piece } => {
                net.send(peer, self.id, Packet::LeafQuery(piece.get()));
                return;
            }
            DownloadAction::Ban { peer, address, reason } => {
                let culprit =
                    net.links.iter().flat_map(|link| link.ends).find(|node| super::address(*node).ip() == address);
                peer.into_iter().for_each(|link| leech.ledger.void(link));
                peer.into_iter().for_each(|link| net.close(link));
                self.note_ban(culprit.expect("an address of the swarm"), reason);
                return;
            }
            DownloadAction::Drop { peer, .. } => {
                net.close(peer);
                return;
            }
            DownloadAction::Abandon { piece } => {
                leech.blocks.retain(|(stored, _), _| *stored != piece.get());
                return;
            }
        };
        self.say(net, to, out);
    }

    fn note_ban(&mut self, culprit: usize, reason: BanReason) {
        self.bans.push((culprit, reason));
        self.banned.insert(super::address(culprit).ip());
    }

    fn choke(&mut self, net: &mut Net) {
        let now = net.now;
        let mut changes = Vec::new();
        match &mut self.leech {
            Some(leech) if leech.choker.next_wakeup().is_some_and(|due| due <= now) => {
                let download = &leech.download;
                leech.choker.poll_changes(now, |link| download.giving(now, link), &mut changes);
                let limit = self.plan.slots.map_or(usize::MAX, |slots| slots.max(1));
                assert!(leech.choker.unchoked_count() <= limit, "more are served than there are slots");
            }
            None if self.choker.next_wakeup().is_some_and(|due| due <= now) => {
                self.choker.poll_changes(now, &mut changes);
            }
            _ => {}
        }
        for change in changes {
            let (ChokeChange::Choke(link) | ChokeChange::Unchoke(link)) = change;
            let peer = self.peers.get_mut(&link).expect("only peers that are here are told");
            let mut out = Vec::new();
            match change {
                ChokeChange::Choke(_) => peer.session.choke(&mut out),
                ChokeChange::Unchoke(_) => peer.session.unchoke(&mut out),
            };
            self.say(net, link, out);
            self.note_wishes(net, link);
        }
    }

    /// All is there: from now on this is a seed.
    fn finish(&mut self, net: &mut Net) {
        let Some(leech) = self.leech.take() else { return };
        assert!(self.have.is_full() && leech.download.open_pieces().count() == 0 && leech.blocks.is_empty());
        self.finished_at = Some(net.now);
        self.progress = leech.download.progress();
        self.choker = Choker::new(self.plan.slots.map_or(Slots::Unlimited, Slots::Fixed), self.seed);
        let links: Vec<LinkId> = self.peers.keys().copied().collect();
        for link in links {
            let peer = self.peers.get_mut(&link).expect("it was listed");
            let mut out = Vec::new();
            peer.session.handle_fetched();
            if self.plan.slots.is_some() {
                peer.session.choke(&mut out);
            }
            if peer.session.is_interested() {
                self.choker.handle_interested(link, net.now);
            }
            self.say(net, link, out);
        }
        self.choke(net);
    }

    /// What must hold at any time.
    fn check(&self) {
        let Some(leech) = &self.leech else { return };
        let download = &leech.download;
        // A block that was given up while it came in may still end, one a peer.
        let room = u64::from(self.plan.write_room) + self.peers.len() as u64;
        assert!(download.blocks_under_way() <= room, "more is under way than there is room for");
        let stored: u64 = download.open_pieces().map(|open| u64::from(open.stored_blocks)).sum();
        assert!(stored <= room && leech.blocks.len() as u64 <= room + stored, "more is kept than there is room for");
        for (link, peer) in &self.peers {
            assert!(leech.ledger.count(*link) <= peer.reqq as usize + 1, "a peer is asked for more than it takes");
        }
        let missing: u64 = left_bytes(&self.torrent, &self.have);
        assert_eq!(download.missing_bytes(), missing, "what is missing is counted");
    }
}

impl Leech {
    /// Asks the peer for what the download says.
    fn ask(&mut self, now: Duration, link: LinkId, plan: &NodePlan, out: &mut Vec<u8>) {
        let was_endgame = self.download.is_endgame();
        let mut blocks = Vec::new();
        self.download.poll_requests(now, link, &mut blocks);
        let is_endgame = was_endgame || self.download.is_endgame();
        for block in blocks {
            assert!(!self.download.have().contains(block.piece()), "a block is asked for that is there");
            let twice = self.ledger.is_asked_elsewhere(link, block);
            assert!(!twice || is_endgame, "a block is asked of two peers: {block:?} {plan:?}");
            self.ledger.ask(link, block);
            let (index, begin, length) = fields(block);
            Message::Request { index, begin, length }.encode(out);
        }
    }
}

fn fields(block: BlockRange) -> (u32, u32, u32) {
    (block.piece().get(), block.begin(), block.size())
}

fn left_bytes(torrent: &Torrent, have: &swarm::PieceSet) -> u64 {
    let layout = torrent.layout();
    layout.pieces().filter(|piece| !have.contains(*piece)).map(|piece| u64::from(layout.piece_size(piece))).sum()
}
