//! The paths over one edge-triggered epoll set. A turn takes all events, reads all that is readable, and only then sends,
//! once a peer: as the shard does, without all else that a shard does.

use crate::batch::Batch;
use crate::content::Content;
use crate::options::Options;
use crate::peer::Peer;
use crate::wait::Waiter;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags};
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;

/// Bytes read from one peer in one turn.
const RECEIVE_BYTES: usize = 64 * 1024;

/// The listener's token; the others are indices of connections.
const LISTENER: u64 = u64::MAX;

/// One accepted socket and what is known of it.
pub(crate) struct Connection {
    pub(crate) socket: OwnedFd,
    pub(crate) peer: Peer,
    readable: bool,
    writable: bool,
    ended: bool,
    queued: bool,
    /// Batches that the kernel still reads (MSG_ZEROCOPY), in the order of their numbers.
    pub(crate) pinned: VecDeque<Option<Box<Batch>>>,
    /// The number of the first of them.
    pub(crate) first_pinned: u32,
}

/// How blocks go out.
pub(crate) trait Sender {
    /// Whether the peer may be sent more now, as far as the sender is concerned.
    fn has_room(&self, _connection: &Connection) -> bool {
        true
    }

    /// Sends once. True if the socket took all it was given.
    fn send(&mut self, connection: &mut Connection, content: &Content) -> io::Result<bool>;

    /// The socket has an error or a notification.
    fn handle_error_queue(&mut self, _connection: &mut Connection) -> io::Result<()> {
        Ok(())
    }

    /// Prepares an accepted socket.
    fn prepare(&self, _socket: &OwnedFd) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) struct EpollSeeder<'a, S> {
    content: &'a Content,
    listener: OwnedFd,
    waiter: Waiter,
    sender: S,
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    ready: VecDeque<usize>,
    buffer: Vec<u8>,
}

impl<'a, S: Sender> EpollSeeder<'a, S> {
    pub(crate) fn new(content: &'a Content, listener: OwnedFd, sender: S, options: &Options) -> io::Result<Self> {
        let waiter = Waiter::new(options)?;
        waiter.add(&listener, LISTENER, epoll::EventFlags::IN | epoll::EventFlags::ET)?;
        Ok(EpollSeeder {
            content,
            listener,
            waiter,
            sender,
            connections: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            buffer: vec![0; RECEIVE_BYTES],
        })
    }

    /// Serves until something fails.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        loop {
            self.handle_events()?;
            let count = self.ready.len();
            for at in 0..count {
                self.with(self.ready[at], Self::receive);
            }
            for _ in 0..count {
                let Some(index) = self.ready.pop_front() else { break };
                self.with(index, Self::transmit);
            }
        }
    }

    fn handle_events(&mut self) -> io::Result<()> {
        let events = self.waiter.wait(!self.ready.is_empty())?;
        let mut accept = false;
        for event in &events {
            let (flags, token) = (event.flags, event.data.u64());
            if token == LISTENER {
                accept = true;
                continue;
            }
            let index = token as usize;
            let Some(connection) = self.connections.get_mut(index).and_then(Option::as_deref_mut) else { continue };
            use epoll::EventFlags as Flags;
            connection.readable |= flags.intersects(Flags::IN | Flags::RDHUP | Flags::HUP);
            connection.writable |= flags.intersects(Flags::OUT);
            connection.ended |= flags.intersects(Flags::RDHUP | Flags::HUP);
            if !std::mem::replace(&mut connection.queued, true) {
                self.ready.push_back(index);
            }
            if flags.intersects(Flags::ERR) && self.sender.handle_error_queue(connection).is_err() {
                self.close(index);
            }
        }
        self.waiter.give_back(events);
        if accept { self.accept() } else { Ok(()) }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = match rustix::net::accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            self.sender.prepare(&socket)?;
            self.waiter.prepare(&socket)?;
            let index = self.free.pop().unwrap_or(self.connections.len());
            if index == self.connections.len() {
                self.connections.push(None);
            }
            use epoll::EventFlags as Flags;
            self.waiter.add(&socket, index as u64, Flags::IN | Flags::OUT | Flags::RDHUP | Flags::ET)?;
            self.connections[index] = Some(Box::new(Connection {
                socket,
                peer: Peer::default(),
                readable: false,
                writable: true,
                ended: false,
                queued: false,
                pinned: VecDeque::new(),
                first_pinned: 0,
            }));
        }
    }

    /// Does something with a connection; an error ends it.
    fn with(&mut self, index: usize, act: fn(&mut Self, &mut Connection) -> io::Result<bool>) {
        let Some(mut connection) = self.connections[index].take() else { return };
        let result = act(self, &mut connection);
        self.connections[index] = Some(connection);
        match result {
            Ok(false) => {}
            Ok(true) => self.ready.push_back(index),
            Err(_) => self.close(index),
        }
    }

    fn close(&mut self, index: usize) {
        // What the kernel still reads of its batches concerns nobody any more: the peer has gone, or is sent away.
        if self.connections[index].take().is_some() {
            self.free.push(index);
        }
    }

    fn receive(&mut self, connection: &mut Connection) -> io::Result<bool> {
        if !connection.readable {
            return Ok(false);
        }
        match rustix::net::recv(&connection.socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((count, _)) => {
                connection.readable = count == RECEIVE_BYTES || connection.ended;
                connection.peer.receive(self.content, &self.buffer[..count])?;
            }
            Err(Errno::AGAIN) => connection.readable = false,
            Err(error) => return Err(error.into()),
        }
        Ok(false)
    }

    /// Sends once; true if there is more to be done without another event.
    fn transmit(&mut self, connection: &mut Connection) -> io::Result<bool> {
        connection.queued = false;
        if connection.writable && connection.peer.has_output() && self.sender.has_room(connection) {
            connection.writable = self.sender.send(connection, self.content)?;
        }
        let can_send = connection.writable && connection.peer.has_output() && self.sender.has_room(connection);
        connection.queued = can_send || connection.readable;
        Ok(connection.queued)
    }
}

/// One `sendmsg` of up to 64 blocks, straight from the map.
pub(crate) struct Gathered {
    pub(crate) batch: Box<Batch>,
}

impl Sender for Gathered {
    fn send(&mut self, connection: &mut Connection, content: &Content) -> io::Result<bool> {
        self.batch.fill(&mut connection.peer, content);
        let sent = match self.batch.send(connection.socket.as_fd(), 0) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.batch.settle(&mut connection.peer, sent);
        Ok(sent == self.batch.len())
    }
}
