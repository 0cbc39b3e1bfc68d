//! One connection: its socket, its greeting, and the two ways of reading, discarding and whole. What it measures goes into
//! the worker's `Tally`.

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::Socket;
use wire::{ExtensionHandshake, HANDSHAKE_SIZE, Handshake, Message, PeerId, Reserved, parse_handshake};

use crate::asked::{Address, Asked, Batch};
use crate::content::{Blocks, Content};
use crate::intake::{Fault, Intake, Want};
use crate::leech::Leech;
use crate::metadata::Fetch;
use crate::tally::Tally;
use crate::whole::Whole;

/// Why a connection ended, as the word it is counted by.
pub(crate) type Reason = &'static str;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Downloads; payload is dropped in the kernel.
    Discard,
    /// Downloads and checks every piece.
    Verify,
    /// Downloads at this rate, in bytes a second.
    Slow(u64),
    /// Fetches the metadata.
    Metadata,
}

/// The reading side.
#[derive(Debug)]
enum Receive {
    Greeting(Vec<u8>),
    Discard(Intake),
    Verify(Whole),
    Metadata(Fetch),
}

/// Buffers that all connections of a thread share.
pub(crate) struct Scratch {
    /// For reading for real.
    pub(crate) real: Vec<u8>,
    /// Never written, so never backed by memory: its length tells the kernel how much to drop.
    pub(crate) unread: Vec<u8>,
    /// Requests being written.
    pub(crate) requests: Vec<u8>,
}

/// Bytes read for real by one system call.
const REAL_BYTES: usize = 512 * 1024;

/// Bytes dropped by one system call: more than an intake ever wants at once.
const UNREAD_BYTES: usize = 2 << 20;

impl Scratch {
    /// Empty buffers.
    pub(crate) fn new() -> Scratch {
        Scratch { real: vec![0; REAL_BYTES], unread: vec![0; UNREAD_BYTES], requests: Vec::new() }
    }
}

/// What came of reading a socket dry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There was something, or nothing, and the connection stands.
    Open,
    /// The metadata is complete: the connection has served.
    Done,
}

/// A connection that was begun.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    pub(crate) role: Role,
    pub(crate) leech: Leech,
    receive: Receive,
    blocks: Blocks,
    /// Bytes that the kernel would not take yet.
    unsent: Vec<u8>,
    pub(crate) dialled_ns: u64,
    /// When it could have been dialled at the earliest.
    pub(crate) allowed_ns: u64,
    pub(crate) connected: bool,
    pub(crate) was_unchoked: bool,
    /// When bytes came last.
    pub(crate) progress_ns: u64,
    /// Requests of an open loop that wait for the depth to allow them.
    pub(crate) due: std::collections::VecDeque<Batch>,
    pub(crate) due_blocks: u32,
}

/// The depth that we announce for requests to us, which nobody sends.
const REQUEST_QUEUE_LIMIT: u32 = 250;

const CLIENT: &str = concat!("swarmload ", env!("CARGO_PKG_VERSION"));

/// The client code and version that peer ids of the load begin with.
pub(crate) const PEER_ID_PREFIX: &[u8; 8] = b"-SL0100-";

impl Connection {
    /// Over a socket whose connect has begun now.
    pub(crate) fn new(socket: Socket, role: Role, blocks: Blocks, now_ns: u64, allowed_ns: u64) -> Connection {
        Connection {
            socket,
            role,
            leech: Leech::new(),
            receive: Receive::Greeting(Vec::new()),
            blocks,
            unsent: Vec::new(),
            dialled_ns: now_ns,
            allowed_ns,
            connected: false,
            was_unchoked: false,
            progress_ns: now_ns,
            due: std::collections::VecDeque::new(),
            due_blocks: 0,
        }
    }

    /// Whether the handshake of the seeder has come.
    pub(crate) fn is_greeted(&self) -> bool {
        !matches!(self.receive, Receive::Greeting(_))
    }

    /// Sends the handshake over a socket that has connected.
    pub(crate) fn greet(&mut self, content: &Content, peer_id: PeerId, scratch: &mut Scratch) -> Result<(), Reason> {
        let handshake = Handshake { reserved: content.reserved(), info_hash: content.info_hash(), peer_id };
        scratch.requests.clear();
        scratch.requests.extend_from_slice(&handshake.encode());
        self.write(scratch)
    }

    /// Reads until the socket is dry, or `allowance` bytes are used up.
    pub(crate) fn drain(
        &mut self,
        content: &Content,
        scratch: &mut Scratch,
        tally: &mut Tally,
        allowance: &mut u64,
        hung_up: bool,
    ) -> Result<Progress, Reason> {
        loop {
            let want = self.want();
            let limit = usize::try_from(*allowance).unwrap_or(usize::MAX);
            let (received, asked) = match want {
                Want::Read(bytes) => {
                    let asked = bytes.min(REAL_BYTES).min(limit);
                    (recv(&self.socket, &mut scratch.real[..asked], RecvFlags::DONTWAIT).map(|(_, n)| n), asked)
                }
                Want::Drop(bytes) => {
                    let asked = bytes.min(UNREAD_BYTES).min(limit);
                    let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
                    (recv(&self.socket, &mut scratch.unread[..asked], flags).map(|(_, n)| n), asked)
                }
            };
            if asked == 0 {
                return Ok(Progress::Open);
            }
            let received = match received {
                Ok(0) => return Err(self.closed()),
                Ok(received) => received,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(crate::dial::word(&error.into())),
            };
            *allowance -= received as u64;
            if self.take(want, &scratch.real[..received.min(REAL_BYTES)], received, content, tally)? == Progress::Done {
                return Ok(Progress::Done);
            }
            // A short read has emptied the socket (epoll(7), question 9). Where every answer has come nothing more is due; what
            // comes all the same is read with the next answer, or by `check`.
            if (received < asked || self.is_served()) && !hung_up {
                break;
            }
        }
        if let Receive::Discard(intake) = &mut self.receive {
            intake.drained(&mut self.leech);
        }
        Ok(Progress::Open)
    }

    /// Whether the last answer that was asked for has just ended.
    fn is_served(&self) -> bool {
        match &self.receive {
            Receive::Discard(intake) => intake.is_at_boundary() && self.leech.asked.open() == 0 && !self.leech.choked,
            _ => false,
        }
    }

    fn want(&self) -> Want {
        match &self.receive {
            Receive::Greeting(held) => Want::Read(HANDSHAKE_SIZE - held.len()),
            Receive::Discard(intake) => intake.want(&self.leech),
            Receive::Verify(_) | Receive::Metadata(_) => Want::Read(REAL_BYTES),
        }
    }

    fn take(
        &mut self,
        want: Want,
        bytes: &[u8],
        received: usize,
        content: &Content,
        tally: &mut Tally,
    ) -> Result<Progress, Reason> {
        match (&mut self.receive, want) {
            (Receive::Greeting(held), _) => {
                held.extend_from_slice(bytes);
                if let Some(theirs) = parse_handshake(held).map_err(|error| error.reason())? {
                    self.on_handshake(&theirs, content)?;
                }
            }
            (Receive::Discard(intake), Want::Drop(_)) => intake.dropped(received, &mut self.leech),
            (Receive::Discard(intake), Want::Read(_)) => {
                intake.read(bytes, &mut self.leech).map_err(|fault| match fault {
                    Fault::Protocol(reason) => reason,
                    Fault::Desynchronised => "desynchronised",
                })?;
            }
            (Receive::Verify(whole), _) => whole.read(bytes, &mut self.leech, content, tally)?,
            (Receive::Metadata(fetch), _) => {
                return fetch.read(bytes, &mut self.leech, content, &mut self.unsent, tally);
            }
        }
        Ok(Progress::Open)
    }

    /// The seeder's handshake: says what a leech without a piece says first.
    fn on_handshake(&mut self, theirs: &Handshake, content: &Content) -> Result<(), Reason> {
        if theirs.info_hash != content.info_hash() {
            return Err("wrong-info-hash");
        }
        let shared = theirs.reserved.shared(content.reserved());
        self.leech.fast = shared.has(Reserved::FAST);
        if self.leech.fast {
            Message::HaveNone.encode(&mut self.unsent);
        }
        if shared.has(Reserved::EXTENDED) {
            ExtensionHandshake {
                metadata_size: Some(content.info_size()),
                wants_metadata: false,
                takes_pex: false,
                upload_only: false,
                request_queue_limit: REQUEST_QUEUE_LIMIT,
                client: CLIENT,
                your_ip: None,
                listen_port: None,
            }
            .encode(&mut self.unsent);
        }
        if self.role != Role::Metadata {
            Message::Interested.encode(&mut self.unsent);
        }
        self.receive = match self.role {
            Role::Discard | Role::Slow(_) => {
                Receive::Discard(Intake::new(content.piece_count(), content.block_bytes()))
            }
            Role::Verify => Receive::Verify(Whole::new(content.piece_count())),
            Role::Metadata => Receive::Metadata(Fetch::new(content)),
        };
        Ok(())
    }

    /// Asks for up to `again` blocks that were taken back, and for `new` ones that the schedule wanted at `scheduled_ns`, and
    /// writes them, with whatever else waits, in one call.
    pub(crate) fn ask(
        &mut self,
        again: u32,
        new: u32,
        sent_ns: u64,
        scheduled_ns: u64,
        content: &Content,
        scratch: &mut Scratch,
    ) -> Result<(), Reason> {
        scratch.requests.clear();
        let asked = &mut self.leech.asked;
        let mut request = |asked: &mut Asked, address: Address, scheduled_ns| {
            asked.ask(address);
            asked.sent(Batch { sent_ns, scheduled_ns, blocks: 1 });
            Message::Request { index: address.index, begin: address.begin, length: address.length }
                .encode(&mut scratch.requests);
        };
        for _ in 0..again {
            let Some(voided) = asked.next_voided() else { break };
            request(asked, voided.address, voided.scheduled_ns);
        }
        for _ in 0..new {
            request(asked, self.blocks.next(content), scheduled_ns);
        }
        self.write(scratch)
    }

    /// Blocks that were wanted and have no answer: open, taken back, or not asked for yet.
    pub(crate) fn owed_blocks(&self) -> u64 {
        u64::from(self.leech.asked.open()) + u64::from(self.leech.asked.voided()) + u64::from(self.due_blocks)
    }

    /// Since when the longest of them waits.
    pub(crate) fn oldest_owed_ns(&self) -> Option<u64> {
        let due_ns = self.due.front().map(|batch| batch.scheduled_ns);
        self.leech.asked.oldest_scheduled_ns().into_iter().chain(due_ns).min()
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self, scratch: &mut Scratch) -> Result<(), Reason> {
        scratch.requests.clear();
        self.write(scratch)
    }

    fn write(&mut self, scratch: &mut Scratch) -> Result<(), Reason> {
        if !self.unsent.is_empty() {
            self.unsent.append(&mut scratch.requests);
            std::mem::swap(&mut self.unsent, &mut scratch.requests);
        }
        let mut written = 0;
        while written < scratch.requests.len() {
            match send(&self.socket, &scratch.requests[written..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(bytes) => written += bytes,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(crate::dial::word(&error.into())),
            }
        }
        self.unsent.extend_from_slice(&scratch.requests[written..]);
        Ok(())
    }

    /// Voids the open requests if a silence is explained by a choke or by rejects that were dropped unread.
    pub(crate) fn presume(&mut self) -> bool {
        let Receive::Discard(intake) = &mut self.receive else { return false };
        let Some(presumed) = intake.presumed(&self.leech) else { return false };
        self.leech.presume(presumed == crate::intake::Presumed::Choked);
        true
    }

    fn closed(&self) -> Reason {
        match (self.is_greeted(), self.was_unchoked) {
            (false, _) => "closed-before-handshake",
            (true, false) if self.role != Role::Metadata => "closed-before-unchoke",
            _ => "closed",
        }
    }
}
