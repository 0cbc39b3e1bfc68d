//! Who may have a torrent before its time: an embargo that ends for everybody at once. Whoever asks passes the address and
//! the time; when the moment has come is for `control` to say, so that shards and trackers change their mind together.
//!
//! Until then a gate admits the networks of its list, and *guests*: addresses that have shown the key to our tracker a
//! short while ago. A guest is an address, not a client: whoever shares it is let in with it.

mod network;

pub use network::{Network, NetworkError};

use hash::Sha256Digest;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::time::Duration;

/// Addresses that one gate admits by its key at a time; more are turned away until some have been silent too long.
pub const GUESTS_LIMIT: usize = 4096;

/// The fewest and the most bytes of a key: short ones can be guessed, and all of it is one segment of a URL's path.
pub const KEY_BYTES: (usize, usize) = (16, 128);

/// Stands for "only when somebody says so".
const NEVER: u64 = u64::MAX;

/// The embargo of one torrent, shared by all who could tell of it. Opens once and never shuts again.
pub struct Gate {
    is_open: AtomicBool,
    /// Seconds since 1970, or [`NEVER`].
    opens_at_unix_s: AtomicU64,
    /// Written only when an operator changes it.
    early: RwLock<Early>,
    /// Held for one look or one entry, and only while the gate is shut; shards do not wait for it.
    guests: Mutex<Guests>,
}

/// Who may come before the time.
struct Early {
    networks: Box<[Network]>,
    key: Option<KeyDigest>,
}

/// Admitted addresses.
#[derive(Default)]
struct Guests {
    /// Until when each is admitted, since the callers' common start.
    until: HashMap<IpAddr, Duration>,
    refused: u64,
}

/// What is kept of a key: enough to know it again, of no use to who reads it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct KeyDigest(Sha256Digest);

/// A key cannot be used. Says nothing of the key itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Too short to be secret, or too long for a URL.
    #[error("an early key has {} to {} characters; this one has {size}", KEY_BYTES.0, KEY_BYTES.1)]
    Size {
        /// Its bytes.
        size: usize,
    },
    /// It would have to be escaped in a URL, which clients do in different ways.
    #[error("an early key is made of letters, digits, `-`, `_`, `.` and `~`")]
    Characters,
}

impl Gate {
    /// A shut gate that opens at this time (seconds since 1970), or only when told where there is none. It admits
    /// `networks`, and whoever shows the key, if there is one.
    ///
    /// # Errors
    /// A [`KeyError`] for a key that could be guessed or does not go into a URL.
    pub fn new(opens_at_unix_s: Option<u64>, networks: Vec<Network>, key: Option<&str>) -> Result<Gate, KeyError> {
        Ok(Gate {
            is_open: AtomicBool::new(false),
            opens_at_unix_s: AtomicU64::new(opens_at_unix_s.unwrap_or(NEVER)),
            early: RwLock::new(Early::new(networks, key)?),
            guests: Mutex::default(),
        })
    }

    /// Whether everybody is admitted.
    pub fn is_open(&self) -> bool {
        // Nothing else is read by its say: a shard that sees it a moment later is that moment late.
        self.is_open.load(Ordering::Relaxed)
    }

    /// Admits everybody from now on.
    pub fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
        self.guests().until = HashMap::new();
    }

    /// Whether it is still shut and its time has come.
    pub fn is_due(&self, unix_s: u64) -> bool {
        !self.is_open() && self.opens_at_unix_s().is_some_and(|due| due <= unix_s)
    }

    /// When it opens, in seconds since 1970; `None` if only somebody's word opens it.
    pub fn opens_at_unix_s(&self) -> Option<u64> {
        Some(self.opens_at_unix_s.load(Ordering::Relaxed)).filter(|due| *due != NEVER)
    }

    /// Puts the opening off, or brings it forward. A gate that is open stays so.
    pub fn set_opens_at_unix_s(&self, opens_at_unix_s: Option<u64>) {
        self.opens_at_unix_s.store(opens_at_unix_s.unwrap_or(NEVER), Ordering::Relaxed);
    }

    /// Admits these networks and this key from now on, and no others. Guests of another key are guests no longer; who is
    /// connected already stays.
    ///
    /// # Errors
    /// A [`KeyError`] as for a new gate; then nothing has changed.
    pub fn set_early(&self, networks: Vec<Network>, key: Option<&str>) -> Result<(), KeyError> {
        let new = Early::new(networks, key)?;
        let mut early = self.early.write().unwrap_or_else(PoisonError::into_inner);
        let is_same_key = early.key == new.key;
        *early = new;
        drop(early);
        if !is_same_key {
            self.guests().until = HashMap::new();
        }
        Ok(())
    }

    /// Whether this address may have the torrent now. `now` is measured from the callers' common start.
    pub fn admits(&self, ip: IpAddr, now: Duration) -> bool {
        let ip = ip.to_canonical();
        self.is_open() || self.early().admits(ip) || self.guests().admits(ip, now)
    }

    /// The same for those who wait for nobody: `None` while the lists are being written, which is soon over.
    pub fn try_admits(&self, ip: IpAddr, now: Duration) -> Option<bool> {
        let ip = ip.to_canonical();
        if self.is_open() {
            return Some(true);
        }
        let is_early = match self.early.try_read() {
            Ok(early) => early.admits(ip),
            Err(TryLockError::Poisoned(early)) => early.into_inner().admits(ip),
            Err(TryLockError::WouldBlock) => return None,
        };
        if is_early {
            return Some(true);
        }
        match self.guests.try_lock() {
            Ok(guests) => Some(guests.admits(ip, now)),
            Err(TryLockError::Poisoned(guests)) => Some(guests.into_inner().admits(ip, now)),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether this is the key. Takes as long for a wrong one as for the right one.
    pub fn is_key(&self, key: &str) -> bool {
        let own = self.early().key;
        own.is_some_and(|own| own.is_of(key))
    }

    /// Whether there is room for a guest of this address. That there is none is counted.
    pub fn has_room_for(&self, ip: IpAddr, now: Duration) -> bool {
        self.guests().make_room(ip.to_canonical(), now)
    }

    /// Admits an address that has shown the key until `until`. False if there is no room for it, which is counted.
    pub fn add_guest(&self, ip: IpAddr, now: Duration, until: Duration) -> bool {
        let mut guests = self.guests();
        let ip = ip.to_canonical();
        let has_room = guests.make_room(ip, now);
        if has_room {
            guests.until.insert(ip, until);
        }
        has_room
    }

    /// Guests now, those of whom nothing was heard for too long among them.
    pub fn guest_count(&self) -> usize {
        self.guests().until.len()
    }

    /// How often there was no room for a guest.
    pub fn guests_refused(&self) -> u64 {
        self.guests().refused
    }

    fn early(&self) -> RwLockReadGuard<'_, Early> {
        // It is replaced as a whole.
        self.early.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn guests(&self) -> std::sync::MutexGuard<'_, Guests> {
        // The map is whole between any two calls.
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Early {
    fn new(networks: Vec<Network>, key: Option<&str>) -> Result<Early, KeyError> {
        Ok(Early { networks: networks.into_boxed_slice(), key: key.map(KeyDigest::of).transpose()? })
    }

    /// Whether the address may come without having shown the key.
    fn admits(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(ip))
    }
}

impl Guests {
    fn admits(&self, ip: IpAddr, now: Duration) -> bool {
        self.until.get(&ip).is_some_and(|until| now < *until)
    }

    /// Whether the address is here or could be, once those are forgotten who have been silent too long.
    fn make_room(&mut self, ip: IpAddr, now: Duration) -> bool {
        if self.until.len() >= GUESTS_LIMIT && !self.until.contains_key(&ip) {
            self.until.retain(|_, until| now < *until);
        }
        let has_room = self.until.len() < GUESTS_LIMIT || self.until.contains_key(&ip);
        self.refused += u64::from(!has_room);
        has_room
    }
}

/// Says nothing of the key but whether there is one.
impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let early = self.early();
        f.debug_struct("Gate")
            .field("is_open", &self.is_open())
            .field("opens_at_unix_s", &self.opens_at_unix_s())
            .field("networks", &early.networks)
            .field("has_key", &early.key.is_some())
            .finish_non_exhaustive()
    }
}

impl KeyDigest {
    fn of(key: &str) -> Result<KeyDigest, KeyError> {
        if key.len() < KEY_BYTES.0 || key.len() > KEY_BYTES.1 {
            return Err(KeyError::Size { size: key.len() });
        }
        // The unreserved ones (RFC 3986, 2.3).
        if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)) {
            return Err(KeyError::Characters);
        }
        Ok(KeyDigest(hash::sha256(key.as_bytes())))
    }

    /// All bytes are compared, and digests at that: how far two of them agree tells nothing of how far the keys do.
    fn is_of(self, key: &str) -> bool {
        if key.len() > KEY_BYTES.1 {
            return false;
        }
        let theirs = hash::sha256(key.as_bytes());
        let difference = self.0.0.iter().zip(theirs.0).fold(0, |sum, (own, other)| sum | (own ^ other));
        std::hint::black_box(difference) == 0
    }
}

#[cfg(test)]
mod tests;
