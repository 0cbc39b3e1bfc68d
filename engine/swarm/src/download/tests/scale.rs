//! Large torrents and many peers, and what a block costs.

use super::*;

/// So many leeches, each with half of the pieces, and one seed.
fn large(pieces: u32, leeches: u32) -> Fixture {
    let mut fixture = Fixture::of(torrent_of(u64::from(pieces) * u64::from(PIECE_BYTES), PIECE_BYTES), false);
    fixture.download.set_write_room(4_096);
    for peer in 0..leeches {
        fixture.join(peer, true);
        let bits: Vec<u8> = (0..pieces.div_ceil(8)).map(|byte| (byte.wrapping_mul(peer * 2 + 1) >> 3) as u8).collect();
        let mut some = Availability::new(pieces);
        some.replace(&bits);
        fixture.download.handle_listed(peer, &some);
        fixture.download.handle_unchoked(fixture.now, peer);
    }
    fixture.seed(leeches);
    fixture
}

#[test]
fn a_large_swarm_fetches_a_large_torrent() {
    let mut fixture = large(20_000, 200);
    for round in 0..40 {
        for peer in 0..201 {
            for _ in 0..4 {
                fixture.send(peer);
            }
        }
        fixture.verify_all();
        if round % 4 == 0 {
            fixture.tick(Duration::from_millis(250));
        }
    }
    let count = fixture.download.have().count();
    assert!(count > 1_000, "{count}");
    assert_eq!(fixture.download.progress().wasted_bytes, 0);
}

#[test]
fn a_block_costs_no_allocation() {
    let mut fixture = Fixture::new(4_000);
    fixture.seed(1);
    fixture.seed(2);
    let (mut actions, mut out) = (Vec::new(), Vec::new());
    let mut rounds = |fixture: &mut Fixture, count: u32| {
        for _ in 0..count {
            for peer in [1, 2] {
                let asked = fixture.asked.get_mut(&peer).unwrap();
                let block = asked.remove(0);
                if let Arrival::PieceWhole(piece) = fixture.send_block(peer, block) {
                    fixture.whole.clear();
                    let verdict = PieceVerdict::Good { fingerprints: &[] };
                    fixture.download.handle_verified(fixture.now, piece, verdict);
                }
                actions.clear();
                fixture.download.poll_actions(&mut actions);
                for peer in [1, 2] {
                    out.clear();
                    fixture.download.poll_requests(fixture.now, peer, &mut out);
                    fixture.asked.get_mut(&peer).unwrap().extend_from_slice(&out);
                }
            }
            fixture.now += Duration::from_millis(1);
        }
    };
    rounds(&mut fixture, 2_000);
    let counted = allocation_counter::measure(|| rounds(&mut fixture, 4_000));
    assert!(counted.count_total < 40, "{counted:?}");
    assert!(fixture.download.have().count() > 1_400);
}
