//! Tokens without a table: a keyed hash of who asked and of the time, which only who receives there can know.

use std::net::IpAddr;

use crate::Millis;
use crate::limits::TOKEN_WINDOW_MS;

/// Makes and checks the tokens that an announce must show (BEP 5).
pub(crate) struct Tokens {
    secret: [u8; 32],
}

/// Eight bytes of the hash; guessing one takes longer than its window lasts.
pub(crate) type Token = [u8; 8];

impl Tokens {
    pub(crate) fn new(secret: [u8; 32]) -> Tokens {
        Tokens { secret }
    }

    pub(crate) fn make(&self, now: Millis, ip: IpAddr) -> Token {
        self.of_window(now / TOKEN_WINDOW_MS, ip)
    }

    /// Whether `token` was given to `ip` in this window or in the one before.
    pub(crate) fn check(&self, now: Millis, ip: IpAddr, token: &[u8]) -> bool {
        let window = now / TOKEN_WINDOW_MS;
        let before = window.checked_sub(1);
        [Some(window), before].into_iter().flatten().any(|window| self.of_window(window, ip) == token)
    }

    fn of_window(&self, window: u64, ip: IpAddr) -> Token {
        let mut message = [0; 56];
        message[..32].copy_from_slice(&self.secret);
        message[32..40].copy_from_slice(&window.to_be_bytes());
        let ip = match ip.to_canonical() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        message[40..].copy_from_slice(&ip.octets());
        let digest = hash::sha256(&message).0;
        std::array::from_fn(|index| digest[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_for_its_address_and_for_two_windows() {
        let tokens = Tokens::new([5; 32]);
        let (ip, other): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let token = tokens.make(1_000, ip);
        assert!(tokens.check(1_000, ip, &token) && tokens.check(2 * TOKEN_WINDOW_MS - 1, ip, &token));
        assert!(!tokens.check(2 * TOKEN_WINDOW_MS, ip, &token), "too old");
        assert!(!tokens.check(1_000, other, &token), "somebody else's");
        assert!(!tokens.check(1_000, ip, &token[..7]) && !tokens.check(1_000, ip, b""));
        assert!(!Tokens::new([6; 32]).check(1_000, ip, &token), "another node's");
    }
}
