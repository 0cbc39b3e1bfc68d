//! What arrives: words, blocks, the outcome of checks.

use super::{Leech, Node, truth};
use crate::net::{Event, LinkId, Net, Packet};
use crate::plan::Conduct;
use metainfo::BLOCK_SIZE;
use std::time::Duration;
use swarm::{Arrival, Fault, Incoming, PieceVerdict, Reaction};
use wire::{Limits, Message, Parsed, Reserved};

impl Node {
    pub(crate) fn receive(&mut self, net: &mut Net, link: LinkId, packet: Packet) {
        if !self.peers.contains_key(&link) {
            return;
        }
        match packet {
            Packet::Words(words) => self.hear(net, link, &words),
            Packet::Header { index, begin, length } => self.take_header(net, link, (index, begin, length)),
            Packet::Body(body) => self.take_body(net, link, body),
            Packet::LeafQuery(piece) => self.answer_leaf_query(net, link, piece),
            Packet::LeafAnswer { piece, known } => self.take_leaves(net.now, link, piece, known),
        }
        self.act(net);
        self.feed_uplink(net);
    }

    fn hear(&mut self, net: &mut Net, link: LinkId, words: &[u8]) {
        let limits = Limits::leech(self.torrent.layout().piece_count());
        let mut rest = words;
        while !rest.is_empty() {
            let Ok(Parsed::Message { message, consumed }) = wire::parse(rest, &limits) else {
                panic!("a session says what cannot be read");
            };
            rest = &rest[consumed..];
            if !self.hear_message(net, link, message) {
                net.close(link);
                return;
            }
        }
    }

    /// False if the connection is to end.
    fn hear_message(&mut self, net: &mut Net, link: LinkId, message: Message<'_>) -> bool {
        let now = net.now;
        if self.hear_answer(now, link, &message) {
            return true;
        }
        let lists = matches!(message, Message::Bitfield(_) | Message::HaveAll | Message::HaveNone);
        let mut hidden = false;
        if let Message::Request { index, .. } = message
            && let Some(piece) = self.torrent.layout().piece(index)
        {
            hidden = self.note(net, |seeder, _| !seeder.handle_request(now, link, piece)).unwrap_or(false);
        }
        if lists {
            let before = self.pieces_of(link);
            self.note(net, |seeder, _| seeder.forget_pieces(link, before));
        }
        let peer = self.peers.get_mut(&link).expect("the peer is here");
        let mut out = Vec::new();
        let lacks = |index: u32| self.torrent.layout().piece(index).is_none_or(|piece| !self.have.contains(piece));
        let reaction = match message {
            Message::Request { index, begin, length } if hidden || lacks(index) => {
                peer.session.refuse_request(now, (index, begin, length), &mut out)
            }
            _ => peer.session.handle_message(now, message, &self.torrent, &mut out),
        };
        let availability = peer.session.availability();
        match (&mut self.leech, &message, &reaction) {
            (Some(leech), _, _) if lists => {
                leech.download.handle_listed(link, availability);
            }
            (Some(leech), _, Ok(Reaction::HasPiece(piece))) => leech.download.handle_have(link, *piece),
            (Some(leech), _, Ok(Reaction::BecameInterested)) => leech.choker.handle_interested(link),
            (Some(leech), _, Ok(Reaction::LostInterest)) => leech.choker.handle_not_interested(link),
            (None, _, Ok(Reaction::BecameInterested)) => self.choker.handle_interested(link, now),
            (None, _, Ok(Reaction::LostInterest)) => self.choker.handle_not_interested(link),
            _ => {}
        }
        self.say(net, link, out);
        self.note_reaction(net, link, lists, &reaction);
        let hostile = !self.plan.conduct.is_honest();
        assert!(reaction.is_ok() || hostile, "an honest peer hangs up: {reaction:?}");
        reaction.is_ok()
    }

    /// Tells the super-seeder of what a message has changed.
    fn note_reaction(&mut self, net: &mut Net, link: LinkId, lists: bool, reaction: &Result<Reaction, Fault>) {
        let now = net.now;
        match reaction {
            _ if lists => {
                let pieces = self.pieces_of(link);
                self.note(net, |seeder, out| seeder.handle_listed(now, link, pieces, out));
            }
            Ok(Reaction::HasPiece(piece)) => {
                self.note(net, |seeder, out| seeder.handle_has(now, link, *piece, out));
            }
            Ok(Reaction::BecameInterested | Reaction::LostInterest) => self.note_wishes(net, link),
            _ => {}
        }
    }

    /// Takes in what answers our requests.
    fn hear_answer(&mut self, now: Duration, link: LinkId, message: &Message<'_>) -> bool {
        let Some(leech) = &mut self.leech else { return false };
        let layout = self.torrent.layout();
        match *message {
            Message::Choke => {
                leech.download.handle_choked(now, link);
                if !self.peers[&link].session.shared().has(Reserved::FAST) {
                    leech.ledger.void(link);
                }
            }
            Message::Unchoke => leech.download.handle_unchoked(now, link),
            Message::Reject { index, begin, length } => {
                leech.ledger.settle(link, index, begin);
                let block = layout.block(index, begin, length).expect("what was asked exists");
                leech.download.handle_rejected(now, link, block);
            }
            Message::AllowedFast { index } => {
                leech.download.handle_allowed_fast(link, layout.piece(index).expect("a piece of the torrent"));
            }
            _ => return false,
        }
        true
    }

    fn take_header(&mut self, net: &Net, link: LinkId, (index, begin, length): (u32, u32, u32)) {
        let peer = self.peers.get_mut(&link).expect("the peer is here");
        let Some(leech) = &mut self.leech else { return };
        leech.ledger.settle(link, index, begin);
        peer.arriving = match leech.download.handle_piece_header(net.now, link, index, begin, length) {
            Incoming::Take(block) => Some(block),
            Incoming::Discard => None,
        };
    }

    fn take_body(&mut self, net: &mut Net, link: LinkId, body: u64) {
        let peer = self.peers.get_mut(&link).expect("the peer is here");
        peer.session.handle_payload(net.now);
        let (Some(leech), Some(block)) = (&mut self.leech, peer.arriving.take()) else { return };
        let arrival = leech.download.handle_block(net.now, link, block);
        if arrival == Arrival::Unwanted {
            return;
        }
        leech.blocks.insert((block.piece().get(), block.begin() / BLOCK_SIZE), body);
        if let Arrival::PieceWhole(piece) = arrival {
            let time_us = net.random.between(0, self.check_time.as_micros() as u64);
            let due = net.now + Duration::from_micros(time_us);
            net.at(due, Event::Checked { node: self.id, piece: piece.get() });
        }
    }

    /// The check of a piece is done.
    pub(crate) fn checked(&mut self, net: &mut Net, piece: u32) {
        let (block_count, now) = (self.block_count(piece), net.now);
        let Some(leech) = &mut self.leech else { return };
        let index = self.torrent.layout().piece(piece).expect("pieces come from the layout");
        let blocks: Vec<u64> = (0..block_count).map(|block| leech.blocks[&(piece, block)]).collect();
        let is_good = bad_blocks(leech, piece, block_count).is_empty();
        let verdict = match is_good {
            true if leech.download.wants_fingerprints(index) => PieceVerdict::Good { fingerprints: &blocks },
            true => PieceVerdict::Good { fingerprints: &[] },
            false => PieceVerdict::Bad { bad_blocks: None, fingerprints: &blocks },
        };
        leech.download.handle_verified(now, index, verdict);
        if is_good {
            leech.blocks.retain(|(stored, _), _| *stored != piece);
            assert!(self.have.insert(index), "a piece is good once");
            assert_eq!(&self.have, leech.download.have());
            let mut out = Vec::new();
            Message::Have { index: piece }.encode(&mut out);
            let links: Vec<LinkId> = self.peers.keys().copied().collect();
            links.into_iter().for_each(|link| self.say(net, link, out.clone()));
        }
        self.act(net);
    }

    fn answer_leaf_query(&self, net: &mut Net, link: LinkId, piece: u32) {
        let index = self.torrent.layout().piece(piece).expect("a piece of the torrent");
        if self.plan.conduct != Conduct::Liar {
            let known = self.have.contains(index) && self.plan.conduct.is_honest();
            net.send(link, self.id, Packet::LeafAnswer { piece, known });
        }
    }

    fn take_leaves(&mut self, now: Duration, link: LinkId, piece: u32, known: bool) {
        let block_count = self.block_count(piece);
        let Some(leech) = &mut self.leech else { return };
        let index = self.torrent.layout().piece(piece).expect("a piece of the torrent");
        match known {
            true => leech.download.handle_leaves(now, index, &bad_blocks(leech, piece, block_count)),
            false => leech.download.handle_hashes_refused(now, link, index),
        }
    }
}

fn bad_blocks(leech: &Leech, piece: u32, block_count: u32) -> Vec<u32> {
    (0..block_count).filter(|block| leech.blocks.get(&(piece, *block)) != Some(&truth(piece, *block))).collect()
}
