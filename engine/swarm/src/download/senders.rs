//! Who sent the blocks that are not verified yet, also after the connection ended, and which addresses had a part in failed
//! pieces.

use super::limits::STRUCK_ADDRESSES_LIMIT;
use super::open_pieces::NOBODY;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// Everybody that has sent a block which is not verified yet, or is connected.
#[derive(Debug)]
pub(super) struct Senders {
    entries: Vec<Sender>,
    vacant: Vec<u32>,
    strikes: HashMap<IpAddr, u8>,
    /// The addresses of `strikes`, those struck first in front.
    struck: VecDeque<IpAddr>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Sender {
    pub(super) address: IpAddr,
    /// The peer's slot; `NOBODY` once it is gone.
    pub(super) slot: u32,
    /// Blocks of it in open pieces, and in the failed copies of those on parole.
    hold_count: u32,
}

impl Senders {
    pub(super) fn new() -> Senders {
        Senders { entries: Vec::new(), vacant: Vec::new(), strikes: HashMap::new(), struck: VecDeque::new() }
    }

    pub(super) fn join(&mut self, slot: u32, address: IpAddr) -> u32 {
        let sender = Sender { address, slot, hold_count: 0 };
        if let Some(index) = self.vacant.pop() {
            self.entries[index as usize] = sender;
            return index;
        }
        self.entries.push(sender);
        self.entries.len() as u32 - 1
    }

    pub(super) fn leave(&mut self, sender: u32) {
        self.entries[sender as usize].slot = NOBODY;
        self.vacate(sender);
    }

    pub(super) fn hold(&mut self, sender: u32) {
        self.entries[sender as usize].hold_count += 1;
    }

    pub(super) fn release(&mut self, sender: u32) {
        self.entries[sender as usize].hold_count -= 1;
        self.vacate(sender);
    }

    pub(super) fn get(&self, sender: u32) -> Sender {
        self.entries[sender as usize]
    }

    fn vacate(&mut self, sender: u32) {
        let entry = self.entries[sender as usize];
        if entry.slot == NOBODY && entry.hold_count == 0 {
            self.vacant.push(sender);
        }
    }

    /// The address had a part in a piece that failed, again. How often that makes it.
    pub(super) fn strike(&mut self, address: IpAddr) -> u8 {
        let count = self.strikes.entry(address).or_insert(0);
        *count = count.saturating_add(1);
        let count = *count;
        if count == 1 {
            self.struck.push_back(address);
            if self.struck.len() > STRUCK_ADDRESSES_LIMIT
                && let Some(oldest) = self.struck.pop_front()
            {
                self.strikes.remove(&oldest);
            }
        }
        count
    }

    /// Whether the address had a part in pieces that failed.
    pub(super) fn is_struck(&self, address: IpAddr) -> bool {
        self.strikes.contains_key(&address)
    }

    /// Entries in use.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.entries.len() - self.vacant.len()
    }

    /// Compares what is held with what others count, by entry.
    #[cfg(test)]
    pub(super) fn check(&self, holds: &std::collections::BTreeMap<u32, u32>) {
        for (at, entry) in (0..).zip(&self.entries) {
            let vacant = self.vacant.contains(&at);
            assert_eq!(vacant, entry.slot == NOBODY && entry.hold_count == 0);
            assert_eq!(entry.hold_count, holds.get(&at).copied().unwrap_or(0));
        }
    }
}
