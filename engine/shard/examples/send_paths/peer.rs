//! One peer: the bytes of a message that is not whole yet, what it asked for, and how far the first answer has gone.

use crate::content::{Block, Content};
use std::collections::VecDeque;
use std::io;
use wire::{Handshake, Limits, Message, Parsed, PeerId, Reserved};

/// Requests that wait for one peer. The load asks for fewer; more are a fault of the peer's.
const REQUESTS_LIMIT: usize = 2_000;

/// The session with one peer, without its socket.
#[derive(Default)]
pub(crate) struct Peer {
    greeted: bool,
    /// The beginning of a message whose rest has not come yet.
    inbox: Vec<u8>,
    /// Bytes of a message that nobody reads.
    skip_bytes: usize,
    /// Small messages that wait to be sent.
    pub(crate) outbox: Vec<u8>,
    pub(crate) requests: VecDeque<Block>,
    /// Bytes of the first request's answer that are sent, header included.
    pub(crate) front_sent: usize,
}

impl Peer {
    pub(crate) fn has_output(&self) -> bool {
        !self.outbox.is_empty() || !self.requests.is_empty()
    }

    /// Handles what was received.
    pub(crate) fn receive(&mut self, content: &Content, bytes: &[u8]) -> io::Result<()> {
        if self.inbox.is_empty() {
            let used = self.handle(content, bytes)?;
            self.inbox.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        self.inbox.extend_from_slice(bytes);
        let mut inbox = std::mem::take(&mut self.inbox);
        let used = self.handle(content, &inbox)?;
        inbox.drain(..used);
        self.inbox = inbox;
        Ok(())
    }

    /// Handles whole messages; returns how many bytes they were.
    fn handle(&mut self, content: &Content, bytes: &[u8]) -> io::Result<usize> {
        let mut used = 0;
        if !self.greeted {
            match wire::parse_handshake(bytes).map_err(io::Error::other)? {
                Some(handshake) => self.greet(content, &handshake)?,
                None => return Ok(0),
            }
            used = wire::HANDSHAKE_SIZE;
        }
        let limits = Limits::seed(content.torrent().layout().piece_count());
        loop {
            let skip = self.skip_bytes.min(bytes.len() - used);
            self.skip_bytes -= skip;
            used += skip;
            match wire::parse(&bytes[used..], &limits).map_err(io::Error::other)? {
                Parsed::Incomplete { .. } => return Ok(used),
                Parsed::Message { message, consumed } => {
                    used += consumed;
                    self.handle_message(content, message)?;
                }
                Parsed::Skip { consumed, body_bytes, .. } => {
                    used += consumed;
                    self.skip_bytes = body_bytes;
                }
            }
        }
    }

    fn handle_message(&mut self, content: &Content, message: Message<'_>) -> io::Result<()> {
        match message {
            Message::Request { index, begin, length } => {
                let block = content.block(index, begin, length);
                let block = block.ok_or_else(|| io::Error::other("asked for what the torrent has not"))?;
                if self.requests.len() == REQUESTS_LIMIT {
                    return Err(io::Error::other("asked for too much at once"));
                }
                self.requests.push_back(block);
            }
            Message::Interested => Message::Unchoke.encode(&mut self.outbox),
            // A block that is taken back may still come (BEP 3), and the load takes none back.
            _ => {}
        }
        Ok(())
    }

    fn greet(&mut self, content: &Content, handshake: &Handshake) -> io::Result<()> {
        let torrent = content.torrent();
        let info_hash = torrent.info_hashes().find(|known| *known == handshake.info_hash);
        let info_hash = info_hash.ok_or_else(|| io::Error::other("asked for another torrent"))?;
        let answer = Handshake { reserved: Reserved::FAST, info_hash, peer_id: PeerId::ours([b'0'; 12]) };
        self.outbox.extend_from_slice(&answer.encode());
        if handshake.reserved.has(Reserved::FAST) {
            Message::HaveAll.encode(&mut self.outbox);
        } else {
            Message::Bitfield(&all_pieces(torrent.layout().piece_count())).encode(&mut self.outbox);
        }
        self.greeted = true;
        Ok(())
    }

    /// Books that `sent` bytes of the requests' answers are sent.
    pub(crate) fn advance(&mut self, sent: usize) {
        self.front_sent += sent;
        while let Some(block) = self.requests.front() {
            let size = wire::PIECE_HEADER_SIZE + block.size as usize;
            if self.front_sent < size {
                break;
            }
            self.front_sent -= size;
            self.requests.pop_front();
        }
    }
}

fn all_pieces(piece_count: u32) -> Vec<u8> {
    let mut bits = vec![0xff; piece_count.div_ceil(8) as usize];
    if let Some(last) = bits.last_mut() {
        *last <<= (8 - piece_count % 8) % 8;
    }
    bits
}
