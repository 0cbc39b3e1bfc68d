//! The torrents under embargo, as our own tracker keeps them from those who may not have them yet.

use hash::InfoHash;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use swarm::Gate;

/// How long, beyond the time after which it should announce again, somebody who has shown the key is admitted: an announce
/// that is lost is repeated within this.
const GUEST_SLACK: Duration = Duration::from_secs(10 * 60);

/// Names of torrents that are gone before their time of which the gates are kept; beyond it the longest gone are forgotten.
pub(super) const AWAY_LIMIT: usize = 4096;

/// The gates, by the names of their torrents.
pub(super) struct Gates {
    by_name: HashMap<InfoHash, Arc<Gate>>,
    /// Those of them whose torrents are not here now, the longest gone first.
    away: VecDeque<InfoHash>,
    /// Makes names that nobody can guess.
    secret: [u8; 8],
}

/// Whether somebody may hear of a torrent.
pub(super) enum Admission {
    /// As everybody may, or as one of the gate's networks, or as a guest who need not show the key again.
    Free,
    /// It has shown the key.
    ByKey(Arc<Gate>),
    /// Not yet.
    Refused,
}

impl Gates {
    pub(super) fn new(secret: u64) -> Gates {
        Gates { by_name: HashMap::new(), away: VecDeque::new(), secret: secret.to_be_bytes() }
    }

    /// The name under which strangers find on an open tracker what they would find of any torrent: each other.
    pub(super) fn stand_in(&self, info_hash: InfoHash) -> InfoHash {
        let mut seed = [0; 28];
        seed[..20].copy_from_slice(&info_hash.0);
        seed[20..].copy_from_slice(&self.secret);
        hash::sha1(&seed).into()
    }

    pub(super) fn set(&mut self, info_hash: InfoHash, gate: Option<Arc<Gate>>) {
        self.away.retain(|name| *name != info_hash);
        match gate {
            Some(gate) => self.by_name.insert(info_hash, gate),
            None => self.by_name.remove(&info_hash),
        };
    }

    /// A torrent is gone, for a check or for good: strangers must not meet those who have it before its time.
    pub(super) fn keep(&mut self, info_hash: InfoHash) {
        if !self.by_name.contains_key(&info_hash) || self.away.contains(&info_hash) {
            return;
        }
        self.away.push_back(info_hash);
        if self.away.len() > AWAY_LIMIT
            && let Some(oldest) = self.away.pop_front()
        {
            tracing::warn!(info_hash = %oldest, "too many torrents are gone before their time: the embargo of this one is forgotten");
            self.by_name.remove(&oldest);
        }
    }

    /// Forgets those whose torrents are gone and whose time has come: nobody else looks at the time for them.
    pub(super) fn sweep(&mut self, unix_s: u64) {
        let by_name = &mut self.by_name;
        self.away.retain(|name| {
            let is_shut = by_name.get(name).is_some_and(|gate| !gate.is_open() && !gate.is_due(unix_s));
            if !is_shut {
                by_name.remove(name);
            }
            is_shut
        });
    }

    pub(super) fn admission(&self, info_hash: InfoHash, ip: IpAddr, key: Option<&str>, now: Duration) -> Admission {
        // Most trackers have none, and most torrents are open.
        let Some(gate) = self.by_name.get(&info_hash).filter(|gate| !gate.is_open()) else { return Admission::Free };
        if key.is_some_and(|key| gate.is_key(key)) {
            // Who finds no room among the guests could connect to nobody.
            return match gate.has_room_for(ip, now) {
                true => Admission::ByKey(gate.clone()),
                false => Admission::Refused,
            };
        }
        if gate.admits(ip, now) { Admission::Free } else { Admission::Refused }
    }
}

impl Admission {
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Admission::Refused)
    }

    /// The announce was taken: who has shown the key is admitted until its next one is overdue.
    pub(super) fn admit(self, ip: IpAddr, now: Duration, interval_s: u32) {
        if let Admission::ByKey(gate) = self {
            gate.add_guest(ip, now, now + Duration::from_secs(interval_s.into()) + GUEST_SLACK);
        }
    }
}
