//! The shard's connections, under keys that a closed connection's successor does not inherit.

use crate::connection::Connection;
use crate::poller::Token;

/// Names one connection of this shard for as long as it lives, and nothing afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Key {
    slot: u32,
    generation: u32,
}

impl Key {
    pub(crate) fn token(self) -> Token {
        Token(u64::from(self.generation) << 32 | u64::from(self.slot))
    }

    pub(crate) fn from_token(token: Token) -> Key {
        Key { slot: token.0 as u32, generation: (token.0 >> 32) as u32 }
    }
}

/// A slab of connections.
#[derive(Default)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    count: usize,
}

#[derive(Default)]
struct Slot {
    /// Odd while the slot is taken, so that a token of ours never is all zeros or a listener's.
    generation: u32,
    connection: Option<Box<Connection>>,
}

impl Table {
    /// Reserves a key; the connection follows with [`Table::put`].
    pub(crate) fn reserve(&mut self) -> Key {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let entry = &mut self.slots[slot as usize];
        // Generations stay below 2^31, which keeps the tokens of listeners and doorbell out of reach.
        entry.generation = (entry.generation + 1) & 0x7fff_ffff;
        self.count += 1;
        Key { slot, generation: entry.generation }
    }

    /// Takes the connection out, to work on it; it must come back with [`Table::put`] or end with [`Table::free`].
    pub(crate) fn take(&mut self, key: Key) -> Option<Box<Connection>> {
        self.entry(key)?.connection.take()
    }

    /// Puts a connection in its place.
    pub(crate) fn put(&mut self, key: Key, connection: Box<Connection>) {
        if let Some(entry) = self.entry(key) {
            entry.connection = Some(connection);
        }
    }

    /// Gives the key up.
    pub(crate) fn free(&mut self, key: Key) {
        let Some(entry) = self.entry(key) else { return };
        entry.connection = None;
        entry.generation = (entry.generation + 1) & 0x7fff_ffff;
        self.free.push(key.slot);
        self.count -= 1;
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Connection> {
        self.entry(key)?.connection.as_deref_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The keys of all connections now.
    pub(crate) fn keys(&self, out: &mut Vec<Key>) {
        self.keys_of_part(0, 1, out);
    }

    /// The keys of every `parts`-th connection now, from slot `part` on.
    pub(crate) fn keys_of_part(&self, part: u32, parts: u32, out: &mut Vec<Key>) {
        out.extend(
            self.slots
                .iter()
                .enumerate()
                .skip(part as usize)
                .step_by(parts as usize)
                .filter(|(_, entry)| entry.connection.is_some())
                .map(|(slot, entry)| Key { slot: slot as u32, generation: entry.generation }),
        );
    }

    fn entry(&mut self, key: Key) -> Option<&mut Slot> {
        self.slots.get_mut(key.slot as usize).filter(|entry| entry.generation == key.generation)
    }
}
