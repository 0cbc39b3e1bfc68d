//! Sends a gathered write without a copy: the socket gets references to the page cache (sendfile(2)), in one call for each
//! header and each block. For operators who choose it: what a file becomes before its bytes have left the machine, they
//! become as well.

use super::{Gather, Part};
use crate::torrents::Served;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::SendFlags;
use storage::OpenFile;

impl Gather {
    /// Sends at most `limit` bytes of the write; returns how many the kernel took. The answers are those of sendmsg(2): a
    /// page that the file does not have any more is EFAULT.
    pub(crate) fn send_by_reference(
        &self,
        socket: &OwnedFd,
        served: &Served,
        outbox: &[u8],
        limit: usize,
    ) -> Result<usize, Errno> {
        let mut sent = 0;
        for part in &self.parts {
            let room = limit - sent;
            let end = limit.min(self.bytes);
            let (size, result) = match part {
                Part::Mapped { file, offset, size } => {
                    let size = room.min(*size);
                    (size, send_file(socket, served.files.get(*file), *offset, size))
                }
                part => {
                    // Each part was checked when it was added.
                    let bytes = self.bytes_of(part, outbox).unwrap_or_default();
                    let bytes = &bytes[..bytes.len().min(room)];
                    // What follows joins it: a header alone would be a packet of its own.
                    let more = if sent + bytes.len() < end { SendFlags::MORE } else { SendFlags::empty() };
                    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL | more;
                    (bytes.len(), rustix::net::send(socket, bytes, flags))
                }
            };
            match result {
                Ok(taken) => sent += taken,
                Err(error) if sent == 0 => return Err(error),
                Err(_) => return Ok(sent),
            }
            if sent == limit || result != Ok(size) {
                break;
            }
        }
        Ok(sent)
    }
}

fn send_file(socket: &OwnedFd, file: Option<&OpenFile>, offset: usize, size: usize) -> Result<usize, Errno> {
    let file = file.ok_or(Errno::FAULT)?;
    let mut offset = offset as u64;
    match rustix::fs::sendfile(socket, file.fd().as_fd(), Some(&mut offset), size)? {
        0 => Err(Errno::FAULT),
        sent => Ok(sent),
    }
}
