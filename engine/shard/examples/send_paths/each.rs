//! The old ways, a block at a time: one `sendmsg` for each, or a corked header and `sendfile`.

use crate::batch::{BATCH_BLOCKS, Batch};
use crate::content::Content;
use crate::epoll::{Connection, Sender};
use rustix::io::Errno;
use rustix::net::{SendFlags, sockopt};
use std::io;
use std::os::fd::AsFd;
use wire::PIECE_HEADER_SIZE;

/// One `sendmsg` a block, until the socket is full or the turn's share is used up.
pub(crate) struct Each {
    pub(crate) batch: Box<Batch>,
}

impl Sender for Each {
    fn send(&mut self, connection: &mut Connection, content: &Content) -> io::Result<bool> {
        for _ in 0..BATCH_BLOCKS {
            if !connection.peer.has_output() {
                break;
            }
            self.batch.fill_up_to(1, &mut connection.peer, content);
            let sent = match self.batch.send(connection.socket.as_fd(), 0) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            self.batch.settle(&mut connection.peer, sent);
            if sent < self.batch.len() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A header that waits for its data (MSG_MORE), then `sendfile`, for each block: two calls, but no copy of the data.
pub(crate) struct FromFile {
    /// Holds a turn's blocks back until all are handed over (TCP_CORK), so that they share packets.
    pub(crate) corked: bool,
}

impl FromFile {
    /// Sends the first block's answer, as far as the socket takes it; false if that is not all of it.
    fn send_front(connection: &mut Connection, content: &Content) -> io::Result<bool> {
        let peer = &mut connection.peer;
        let Some(block) = peer.requests.front().copied() else { return Ok(true) };
        let size = PIECE_HEADER_SIZE + block.size as usize;
        loop {
            let from = peer.front_sent;
            let sent = if from < PIECE_HEADER_SIZE {
                let header = wire::piece_header(block.piece, block.begin, block.size);
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL | SendFlags::MORE;
                rustix::net::send(&connection.socket, &header[from..], flags)
            } else {
                let mut offset = block.offset + (from - PIECE_HEADER_SIZE) as u64;
                rustix::fs::sendfile(&connection.socket, &content.file, Some(&mut offset), size - from)
            };
            match sent {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(sent) => peer.advance(sent),
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            if from + sent.unwrap_or(0) == size {
                return Ok(true);
            }
        }
    }

    fn send_blocks(connection: &mut Connection, content: &Content) -> io::Result<bool> {
        for _ in 0..BATCH_BLOCKS {
            if !Self::send_front(connection, content)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Sender for FromFile {
    fn send(&mut self, connection: &mut Connection, content: &Content) -> io::Result<bool> {
        let peer = &mut connection.peer;
        if peer.front_sent == 0 && !peer.outbox.is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(&connection.socket, &peer.outbox, flags) {
                Ok(sent) => drop(peer.outbox.drain(..sent)),
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            return Ok(peer.outbox.is_empty());
        }
        let corked = self.corked && peer.requests.len() > 1;
        if corked {
            sockopt::set_tcp_cork(&connection.socket, true)?;
        }
        let all = Self::send_blocks(connection, content)?;
        if corked {
            sockopt::set_tcp_cork(&connection.socket, false)?;
        }
        Ok(all)
    }
}
