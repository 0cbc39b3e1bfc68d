//! One gathered write: headers and mapped bytes of up to 64 blocks, as the kernel takes them.
//!
//! A batch holds pointers into itself and into the map, so it lives in a box, and whoever hands it to the kernel keeps
//! the box until the kernel is done with it.

use crate::content::Content;
use crate::peer::Peer;
use arrayvec::ArrayVec;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::{io, ptr};
use wire::PIECE_HEADER_SIZE;

/// Blocks and bytes of one write, as in the shard.
pub(crate) const BATCH_BLOCKS: usize = 64;
const BATCH_BYTES: usize = 1024 * 1024;

/// A header and data for each block, and the small messages before them.
const BATCH_PARTS: usize = 2 * BATCH_BLOCKS + 1;

/// Batches that are kept for use again.
const POOL_LIMIT: usize = 4_096;

pub(crate) struct Batch {
    headers: ArrayVec<[u8; PIECE_HEADER_SIZE], BATCH_BLOCKS>,
    parts: ArrayVec<libc::iovec, BATCH_PARTS>,
    outbox: Vec<u8>,
    bytes: usize,
    message: libc::msghdr,
}

impl Batch {
    pub(crate) fn new() -> Box<Batch> {
        // SAFETY: a `msghdr` of zeros and null pointers is one that carries nothing.
        let message = unsafe { std::mem::zeroed() };
        Box::new(Batch { headers: ArrayVec::new(), parts: ArrayVec::new(), outbox: Vec::new(), bytes: 0, message })
    }

    /// Gathers what is due to the peer: small messages unless a block is under way, then blocks.
    pub(crate) fn fill(&mut self, peer: &mut Peer, content: &Content) {
        self.fill_up_to(BATCH_BLOCKS, peer, content);
    }

    /// The same, for at most so many blocks.
    pub(crate) fn fill_up_to(&mut self, blocks: usize, peer: &mut Peer, content: &Content) {
        self.headers.clear();
        self.parts.clear();
        self.outbox.clear();
        self.bytes = 0;
        if peer.front_sent == 0 && !peer.outbox.is_empty() {
            std::mem::swap(&mut self.outbox, &mut peer.outbox);
            let outbox = (self.outbox.as_ptr(), self.outbox.len());
            self.push(outbox);
        }
        let mut skip = peer.front_sent;
        for block in peer.requests.iter().take(blocks) {
            if self.bytes >= BATCH_BYTES {
                break;
            }
            self.headers.push(wire::piece_header(block.piece, block.begin, block.size));
            let header_skip = skip.min(PIECE_HEADER_SIZE);
            if let Some(header) = self.headers.last().map(|header| &header[header_skip..]) {
                let header = (header.as_ptr(), header.len());
                self.push(header);
            }
            let data = &content.bytes(*block)[skip - header_skip..];
            self.push((data.as_ptr(), data.len()));
            skip = 0;
        }
        self.message.msg_iov = self.parts.as_mut_ptr();
        self.message.msg_iovlen = self.parts.len();
    }

    fn push(&mut self, (base, size): (*const u8, usize)) {
        if size > 0 {
            self.parts.push(libc::iovec { iov_base: base.cast_mut().cast(), iov_len: size });
            self.bytes += size;
        }
    }

    /// Bytes in it.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// For the ring, which reads it while the batch is kept.
    pub(crate) fn message(&self) -> *const libc::msghdr {
        &raw const self.message
    }

    /// Hands it to the kernel, now.
    pub(crate) fn send(&self, socket: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<usize> {
        let flags = flags | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: `fill` pointed the message at the parts, and the parts at the headers and the outbox of this batch, which
        // has not changed since, and at bytes of the map, which outlives all batches.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), self.message(), flags) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
    }

    /// Books what the kernel took. The batch itself stays as it is: the kernel may still read it.
    pub(crate) fn settle(&self, peer: &mut Peer, sent: usize) {
        let outbox = sent.min(self.outbox.len());
        if outbox < self.outbox.len() {
            peer.outbox.splice(..0, self.outbox[outbox..].iter().copied());
        }
        peer.advance(sent - outbox);
    }
}

/// Batches that nobody uses.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "a batch points into itself, and must not move while it waits either")]
pub(crate) struct BatchPool(Vec<Box<Batch>>);

impl BatchPool {
    pub(crate) fn take(&mut self) -> Box<Batch> {
        self.0.pop().unwrap_or_else(Batch::new)
    }

    pub(crate) fn give_back(&mut self, mut batch: Box<Batch>) {
        batch.message.msg_iov = ptr::null_mut();
        batch.message.msg_iovlen = 0;
        if self.0.len() < POOL_LIMIT {
            self.0.push(batch);
        }
    }
}
