//! How many connections there may be, and from whom.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::counters::Count;
use super::limits::HttpLimits;

/// The connections that there are.
pub(crate) struct Admission {
    limits: HttpLimits,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    total: usize,
    /// As many as there are connections at most; nobody is here with none.
    by_address: HashMap<IpAddr, usize>,
}

/// The place of one connection; dropped, it is free again.
pub(crate) struct Slot {
    admission: Arc<Admission>,
    address: Option<IpAddr>,
}

impl Admission {
    pub(crate) fn new(limits: HttpLimits) -> Admission {
        Admission { limits, open: Mutex::default() }
    }

    /// A place for a connection from there, or what to count instead.
    pub(crate) fn admit(self: &Arc<Admission>, from: IpAddr) -> Result<Slot, Count> {
        let from = from.to_canonical();
        let address = if self.limits.trust_loopback && from.is_loopback() { None } else { Some(network(from)) };
        let mut open = self.open();
        if open.total >= self.limits.max_connections {
            return Err(Count::TooManyConnections);
        }
        if let Some(address) = address {
            let count = open.by_address.entry(address).or_insert(0);
            if *count >= self.limits.max_connections_per_address {
                return Err(Count::TooManyFromAddress);
            }
            *count += 1;
        }
        open.total += 1;
        Ok(Slot { admission: Arc::clone(self), address })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.admission.open();
        open.total -= 1;
        let Some(address) = self.address else { return };
        if let Entry::Occupied(mut count) = open.by_address.entry(address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_connections: usize, trust_loopback: bool) -> Arc<Admission> {
        let limits =
            HttpLimits { max_connections, max_connections_per_address: 2, trust_loopback, ..HttpLimits::default() };
        Arc::new(Admission::new(limits))
    }

    #[test]
    fn one_address_cannot_take_all_places_and_gives_back_what_it_took() {
        let admission = admission(5, true);
        let admit = |text: &str| admission.admit(text.parse().unwrap());
        let mut slots: Vec<Slot> = (0..2).map(|_| admit("192.0.2.1").ok().unwrap()).collect();
        assert_eq!(admit("192.0.2.1").err(), Some(Count::TooManyFromAddress));
        assert_eq!(admit("::ffff:192.0.2.1").err(), Some(Count::TooManyFromAddress), "the same in disguise");
        slots.push(admit("2001:db8::1").ok().unwrap());
        slots.push(admit("2001:db8::ffff:1").ok().unwrap());
        assert_eq!(admit("2001:db8:0:0:7::").err(), Some(Count::TooManyFromAddress), "the same network");
        slots.push(admit("2001:db8:0:1::").ok().unwrap());
        assert_eq!(admit("192.0.2.2").err(), Some(Count::TooManyConnections));
        drop(slots);
        assert!(admit("192.0.2.1").is_ok() && admission.open().by_address.is_empty() && admission.open().total == 0);
    }

    #[test]
    fn a_proxy_of_this_host_speaks_for_many_if_it_is_trusted() {
        let from = IpAddr::from([127, 0, 0, 1]);
        let trusting = admission(3, true);
        let slots: Vec<_> = (0..4).map(|_| trusting.admit(from)).collect();
        assert_eq!(slots.iter().filter(|slot| slot.is_ok()).count(), 3);
        let careful = admission(3, false);
        let slots: Vec<_> = (0..3).map(|_| careful.admit(from)).collect();
        assert_eq!(slots.iter().filter(|slot| slot.is_ok()).count(), 2);
    }
}
