//! What our address looks like from outside: every answer tells it (BEP 42), no single one is believed.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::address::{is_local, is_usable, subnet};
use crate::limits::{MAX_VOTES, VOTES_NEEDED};

/// Votes of one family for its external address.
#[derive(Default)]
pub(crate) struct ExternalAddress {
    /// Who voted (one vote for each network) and for what, oldest first.
    votes: VecDeque<(IpAddr, IpAddr)>,
    elected: Option<IpAddr>,
}

impl ExternalAddress {
    /// Counts the vote of a node at `voter`.
    pub(crate) fn vote(&mut self, voter: IpAddr, seen: IpAddr) {
        let seen = seen.to_canonical();
        if is_local(seen) || !is_usable((seen, 1).into()) {
            return;
        }
        let voter = subnet(voter);
        self.votes.retain(|(known, _)| *known != voter);
        if self.votes.len() >= MAX_VOTES {
            self.votes.pop_front();
        }
        self.votes.push_back((voter, seen));
        let count = self.votes.iter().filter(|(_, address)| *address == seen).count();
        if count >= VOTES_NEEDED && count * 2 > self.votes.len() {
            self.elected = Some(seen);
        }
    }

    /// The address that a majority of networks sees.
    pub(crate) fn elected(&self) -> Option<IpAddr> {
        self.elected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voter(network: u8) -> IpAddr {
        [network, 1, 1, 1].into()
    }

    const OURS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));
    const LIE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));

    #[test]
    fn one_network_has_one_vote_however_many_nodes_it_runs() {
        let mut address = ExternalAddress::default();
        for host in 0..200 {
            address.vote([8, 8, 8, host].into(), LIE);
        }
        assert_eq!(address.elected(), None);
    }

    #[test]
    fn a_majority_elects_and_a_minority_of_liars_does_not() {
        let mut address = ExternalAddress::default();
        for network in 1..100 {
            address.vote(voter(network), if network % 4 == 0 { LIE } else { OURS });
            assert_ne!(address.elected(), Some(LIE));
        }
        assert_eq!(address.elected(), Some(OURS));
    }

    #[test]
    fn a_new_address_is_elected_once_most_see_it() {
        let mut address = ExternalAddress::default();
        for network in 1..100 {
            address.vote(voter(network), OURS);
        }
        for network in 100..150 {
            address.vote(voter(network), LIE);
        }
        assert_eq!(address.elected(), Some(LIE));
    }

    #[test]
    fn a_local_address_is_nobodys_external_one() {
        let mut address = ExternalAddress::default();
        for network in 1..100 {
            address.vote(voter(network), [192, 168, 0, 1].into());
        }
        assert_eq!(address.elected(), None);
    }
}
