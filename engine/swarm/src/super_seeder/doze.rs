//! Clients that fall asleep: once they have all that they were told of, they ask us for nothing for up to half a minute.
//! They are told of more before they get there; if there is nothing more to tell, of everything.

use super::budget::per_second;
use super::peer::{HOLDS_LIMIT, LEAST_WINDOW_PIECES, Peer};
use super::{SuperSeedAction, SuperSeeder};
use std::hash::Hash;
use std::time::Duration;
use wire::PeerId;

/// What such a client knows of and has not finished, in time: the way there and back, and some for both programs.
const RESERVE_TIME: Duration = Duration::from_millis(500);

/// Before its rate is known, in pieces. In a slow start of TCP it finishes one more while it tells us of the first,
/// and two more until the answer is there.
const FIRST_PIECES: u64 = 4;

/// The same in bytes, where pieces are small.
const FIRST_BYTES: u64 = 1024 * 1024;

/// Its rate is taken over no less than this: two small pieces that were finished together tell little.
const RATE_TIME: Duration = Duration::from_millis(250);

/// Whether the client with this id falls asleep. rtorrent (libTorrent up to 0.13.8 at least, all that BEP 20 calls `lt`)
/// gives up its own slot for a peer that it wants nothing from, takes none anew for that peer for ten seconds, and then
/// only when it looks at its slots, every thirty. It still says that it is interested.
pub fn dozes(id: &PeerId) -> bool {
    id.client_code() == Some(*b"lt")
}

impl<P: Copy + Eq + Hash> SuperSeeder<P> {
    /// Tells a peer whose client falls asleep of so many pieces that it does not, whoever else waits: what lies with a
    /// sleeper is fetched by nobody.
    pub(super) fn keep_awake(&mut self, now: Duration, slot: u32, out: &mut Vec<SuperSeedAction<P>>) {
        let (piece_count, piece_bytes, last_tick) = (self.pieces.count(), self.piece_bytes, self.last_tick);
        while self.is_active() {
            let Some(peer) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
            let fetches = peer.interested && peer.unchoked && !peer.told_all && peer.have_count < piece_count;
            if !peer.dozes || !fetches || peer.held_bytes >= reserve_bytes(peer, now, last_tick, piece_bytes) {
                return;
            }
            let piece = if peer.hold_count() < HOLDS_LIMIT { self.pieces.draw() } else { None };
            if let Some(at) = peer.waits_at.take() {
                self.queue.remove(&(at, slot));
            }
            match piece {
                Some(piece) => self.reveal(now, slot, piece, out),
                None => {
                    peer.told_all = true;
                    out.push(SuperSeedAction::RevealAll { peer: peer.key });
                }
            }
        }
    }
}

fn reserve_bytes<P>(peer: &Peer<P>, now: Duration, last_tick: Duration, piece_bytes: u64) -> u64 {
    let elapsed = now.saturating_sub(last_tick.max(peer.joined)).max(RATE_TIME);
    let rate = peer.rate.max(per_second(peer.finished_bytes, elapsed));
    let least_bytes =
        if peer.rate > 0 { LEAST_WINDOW_PIECES * piece_bytes } else { FIRST_BYTES.max(FIRST_PIECES * piece_bytes) };
    least_bytes.max(rate * RESERVE_TIME.as_millis() as u64 / 1000)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Actions, Fixture, revealed};
    use super::super::{SuperSeedAction, SuperSeeding};
    use super::*;

    /// A client that falls asleep, has nothing and wants what it is told of.
    fn join(fixture: &mut Fixture, peer: u32) -> Actions {
        let (mut out, now) = (Actions::new(), fixture.now);
        assert!(fixture.seeder.handle_joined(now, peer, true, &mut out), "it is greeted like others");
        fixture.seeder.handle_listed(now, peer, [], &mut out);
        fixture.seeder.handle_wishes(now, peer, (true, true), &mut out);
        out
    }

    #[test]
    fn it_knows_of_more_than_it_has_until_it_knows_of_all() {
        let mut fixture = Fixture::new(SuperSeeding::On, 40);
        let mut told = revealed(&join(&mut fixture, 1), 1);
        assert_eq!(told.len(), FIRST_PIECES as usize);
        for had in 0.. {
            assert!(had < told.len(), "it would fall asleep");
            let out = fixture.has(1, told[had]);
            told.extend(revealed(&out, 1));
            if out.contains(&SuperSeedAction::RevealAll { peer: 1 }) {
                assert_eq!(told.len(), 40, "there was more to tell it of");
                return;
            }
        }
    }

    #[test]
    fn it_is_told_of_more_even_if_others_have_taken_up_what_the_upload_sends() {
        let mut fixture = Fixture::new(SuperSeeding::On, 400);
        let told = revealed(&join(&mut fixture, 0), 0);
        for peer in 1..30 {
            let (mut out, now) = (Actions::new(), fixture.now);
            fixture.seeder.handle_joined(now, peer, false, &mut out);
            fixture.seeder.handle_listed(now, peer, [], &mut out);
            fixture.seeder.handle_wishes(now, peer, (true, true), &mut out);
        }
        for piece in told {
            assert!(!revealed(&fixture.has(0, piece), 0).is_empty());
        }
    }

    #[test]
    fn if_it_sleeps_all_the_same_it_is_told_everything_when_it_loses_its_pieces() {
        let mut fixture = Fixture::new(SuperSeeding::On, 40);
        join(&mut fixture, 1);
        assert!(fixture.wait(3).is_empty());
        assert!(fixture.wait(1).contains(&SuperSeedAction::RevealAll { peer: 1 }));
    }

    #[test]
    fn rtorrent_falls_asleep_and_the_other_libtorrent_does_not() {
        for (id, expected) in [(b"-lt0D80-", true), (b"-LT20B0-", false), (b"-SW0100-", false), (b"M7-9-2--", false)] {
            let mut bytes = [b'x'; 20];
            bytes[..8].copy_from_slice(id);
            assert_eq!(dozes(&PeerId(bytes)), expected, "{}", id.escape_ascii());
        }
    }
}
