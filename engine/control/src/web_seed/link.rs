//! Our end of the socket to the shard: messages read, messages and blocks written. It knows bytes and their limits, not what
//! they mean for the server.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use metainfo::BlockRange;
use tokio::io::Interest;
use tokio::net::UnixStream;
use wire::{HANDSHAKE_SIZE, Handshake, Limits, Message, Parsed, parse, parse_handshake, piece_header};

/// Bytes that wait to be sent before no more are taken from the servers, and no more messages read.
const OUTBOX_BYTES: usize = 1 << 20;
/// How much is read at once.
const READ_BYTES: usize = 16 << 10;
/// The most parts of one write: the kernel takes up to 1024.
const MAX_WRITE_PARTS: usize = 64;

/// One end of a socket pair.
pub(super) struct Link {
    socket: UnixStream,
    limits: Limits,
    inbox: BytesMut,
    /// Bytes of a message that nobody reads, still to come.
    skip_bytes: usize,
    outbox: VecDeque<Bytes>,
    outbox_bytes: usize,
}

/// A message that asks us for something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    Request {
        index: u32,
        begin: u32,
        length: u32,
    },
    Cancel {
        index: u32,
        begin: u32,
        length: u32,
    },
    /// Anything else that a peer may say.
    Other,
}

/// Why the link is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("the other end closed")]
    Closed,
    #[error("{0}")]
    Socket(io::Error),
    #[error("{0}")]
    Wire(#[from] wire::WireError),
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> LinkError {
        match error.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected => LinkError::Closed,
            _ => LinkError::Socket(error),
        }
    }
}

impl Link {
    pub(super) fn new(socket: UnixStream, piece_count: u32) -> Link {
        Link {
            socket,
            limits: Limits::seed(piece_count),
            inbox: BytesMut::new(),
            skip_bytes: 0,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
        }
    }

    /// Whether more may be written.
    pub(super) fn has_room(&self) -> bool {
        self.outbox_bytes < OUTBOX_BYTES
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Waits until there is something to read, or room for what waits to be sent.
    pub(super) async fn ready(&self) -> io::Result<()> {
        let interest = match (self.has_room(), self.is_flushed()) {
            (true, true) => Interest::READABLE,
            (true, false) => Interest::READABLE | Interest::WRITABLE,
            (false, _) => Interest::WRITABLE,
        };
        self.socket.ready(interest).await.map(|_| ())
    }

    /// Reads once. False if there is nothing to read now, or too much to send.
    pub(super) fn receive(&mut self) -> Result<bool, LinkError> {
        if !self.has_room() {
            return Ok(false);
        }
        self.inbox.reserve(READ_BYTES);
        match self.socket.try_read_buf(&mut self.inbox) {
            Ok(0) => Err(LinkError::Closed),
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The handshake, once all of it is there.
    pub(super) fn take_handshake(&mut self) -> Result<Option<Handshake>, LinkError> {
        let handshake = parse_handshake(&self.inbox)?;
        if handshake.is_some() {
            self.inbox.advance(HANDSHAKE_SIZE);
        }
        Ok(handshake)
    }

    /// The next message of those received.
    pub(super) fn take_message(&mut self) -> Result<Option<Heard>, LinkError> {
        let skipped = self.skip_bytes.min(self.inbox.len());
        self.inbox.advance(skipped);
        self.skip_bytes -= skipped;
        if self.skip_bytes > 0 {
            return Ok(None);
        }
        let (heard, consumed) = match parse(&self.inbox, &self.limits)? {
            Parsed::Incomplete { .. } => return Ok(None),
            Parsed::Skip { consumed, body_bytes, .. } => {
                self.skip_bytes = body_bytes;
                (Heard::Other, consumed)
            }
            Parsed::Message { message, consumed } => (Heard::from(message), consumed),
        };
        self.inbox.advance(consumed);
        Ok(Some(heard))
    }

    pub(super) fn send(&mut self, message: Message<'_>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.push(bytes.into());
    }

    pub(super) fn send_block(&mut self, block: BlockRange, parts: Vec<Bytes>) {
        self.push(Bytes::copy_from_slice(&piece_header(block.piece().get(), block.begin(), block.size())));
        for part in parts {
            self.push(part);
        }
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        self.outbox_bytes += bytes.len();
        self.outbox.push_back(bytes);
    }

    /// Writes as much as the socket takes.
    pub(super) fn flush(&mut self) -> Result<(), LinkError> {
        while !self.outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_WRITE_PARTS];
            let count = self.outbox.len().min(MAX_WRITE_PARTS);
            for (slice, part) in slices.iter_mut().zip(&self.outbox) {
                *slice = IoSlice::new(part);
            }
            match self.socket.try_write_vectored(&slices[..count]) {
                Ok(written) => self.sent(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn sent(&mut self, mut written: usize) {
        self.outbox_bytes -= written;
        while let Some(first) = self.outbox.front_mut().filter(|first| first.len() <= written) {
            written -= first.len();
            self.outbox.pop_front();
        }
        if let Some(first) = self.outbox.front_mut() {
            first.advance(written);
        }
    }
}

impl From<Message<'_>> for Heard {
    fn from(message: Message<'_>) -> Heard {
        match message {
            Message::Request { index, begin, length } => Heard::Request { index, begin, length },
            Message::Cancel { index, begin, length } => Heard::Cancel { index, begin, length },
            _ => Heard::Other,
        }
    }
}
