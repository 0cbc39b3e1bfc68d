//! How much one connection may leave in the kernel. The kernel sizes a socket's send buffer itself, to twice the bytes that
//! the path holds (bandwidth times delay; `tcp_wmem` in tcp(7)), which no program can do better. What it does not
//! bound is the sum: bytes that were handed over and not sent yet, for peers that stopped taking them. That sum has a
//! budget here, shared out among the connections there are.

use crate::limits::{LEAST_UNSENT_BYTES, MOST_UNSENT_BYTES};
use rustix::fd::OwnedFd;
use socket2::SockRef;

/// The share of one connection in the budget for unsent bytes. A power of two, so that few comings and goings change it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UnsentShare(u32);

impl UnsentShare {
    /// The share of each of `connection_count` connections in `budget_bytes`.
    pub(crate) fn among(budget_bytes: usize, connection_count: usize) -> UnsentShare {
        let bytes = budget_bytes / connection_count.max(1).next_power_of_two();
        UnsentShare(bytes.clamp(LEAST_UNSENT_BYTES, MOST_UNSENT_BYTES) as u32)
    }

    /// Tells the kernel: it takes no more from us while so much is unsent, and says that there is room again once it is
    /// down to half (TCP_NOTSENT_LOWAT in tcp(7)).
    pub(crate) fn set(self, socket: &OwnedFd) {
        // Kernels before 3.12 do not know it. They bound each buffer alone.
        let _ = SockRef::from(socket).set_tcp_notsent_lowat(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_stay_within_the_budget_down_to_the_least() {
        const BUDGET: usize = 256 << 20;
        for count in [1, 2, 3, 100, 255, 256, 257, 1000, 2048] {
            let share = UnsentShare::among(BUDGET, count).0 as usize;
            assert!((LEAST_UNSENT_BYTES..=MOST_UNSENT_BYTES).contains(&share));
            assert!(share * count <= BUDGET || share == LEAST_UNSENT_BYTES, "{count} connections");
        }
        assert_eq!(UnsentShare::among(BUDGET, 0), UnsentShare::among(BUDGET, 1));
        assert_eq!(UnsentShare::among(BUDGET, 1_000_000).0 as usize, LEAST_UNSENT_BYTES);
    }
}
