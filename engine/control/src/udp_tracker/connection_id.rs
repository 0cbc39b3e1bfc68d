//! Connection ids that need no table: a keyed hash of the client's address and of the minute, which only who receives
//! at that address can know (BEP 15).

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// A client may use an id for one minute after it got it, a tracker takes it for two (BEP 15). The current window and
/// two before it make two to three minutes.
const WINDOW_S: u64 = 60;
const OLD_WINDOWS: u64 = 2;

/// Makes and checks connection ids.
pub(super) struct ConnectionIds {
    /// With window and address it fills one block of the hash.
    secret: [u8; 24],
}

impl ConnectionIds {
    pub(super) fn new() -> Result<ConnectionIds, getrandom::Error> {
        let mut secret = [0; 24];
        getrandom::fill(&mut secret)?;
        Ok(ConnectionIds { secret })
    }

    /// The id for a client at `ip`, `uptime` after the start.
    pub(super) fn make(&self, uptime: Duration, ip: IpAddr) -> u64 {
        self.for_window(uptime.as_secs() / WINDOW_S, ip)
    }

    /// Whether `id` was made for `ip` not too long ago.
    pub(super) fn check(&self, uptime: Duration, ip: IpAddr, id: u64) -> bool {
        let newest = uptime.as_secs() / WINDOW_S;
        // The id names its window, so that one hash is enough to check it.
        let age = (newest as u8).wrapping_sub((id >> 56) as u8);
        let window = newest.checked_sub(u64::from(age)).filter(|_| u64::from(age) <= OLD_WINDOWS);
        window.is_some_and(|window| self.for_window(window, ip) == id)
    }

    fn for_window(&self, window: u64, ip: IpAddr) -> u64 {
        let ip: Ipv6Addr = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut message = [0; 48];
        message[..24].copy_from_slice(&self.secret);
        message[24..32].copy_from_slice(&window.to_be_bytes());
        message[32..].copy_from_slice(&ip.octets());
        let digest = hash::sha256(&message).0;
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        id[0] = window as u8;
        u64::from_be_bytes(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_holds_for_its_address_and_for_two_minutes() {
        let ids = ConnectionIds::new().unwrap();
        let (ip, other): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        for start in [0, 59, 60, 256 * 60 - 1, 1_000_000] {
            let at = |seconds: u64| Duration::from_secs(start + seconds);
            let id = ids.make(at(0), ip);
            assert!(ids.check(at(0), ip, id) && ids.check(at(120), ip, id));
            assert!(!ids.check(at(181), ip, id), "too old");
            assert!(!ids.check(at(0), other, id));
            assert!(!ids.check(at(0), ip, id ^ 1));
        }
        assert!(!ids.check(Duration::ZERO, ip, tracker::udp::PROTOCOL_ID));
    }

    #[test]
    fn another_trackers_id_is_worth_nothing() {
        let ip: IpAddr = [10, 0, 0, 1].into();
        let id = ConnectionIds::new().unwrap().make(Duration::ZERO, ip);
        assert!(!ConnectionIds::new().unwrap().check(Duration::ZERO, ip, id));
    }
}
