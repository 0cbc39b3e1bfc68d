//! A ring of receive buffers that the kernel picks from (IORING_REGISTER_PBUF_RING): a peer at rest needs none.

use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use memmap2::MmapMut;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

/// Buffers, a power of two, and bytes of each: more than the requests of a depth of 64.
const BUFFERS: u16 = 4_096;
const BUFFER_BYTES: usize = 2_048;

/// Ours is the ring's only group.
const GROUP: u16 = 0;

pub(crate) struct Buffers {
    /// The ring that is shared with the kernel: one page-aligned array of entries, whose first holds the tail.
    entries: MmapMut,
    memory: MmapMut,
    tail: u16,
}

impl Buffers {
    /// Gives the kernel all buffers.
    pub(crate) fn register(ring: &IoUring) -> io::Result<Buffers> {
        let entries = MmapMut::map_anon(usize::from(BUFFERS) * size_of::<BufRingEntry>())?;
        let memory = MmapMut::map_anon(usize::from(BUFFERS) * BUFFER_BYTES)?;
        // SAFETY: the map is page-aligned, has room for this many entries, and lives as long as the `Buffers`, which the
        // seeder keeps beside the ring; nothing is received any more when either is dropped, as the process ends then.
        unsafe { ring.submitter().register_buf_ring_with_flags(entries.as_ptr() as u64, BUFFERS, GROUP, 0) }?;
        let mut buffers = Buffers { entries, memory, tail: 0 };
        for buffer in 0..BUFFERS {
            buffers.give_back(buffer);
        }
        Ok(buffers)
    }

    pub(crate) fn group(&self) -> u16 {
        GROUP
    }

    /// What the kernel put into a buffer.
    pub(crate) fn filled(&self, buffer: u16, size: usize) -> &[u8] {
        let from = usize::from(buffer) * BUFFER_BYTES;
        &self.memory[from..from + size.min(BUFFER_BYTES)]
    }

    /// Lets the kernel use the buffer again.
    pub(crate) fn give_back(&mut self, buffer: u16) {
        let address = self.memory[usize::from(buffer) * BUFFER_BYTES..].as_ptr() as u64;
        let base = self.entries.as_mut_ptr().cast::<BufRingEntry>();
        let slot = usize::from(self.tail % BUFFERS);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `slot` is below the number of entries in the map. The kernel does not read an entry before the tail
        // says so, and has taken what was in this one: there are never more buffers than entries. The tail is two aligned
        // bytes of the first entry that only we write; the store publishes the entry before it.
        unsafe {
            let entry = &mut *base.add(slot);
            entry.set_addr(address);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(buffer);
            let tail = BufRingEntry::tail(base).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}
