//! Blocks through a buffer: `preadv2(RWF_NOWAIT)` reads them behind their headers, one `send` takes all. Never faults, and
//! never meets a truncated file's SIGBUS; pays one copy more.

use crate::batch::BATCH_BLOCKS;
use crate::content::{Block, Content};
use crate::epoll::{Connection, Sender};
use crate::peer::Peer;
use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::SendFlags;
use std::io::{self, IoSliceMut};
use wire::PIECE_HEADER_SIZE;

/// Bytes of one write, as in the shard.
const BUFFER_BYTES: usize = BATCH_BLOCKS * (16 * 1024 + PIECE_HEADER_SIZE);

/// Sends from one buffer, which all peers share.
pub(crate) struct Copied {
    buffer: Vec<u8>,
}

impl Copied {
    pub(crate) fn new() -> Copied {
        Copied { buffer: vec![0; BUFFER_BYTES] }
    }

    /// Writes headers and data of the next blocks into the buffer; returns how many bytes.
    fn fill(&mut self, peer: &Peer, content: &Content) -> io::Result<usize> {
        let mut used = 0;
        let mut run: Vec<Block> = Vec::with_capacity(BATCH_BLOCKS);
        let mut run_from = 0;
        for block in peer.requests.iter().take(BATCH_BLOCKS) {
            let end = used + PIECE_HEADER_SIZE + block.size as usize;
            if end > self.buffer.len() {
                break;
            }
            // Neighbours in the file are read by one call.
            if run.last().is_some_and(|last| last.offset + u64::from(last.size) != block.offset) {
                read(&mut self.buffer[run_from..used], &run, content)?;
                run.clear();
                run_from = used;
            }
            run.push(*block);
            used = end;
        }
        read(&mut self.buffer[run_from..used], &run, content)?;
        Ok(used)
    }
}

/// Fills the places of neighbouring blocks. The data is in page cache, or the path cannot be used.
fn read(mut places: &mut [u8], run: &[Block], content: &Content) -> io::Result<()> {
    let Some(first) = run.first() else { return Ok(()) };
    let mut parts = Vec::with_capacity(BATCH_BLOCKS);
    let mut wanted = 0;
    for block in run {
        let (place, rest) = places.split_at_mut(PIECE_HEADER_SIZE + block.size as usize);
        let (header, data) = place.split_at_mut(PIECE_HEADER_SIZE);
        header.copy_from_slice(&wire::piece_header(block.piece, block.begin, block.size));
        wanted += data.len();
        parts.push(IoSliceMut::new(data));
        places = rest;
    }
    let count = rustix::io::preadv2(&content.file, &mut parts, first.offset, ReadWriteFlags::NOWAIT)?;
    if count == wanted { Ok(()) } else { Err(io::Error::other("the data is not in page cache")) }
}

impl Sender for Copied {
    fn send(&mut self, connection: &mut Connection, content: &Content) -> io::Result<bool> {
        let peer = &mut connection.peer;
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if peer.front_sent == 0 && !peer.outbox.is_empty() {
            // Only at the beginning of a session: not worth a place in the buffer.
            let sent = match rustix::net::send(&connection.socket, &peer.outbox, flags) {
                Err(Errno::AGAIN) => 0,
                other => other?,
            };
            peer.outbox.drain(..sent);
            return Ok(peer.outbox.is_empty());
        }
        let used = self.fill(peer, content)?;
        let unsent = &self.buffer[peer.front_sent..used];
        let sent = match rustix::net::send(&connection.socket, unsent, flags) {
            Err(Errno::AGAIN) => 0,
            other => other?,
        };
        let all = sent == unsent.len();
        peer.advance(sent);
        Ok(all)
    }
}
