//! `sendmsg` with MSG_ZEROCOPY: the kernel sends from our pages and says on the socket's error queue when it is done with
//! them (Documentation/networking/msg_zerocopy.rst). Until then a batch, with its headers, is kept as it is.

use crate::batch::BatchPool;
use crate::content::Content;
use crate::epoll::{Connection, Sender};
use rustix::fd::OwnedFd;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Batches of one peer that the kernel may read at a time.
const PINNED_LIMIT: usize = 16;

/// Room for the one control message of a notification: `sock_extended_err` and the address behind it.
const CONTROL_BYTES: usize = 128;

/// `SO_EE_ORIGIN_ZEROCOPY` of linux/errqueue.h.
const ORIGIN_ZEROCOPY: u8 = 5;

#[derive(Default)]
pub(crate) struct ZeroCopy {
    pool: BatchPool,
}

/// A control buffer as aligned as `cmsghdr` wants it.
#[repr(align(8))]
struct Control([u8; CONTROL_BYTES]);

impl ZeroCopy {
    /// Gives back the batches numbered `first ..= last`.
    fn release(&mut self, connection: &mut Connection, first: u32, last: u32) {
        let count = last.wrapping_sub(first).wrapping_add(1);
        for number in 0..count {
            let at = first.wrapping_add(number).wrapping_sub(connection.first_pinned) as usize;
            if let Some(batch) = connection.pinned.get_mut(at).and_then(Option::take) {
                self.pool.give_back(batch);
            }
        }
        while let Some(None) = connection.pinned.front() {
            connection.pinned.pop_front();
            connection.first_pinned = connection.first_pinned.wrapping_add(1);
        }
    }
}

impl Sender for ZeroCopy {
    fn has_room(&self, connection: &Connection) -> bool {
        connection.pinned.len() < PINNED_LIMIT
    }

    fn send(&mut self, connection: &mut Connection, content: &Content) -> io::Result<bool> {
        let mut batch = self.pool.take();
        batch.fill(&mut connection.peer, content);
        let (sent, flags) = match batch.send(connection.socket.as_fd(), libc::MSG_ZEROCOPY) {
            Ok(sent) => (sent, libc::MSG_ZEROCOPY),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (0, 0),
            // Too many notifications wait (net.core.optmem_max): this time it copies.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                (batch.send(connection.socket.as_fd(), 0).or_else(if_full)?, 0)
            }
            Err(error) => return Err(error),
        };
        batch.settle(&mut connection.peer, sent);
        let all = sent == batch.len();
        if flags != 0 && sent > 0 {
            connection.pinned.push_back(Some(batch));
        } else {
            self.pool.give_back(batch);
        }
        Ok(all)
    }

    fn handle_error_queue(&mut self, connection: &mut Connection) -> io::Result<()> {
        while let Some((first, last)) = next_notification(connection)? {
            self.release(connection, first, last);
        }
        Ok(())
    }

    fn prepare(&self, socket: &OwnedFd) -> io::Result<()> {
        let on: libc::c_int = 1;
        let size = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the call reads `size` bytes of `on` and keeps no pointer.
        let result = unsafe {
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ZEROCOPY, (&raw const on).cast(), size)
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn if_full(error: io::Error) -> io::Result<usize> {
    if error.kind() == io::ErrorKind::WouldBlock { Ok(0) } else { Err(error) }
}

/// The numbers of the batches that the kernel is done with, if it says so.
fn next_notification(connection: &Connection) -> io::Result<Option<(u32, u32)>> {
    let mut control = Control([0; CONTROL_BYTES]);
    // SAFETY: a `msghdr` of zeros and null pointers is one that carries nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_BYTES;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the message points at `control`, which has the length that it says and outlives the call.
    let result = unsafe { libc::recvmsg(connection.socket.as_raw_fd(), &raw mut message, flags) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
    }
    // SAFETY: the kernel has filled in `control` and its length; the macros stay within them, and what CMSG_DATA leads to
    // is read as bytes that may be unaligned.
    let notification = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if header.is_null() {
            return Ok(None);
        }
        libc::CMSG_DATA(header).cast::<libc::sock_extended_err>().read_unaligned()
    };
    if notification.ee_origin == ORIGIN_ZEROCOPY {
        Ok(Some((notification.ee_info, notification.ee_data)))
    } else {
        Err(io::Error::from_raw_os_error(notification.ee_errno as i32))
    }
}
