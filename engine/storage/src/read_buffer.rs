//! Memory that reads go to, aligned as reads past the page cache want it. Made once and used again and again.

use std::ops::Deref;

/// What reads past the page cache (open(2), `O_DIRECT`) are aligned to, in memory and in the file: the page size, which
/// every device takes.
pub(crate) const ALIGNMENT: usize = 4096;

/// Room for a read, and what was read last.
#[derive(Debug)]
pub struct ReadBuffer {
    /// Never grows, so that its start stays where it is.
    room: Box<[u8]>,
    begin: usize,
    size: usize,
}

impl ReadBuffer {
    /// Room for `capacity_bytes` from any offset of a file.
    pub fn new(capacity_bytes: usize) -> ReadBuffer {
        let room = vec![0; ReadBuffer::memory_bytes(capacity_bytes)].into_boxed_slice();
        ReadBuffer { room, begin: 0, size: 0 }
    }

    /// Memory that a buffer of this capacity takes.
    pub const fn memory_bytes(capacity_bytes: usize) -> usize {
        // One page for the alignment in memory, one for what lies before the offset, one for what lies behind the end.
        capacity_bytes.next_multiple_of(ALIGNMENT) + 2 * ALIGNMENT
    }

    /// The first `size` bytes, to be filled; they are what is read from now on. Fewer if there is no room for so many.
    pub fn fill(&mut self, size: usize) -> &mut [u8] {
        self.keep(0, size);
        let begin = self.begin;
        &mut self.room[begin..begin + self.size]
    }

    /// At most `size` bytes that begin on the alignment.
    pub(crate) fn aligned_mut(&mut self, size: usize) -> &mut [u8] {
        let begin = self.first_aligned();
        let end = (begin + size).min(self.room.len());
        &mut self.room[begin..end]
    }

    /// Says that `size` bytes from the `skip`-th aligned one on are what was read.
    pub(crate) fn keep(&mut self, skip: usize, size: usize) {
        self.begin = (self.first_aligned() + skip).min(self.room.len());
        self.size = size.min(self.room.len() - self.begin);
    }

    fn first_aligned(&self) -> usize {
        self.room.as_ptr().align_offset(ALIGNMENT).min(self.room.len())
    }
}

impl Deref for ReadBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.room[self.begin..self.begin + self.size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_what_was_asked_wherever_it_begins() {
        for capacity in [1, 4095, 4096, 4097, 256 * 1024] {
            let mut buffer = ReadBuffer::new(capacity);
            assert_eq!(buffer.fill(capacity).len(), capacity);
            for skip in [0, 1, 4095] {
                let size = (skip + capacity).next_multiple_of(ALIGNMENT);
                let room = buffer.aligned_mut(size);
                assert_eq!((room.len(), room.as_ptr().align_offset(ALIGNMENT)), (size, 0));
                room[skip] = 7;
                buffer.keep(skip, capacity);
                assert_eq!((buffer.len(), buffer[0]), (capacity, 7));
            }
        }
    }

    #[test]
    fn more_than_there_is_room_for_is_cut_not_a_crash() {
        let mut buffer = ReadBuffer::new(100);
        assert!(buffer.fill(1 << 20).len() < 1 << 20);
        buffer.keep(1 << 20, 5);
        assert!(buffer.is_empty());
    }
}
