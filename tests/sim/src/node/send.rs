//! What a node sends: words at once, blocks one by one as its line takes them, as its conduct has it.

use super::{Node, truth};
use crate::net::{Event, LinkId, Net, Packet};
use crate::plan::Conduct;
use metainfo::{BLOCK_SIZE, BlockRange};
use std::time::Duration;
use wire::{Message, PIECE_HEADER_SIZE, Reserved};

impl Node {
    pub(super) fn say(&self, net: &mut Net, link: LinkId, words: Vec<u8>) {
        if !words.is_empty() {
            net.send(link, self.id, Packet::Words(words));
        }
    }

    /// The line is free.
    pub(crate) fn uplink(&mut self, net: &mut Net) {
        self.uplink_is_busy = false;
        self.feed_uplink(net);
    }

    /// Sends the next block, if there is one and the line is free.
    pub(super) fn feed_uplink(&mut self, net: &mut Net) {
        if self.uplink_is_busy || self.plan.conduct == Conduct::Liar || !self.is_here {
            return;
        }
        let waits = |link: &LinkId| {
            let peer = &self.peers[link];
            !peer.is_stuck && !peer.session.queue().is_empty()
        };
        // Those that come after the one that was served last, and around.
        let after = self.peers.range(self.served_last + 1..).map(|(link, _)| *link);
        let around = after.chain(self.peers.keys().copied());
        let Some(link) = around.into_iter().find(waits) else { return };
        self.served_last = link;
        let block = self.peers[&link].session.queue().iter().next().expect("the queue holds something");
        if self.plan.conduct == Conduct::Refuser && net.random.chance(40) {
            self.refuse(net, link, block);
            return;
        }
        self.send_block(net, link, block);
    }

    fn send_block(&mut self, net: &mut Net, link: LinkId, block: BlockRange) {
        let peer = self.peers.get_mut(&link).expect("the peer is here");
        let header = PIECE_HEADER_SIZE as u32;
        let bytes = u64::from(header + block.size());
        peer.session.queue_mut().advance(header, bytes, net.now, |_, _| ());
        self.choker.handle_progress(link, u64::from(block.size()));
        self.sent_bytes += u64::from(block.size());
        let (piece, number) = (block.piece().get(), block.begin() / BLOCK_SIZE);
        let spoilt = matches!(self.plan.conduct, Conduct::Poisoner(percent) if net.random.chance(percent));
        let right = truth(piece, number);
        let mut body = Some(if spoilt { right ^ (self.id as u64 + 1) << 8 } else { right });
        if self.plan.conduct == Conduct::Staller && net.random.chance(10) {
            (body, peer.is_stuck) = (None, true);
        }
        let sent_at = net.now + Duration::from_secs_f64(bytes as f64 / self.plan.up_bytes_per_s as f64);
        let fields = (piece, block.begin(), block.size());
        net.send_block(link, self.id, sent_at, fields, body);
        if self.plan.conduct == Conduct::Pusher && net.random.chance(30) {
            let piece = net.random.between(0, u64::from(self.torrent.layout().piece_count()) - 1) as u32;
            net.send_block(link, self.id, sent_at, (piece, 0, BLOCK_SIZE), Some(0));
        }
        self.uplink_is_busy = true;
        net.at(sent_at, Event::Uplink(self.id));
        let (now, bytes) = (net.now, u64::from(block.size()));
        self.note(net, |seeder, out| seeder.handle_sent(now, link, block.piece(), bytes, out));
    }

    /// Takes a request off the queue without answering it but in words.
    fn refuse(&mut self, net: &mut Net, link: LinkId, block: BlockRange) {
        let peer = self.peers.get_mut(&link).expect("the peer is here");
        peer.session.queue_mut().cancel(block);
        if peer.session.shared().has(Reserved::FAST) {
            let (index, begin, length) = (block.piece().get(), block.begin(), block.size());
            let mut out = Vec::new();
            Message::Reject { index, begin, length }.encode(&mut out);
            self.say(net, link, out);
        }
        self.uplink_is_busy = true;
        net.at(net.now + Duration::from_millis(1), Event::Uplink(self.id));
    }
}
