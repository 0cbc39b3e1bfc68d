//! The old ways, a block at a time: one `sendmsg` for each, or a corked header and `sendfile`.

use crate::batch::Batch;
use crate::content::Content;
use crate::epoll::{Connection, Sender};
use rustix::io::Errno;
use rustix::net::SendFlags;
use std::io;
use std::os::fd::AsFd;
use wire::PIECE_HEADER_SIZE;

/// One `sendmsg` a block, until the socket is full or the turn's share is used up.
pub(crate) struct Each {
    pub(crate) batch: Box<Batch>,
}

impl Sender for Each {
    fn send(&mut self, connection: &mut Connection, content: &Content) -> io::Result<bool> {
        for _ in 0..crate::batch::BATCH_BLOCKS {
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

/// A header that waits for its data (MSG_MORE), then `sendfile`, for each block.
pub(crate) struct FromFile;

impl FromFile {
    /// Sends what is left of the first block's answer, as far as the socket takes it.
    fn send_front(connection: &mut Connection, content: &Content) -> io::Result<bool> {
        let peer = &mut connection.peer;
        let Some(block) = peer.requests.front().copied() else { return Ok(true) };
        if peer.front_sent < PIECE_HEADER_SIZE {
            let header = wire::piece_header(block.piece, block.begin, block.size);
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL | SendFlags::MORE;
            match rustix::net::send(&connection.socket, &header[peer.front_sent..], flags) {
                Ok(sent) => peer.advance(sent),
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            if peer.front_sent < PIECE_HEADER_SIZE {
                return Ok(false);
            }
        }
        let skip = peer.front_sent - PIECE_HEADER_SIZE;
        let left = block.size as usize - skip;
        let mut offset = block.offset + skip as u64;
        match rustix::fs::sendfile(&connection.socket, &content.file, Some(&mut offset), left) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(sent) => {
                peer.advance(sent);
                Ok(sent == left)
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
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
        for _ in 0..crate::batch::BATCH_BLOCKS {
            if !Self::send_front(connection, content)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
