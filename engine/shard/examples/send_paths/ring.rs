//! The paths over one io_uring: receives and sends are operations, submitted and awaited by one call a turn. A turn handles
//! all completions first, then hands over one `sendmsg` for each peer that has something to be sent and none under way.

use crate::batch::{Batch, BatchPool};
use crate::buffers::Buffers;
use crate::content::Content;
use crate::options::{Options, Path};
use crate::peer::Peer;
use io_uring::types::{Fd, Fixed, SubmitArgs};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};
use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};

/// Operations submitted by one call, and completions that wait to be taken.
const SUBMISSIONS: u32 = 1_024;
const COMPLETIONS: u32 = 32_768;

/// Sockets that may be registered with the ring.
const REGISTERED_LIMIT: u32 = 16_384;

/// Bytes of a peer's own receive buffer, where receives are single: the requests of one depth of 64, and some.
const OWN_BUFFER_BYTES: usize = 2_048;

/// A turn delay ends early once this many completions wait.
const DELAY_COMPLETIONS: usize = 256;

/// What an operation is, in the highest byte of its token; the index of its connection or batch is in the rest.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Accept,
    Receive,
    Send,
}

fn token(kind: Kind, connection: usize, batch: usize) -> u64 {
    (kind as u64) << 56 | (connection as u64) << 24 | batch as u64
}

struct Connection {
    socket: OwnedFd,
    peer: Peer,
    /// Where single receives land. The kernel writes to it while `receiving`.
    buffer: Vec<u8>,
    receiving: bool,
    sending: bool,
    queued: bool,
    /// Nothing more is begun; it is dropped when what is under way has ended.
    ended: bool,
    /// Operations and batches that still concern it.
    under_way: u32,
}

pub(crate) struct RingSeeder<'a> {
    content: &'a Content,
    listener: OwnedFd,
    ring: IoUring,
    backlog: VecDeque<squeue::Entry>,
    completions: Vec<cqueue::Entry>,
    buffers: Option<Buffers>,
    registered: bool,
    zero_copy: bool,
    turn_delay_us: u32,
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    ready: VecDeque<usize>,
    /// Batches that the kernel may read, at their index.
    batches: Vec<Option<Box<Batch>>>,
    free_batches: Vec<usize>,
    pool: BatchPool,
}

impl<'a> RingSeeder<'a> {
    pub(crate) fn new(content: &'a Content, listener: OwnedFd, options: &Options) -> io::Result<RingSeeder<'a>> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(COMPLETIONS).setup_submit_all();
        if !options.plain_ring {
            builder.setup_single_issuer().setup_defer_taskrun();
        }
        let ring = builder.build(SUBMISSIONS)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if !probe.is_supported(opcode::SendMsgZc::CODE) {
            return Err(io::Error::other("this kernel's io_uring is too old (6.1 is needed)"));
        }
        if options.registered_files {
            ring.submitter().register_files_sparse(REGISTERED_LIMIT)?;
        }
        if options.busy_poll_us > 0 {
            let mut napi =
                io_uring::types::Napi::new().set_busy_poll_timeout(options.busy_poll_us).set_prefer_busy_poll(true);
            ring.submitter().register_napi(&mut napi)?;
        }
        let buffers = if options.path == Path::RingPoll { None } else { Some(Buffers::register(&ring)?) };
        Ok(RingSeeder {
            content,
            listener,
            ring,
            backlog: VecDeque::new(),
            completions: Vec::with_capacity(SUBMISSIONS as usize),
            buffers,
            registered: options.registered_files,
            zero_copy: options.path == Path::RingSendZc,
            turn_delay_us: options.turn_delay_us,
            connections: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            batches: Vec::new(),
            free_batches: Vec::new(),
            pool: BatchPool::default(),
        })
    }

    /// Serves until something fails.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        self.begin_accept();
        loop {
            self.submit_and_wait()?;
            let mut completions = std::mem::take(&mut self.completions);
            completions.extend(self.ring.completion());
            for completion in completions.drain(..) {
                self.handle(&completion)?;
            }
            self.completions = completions;
            while let Some(index) = self.ready.pop_front() {
                self.transmit(index);
            }
        }
    }

    /// Hands over what was prepared and waits for a completion.
    fn submit_and_wait(&mut self) -> io::Result<()> {
        loop {
            let mut submission = self.ring.submission();
            while let Some(entry) = self.backlog.pop_front() {
                // SAFETY: what an entry points to (a batch, a peer's buffer, a message) is kept in this seeder, in a box
                // of its own, until the entry's last completion was taken.
                if unsafe { submission.push(&entry) }.is_err() {
                    self.backlog.push_front(entry);
                    break;
                }
            }
            let more = !self.backlog.is_empty();
            drop(submission);
            let wait = usize::from(!more && self.ring.completion().is_empty());
            let result = if wait == 1 && self.turn_delay_us > 0 {
                let args = SubmitArgs::new().min_wait_usec(self.turn_delay_us);
                self.ring.submitter().submit_with_args(DELAY_COMPLETIONS, &args)
            } else {
                self.ring.submit_and_wait(wait)
            };
            match result {
                Ok(_) => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ETIME | libc::EBUSY)) => {}
                Err(error) => return Err(error),
            }
            if !more {
                return Ok(());
            }
        }
    }

    fn handle(&mut self, completion: &cqueue::Entry) -> io::Result<()> {
        let user_data = completion.user_data();
        let index = (user_data >> 24) as u32 as usize;
        if user_data >> 56 == Kind::Accept as u64 {
            return self.handle_accepted(completion);
        }
        if user_data >> 56 == Kind::Receive as u64 {
            self.handle_received(index, completion);
        } else {
            self.handle_sent(index, (user_data & 0xff_ffff) as usize, completion);
        }
        self.drop_if_ended(index);
        Ok(())
    }

    fn begin_accept(&mut self) {
        let entry = opcode::AcceptMulti::new(Fd(self.listener.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build();
        self.backlog.push_back(entry.user_data(token(Kind::Accept, 0, 0)));
    }

    fn handle_accepted(&mut self, completion: &cqueue::Entry) -> io::Result<()> {
        if !cqueue::more(completion.flags()) {
            self.begin_accept();
        }
        if completion.result() < 0 {
            return Ok(());
        }
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
        let socket = unsafe { OwnedFd::from_raw_fd(completion.result()) };
        let index = self.free.pop().unwrap_or(self.connections.len());
        if index == self.connections.len() {
            self.connections.push(None);
        }
        if self.registered {
            self.ring.submitter().register_files_update(index as u32, &[socket.as_raw_fd()])?;
        }
        let own_buffer_bytes = if self.buffers.is_none() { OWN_BUFFER_BYTES } else { 0 };
        self.connections[index] = Some(Box::new(Connection {
            socket,
            peer: Peer::default(),
            buffer: vec![0; own_buffer_bytes],
            receiving: false,
            sending: false,
            queued: false,
            ended: false,
            under_way: 0,
        }));
        self.begin_receive(index);
        Ok(())
    }

    fn begin_receive(&mut self, index: usize) {
        let Some(connection) = self.connections[index].as_deref_mut() else { return };
        if connection.receiving || connection.ended {
            return;
        }
        connection.receiving = true;
        connection.under_way += 1;
        let socket = connection.socket.as_raw_fd();
        let entry = match &self.buffers {
            Some(buffers) if self.registered => opcode::RecvMulti::new(Fixed(index as u32), buffers.group()).build(),
            Some(buffers) => opcode::RecvMulti::new(Fd(socket), buffers.group()).build(),
            None => {
                let (base, size) = (connection.buffer.as_mut_ptr(), connection.buffer.len() as u32);
                if self.registered {
                    opcode::Recv::new(Fixed(index as u32), base, size).build()
                } else {
                    opcode::Recv::new(Fd(socket), base, size).build()
                }
            }
        };
        self.backlog.push_back(entry.user_data(token(Kind::Receive, index, 0)));
    }

    fn handle_received(&mut self, index: usize, completion: &cqueue::Entry) {
        let Some(connection) = self.connections[index].as_deref_mut() else { return };
        let more = cqueue::more(completion.flags());
        if !more {
            connection.receiving = false;
            connection.under_way -= 1;
        }
        let result = completion.result();
        let received = match (&mut self.buffers, cqueue::buffer_select(completion.flags())) {
            (Some(buffers), Some(buffer)) => {
                let bytes = buffers.filled(buffer, result.max(0) as usize);
                let received = connection.peer.receive(self.content, bytes);
                buffers.give_back(buffer);
                received
            }
            (None, _) if result > 0 => {
                let size = result as usize;
                connection.peer.receive(self.content, &connection.buffer[..size])
            }
            _ => Ok(()),
        };
        // Out of buffers for a moment: receives begin anew when those in use are given back, at the end of this turn.
        let gone = result == 0 || (result < 0 && result != -libc::ENOBUFS);
        if gone || received.is_err() {
            connection.ended = true;
            // What is under way ends soon after the socket is shut.
            let _ = rustix::net::shutdown(&connection.socket, rustix::net::Shutdown::Both);
        } else if !std::mem::replace(&mut connection.queued, true) {
            self.ready.push_back(index);
        }
        self.begin_receive(index);
    }

    /// Prepares a send for a peer that has none under way.
    fn transmit(&mut self, index: usize) {
        let Some(connection) = self.connections[index].as_deref_mut() else { return };
        connection.queued = false;
        if connection.sending || connection.ended || !connection.peer.has_output() {
            return;
        }
        let mut batch = self.pool.take();
        batch.fill(&mut connection.peer, self.content);
        let at = self.free_batches.pop().unwrap_or(self.batches.len());
        if at == self.batches.len() {
            self.batches.push(None);
        }
        let message = batch.message();
        let flags = libc::MSG_NOSIGNAL as u32;
        let socket = Fd(connection.socket.as_raw_fd());
        let entry = match (self.zero_copy, self.registered) {
            (false, false) => opcode::SendMsg::new(socket, message).flags(flags).build(),
            (false, true) => opcode::SendMsg::new(Fixed(index as u32), message).flags(flags).build(),
            (true, false) => opcode::SendMsgZc::new(socket, message).flags(flags).build(),
            (true, true) => opcode::SendMsgZc::new(Fixed(index as u32), message).flags(flags).build(),
        };
        self.batches[at] = Some(batch);
        connection.sending = true;
        connection.under_way += 1;
        self.backlog.push_back(entry.user_data(token(Kind::Send, index, at)));
    }

    /// A send has ended, or the kernel is done with the pages of one that ended before.
    fn handle_sent(&mut self, index: usize, at: usize, completion: &cqueue::Entry) {
        let Some(connection) = self.connections[index].as_deref_mut() else { return };
        if !cqueue::notif(completion.flags()) {
            connection.sending = false;
            match &self.batches[at] {
                Some(batch) if completion.result() >= 0 => {
                    batch.settle(&mut connection.peer, completion.result() as usize);
                }
                _ => connection.ended = true,
            }
            if !std::mem::replace(&mut connection.queued, true) {
                self.ready.push_back(index);
            }
        }
        if !cqueue::more(completion.flags()) {
            connection.under_way -= 1;
            if let Some(batch) = self.batches[at].take() {
                self.pool.give_back(batch);
            }
            self.free_batches.push(at);
        }
    }

    fn drop_if_ended(&mut self, index: usize) {
        let Some(connection) = self.connections[index].as_deref() else { return };
        if connection.ended && connection.under_way == 0 {
            self.connections[index] = None;
            self.free.push(index);
            if self.registered {
                // The place is filled again before it is used again, so a failure here changes nothing.
                let _ = self.ring.submitter().register_files_update(index as u32, &[-1]);
            }
        }
    }
}
