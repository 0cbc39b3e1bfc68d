//! Peers that stall, lie and spoil.

use super::*;

fn fingerprints(spoiled: &[u32]) -> Vec<u64> {
    (0..8).map(|block| u64::from(block) + if spoiled.contains(&block) { 100 } else { 0 }).collect()
}

fn bad(fixture: &mut Fixture, piece: PieceIndex, spoiled: &[u32]) {
    let fingerprints = fingerprints(spoiled);
    fixture.download.handle_verified(
        fixture.now,
        piece,
        PieceVerdict::Bad { bad_blocks: None, fingerprints: &fingerprints },
    );
    fixture.settle();
}

fn banned(fixture: &Fixture) -> Vec<u32> {
    let banned = fixture.actions.iter().filter_map(|action| match action {
        DownloadAction::Ban { peer, .. } => *peer,
        _ => None,
    });
    banned.collect()
}

#[test]
fn the_only_sender_of_a_spoiled_piece_is_banned_at_once() {
    let mut fixture = Fixture::new(4);
    fixture.seed(1);
    while fixture.whole.is_empty() {
        fixture.send(1);
    }
    let piece = fixture.whole.remove(0);
    bad(&mut fixture, piece, &[2]);
    assert_eq!(banned(&fixture), [1]);
    assert!(!fixture.download.have().contains(piece));
    fixture.gone(1);
    fixture.seed(2);
    fixture.run();
    assert!(fixture.download.is_complete());
}

/// One piece, half of it from each of two peers; the first one's blocks are bad.
fn a_piece_of_two(fixture: &mut Fixture) -> PieceIndex {
    fixture.seed(1);
    for _ in 0..4 {
        fixture.send(1);
    }
    fixture.download.handle_choked(fixture.now, 1);
    for block in std::mem::take(fixture.asked.get_mut(&1).unwrap()) {
        fixture.download.handle_rejected(fixture.now, 1, block);
    }
    fixture.settle();
    fixture.seed(2);
    while fixture.send(2).is_some() {}
    fixture.whole.pop().unwrap()
}

#[test]
fn a_good_copy_tells_who_spoiled_the_first() {
    let mut fixture = Fixture::new(1);
    let piece = a_piece_of_two(&mut fixture);
    bad(&mut fixture, piece, &[1]);
    assert_eq!(banned(&fixture), []);
    fixture.seed(3);
    fixture.tick(PAROLE_PATIENCE / 2);
    // Peer 2 is under suspicion, so the third one fetches the piece, by itself.
    assert_eq!((fixture.asked[&2].len(), fixture.asked[&3].len()), (0, 8));
    while fixture.send(3).is_some() {}
    assert!(fixture.download.wants_fingerprints(piece));
    let good = fingerprints(&[]);
    fixture.download.handle_verified(fixture.now, piece, PieceVerdict::Good { fingerprints: &good });
    fixture.settle();
    assert_eq!(banned(&fixture), [1]);
    assert!(fixture.download.is_complete());
    assert_eq!(fixture.download.senders.count(), 3);
}

#[test]
fn a_suspect_fetches_the_piece_if_nobody_else_does() {
    let mut fixture = Fixture::new(1);
    let piece = a_piece_of_two(&mut fixture);
    bad(&mut fixture, piece, &[1]);
    assert!(fixture.asked[&2].is_empty());
    fixture.tick(PAROLE_PATIENCE);
    assert_eq!(fixture.asked[&2].len(), 8);
    while fixture.send(2).is_some() {}
    let good = fingerprints(&[]);
    fixture.download.handle_verified(fixture.now, piece, PieceVerdict::Good { fingerprints: &good });
    fixture.settle();
    assert_eq!(banned(&fixture), [1]);
}

#[test]
fn the_culprit_is_found_after_it_left() {
    let mut fixture = Fixture::new(1);
    let piece = a_piece_of_two(&mut fixture);
    fixture.gone(1);
    bad(&mut fixture, piece, &[0, 3]);
    fixture.tick(PAROLE_PATIENCE);
    while fixture.send(2).is_some() {}
    let good = fingerprints(&[]);
    fixture.download.handle_verified(fixture.now, piece, PieceVerdict::Good { fingerprints: &good });
    fixture.settle();
    let address = traits(&[0; 20], true, 1).address.ip();
    let ban = DownloadAction::Ban { peer: None, address, reason: BanReason::BadBlock };
    assert!(fixture.actions.contains(&ban), "{:?}", fixture.actions);
    assert_eq!(fixture.download.senders.count(), 1);
}

#[test]
fn a_proved_bad_block_costs_one_block() {
    let mut fixture = Fixture::new(1);
    let piece = a_piece_of_two(&mut fixture);
    let verdict = PieceVerdict::Bad { bad_blocks: Some(&[2]), fingerprints: &[] };
    fixture.download.handle_verified(fixture.now, piece, verdict);
    fixture.settle();
    assert_eq!(banned(&fixture), [1]);
    // The other blocks of the culprit are thrown away, those of the other peer are not.
    assert_eq!(fixture.asked[&2].len(), 4);
}

#[test]
fn a_silent_peer_is_snubbed_and_others_fetch_its_blocks() {
    let mut fixture = Fixture::new(4);
    fixture.seed(1);
    fixture.tick(UNPROVEN_PATIENCE);
    assert!(fixture.download.is_snubbed(1));
    assert_eq!(fixture.asked[&1].len(), 1);
    fixture.seed(2);
    while fixture.send(2).is_some() {
        fixture.verify_all();
    }
    assert!(fixture.download.is_complete());
}

#[test]
fn a_silent_peer_does_not_take_again_what_it_was_asked_for_in_vain() {
    let mut fixture = Fixture::new(1);
    fixture.seed(1);
    fixture.seed(2);
    fixture.tick(UNPROVEN_PATIENCE);
    assert!(fixture.download.is_snubbed(1));
    assert_eq!((fixture.asked[&1].len(), fixture.asked[&2].len()), (0, 8));
}

#[test]
fn a_block_that_comes_late_is_kept() {
    let mut fixture = Fixture::new(1);
    fixture.seed(1);
    let block = fixture.asked[&1][5];
    fixture.tick(UNPROVEN_PATIENCE);
    assert_eq!(fixture.send_block(1, block), Arrival::Kept);
    assert!(!fixture.download.is_snubbed(1));
    fixture.settle();
    fixture.run();
    assert!(fixture.download.is_complete());
    assert_eq!(fixture.download.progress().wasted_bytes, 0);
}

#[test]
fn the_last_blocks_are_asked_of_several_and_cancelled_when_one_sends() {
    let mut fixture = Fixture::new(1);
    fixture.seed(1);
    fixture.seed(2);
    assert!(fixture.download.is_endgame());
    assert!(fixture.asked[&2].is_empty(), "a peer that was asked just now is given time");
    fixture.tick(HELP_AFTER);
    assert_eq!((fixture.asked[&1].len(), fixture.asked[&2].len()), (8, LEAST_HELP));
    fixture.send(2);
    assert_eq!((fixture.asked[&1].len(), fixture.asked[&2].len()), (7, LEAST_HELP));
    while fixture.send(2).is_some() {}
    fixture.verify_all();
    assert!(fixture.download.is_complete() && fixture.asked[&1].is_empty());
    assert_eq!(fixture.download.progress().wasted_bytes, 0);
}

#[test]
fn a_fast_peer_is_not_helped_by_a_slow_one() {
    let mut fixture = Fixture::new(40);
    fixture.seed(1);
    fixture.seed(2);
    while !fixture.download.is_endgame() {
        for _ in 0..5 {
            fixture.send(1);
        }
        fixture.send(2);
        fixture.verify_all();
        fixture.tick(Duration::from_millis(250));
    }
    fixture.download.handle_tick(fixture.now);
    let asked = |fixture: &Fixture, peer: u32| fixture.asked[&peer].iter().copied().collect::<HashSet<_>>();
    let shared = asked(&fixture, 1).intersection(&asked(&fixture, 2)).count();
    fixture.run();
    assert!(fixture.download.is_complete());
    assert!(shared <= 32, "{shared}");
    assert!(fixture.download.progress().wasted_bytes == 0);
}

#[test]
fn a_refused_request_is_not_repeated_at_once() {
    let mut fixture = Fixture::new(20);
    fixture.seed(1);
    for _ in 0..100 {
        let Some(block) = fixture.asked[&1].first().copied() else { break };
        fixture.asked.get_mut(&1).unwrap().remove(0);
        fixture.download.handle_rejected(fixture.now, 1, block);
        fixture.settle();
        assert!(!fixture.asked_pieces(1).contains(&block.piece().get()) || fixture.asked[&1].len() < 16);
        assert!(!fixture.asked[&1].contains(&block));
    }
    fixture.tick(REFUSED_TIME);
    fixture.run();
    assert!(fixture.download.is_complete());
}

#[test]
fn what_a_peer_refuses_again_and_again_it_is_asked_for_less_and_less_often() {
    let mut fixture = Fixture::new(1);
    fixture.seed(1);
    let tick = FIRST_REFUSED_TIME / 4;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        // All of its requests, as one that dropped the piece does: that is one refusal.
        for block in std::mem::take(fixture.asked.get_mut(&1).unwrap()) {
            assert!(fixture.download.handle_rejected(fixture.now, 1, block));
        }
        fixture.settle();
        let mut ticks = 0;
        while fixture.asked[&1].is_empty() {
            fixture.tick(tick);
            ticks += 1;
        }
        pauses.push((tick * ticks).as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    fixture.run();
    assert!(fixture.download.is_complete());
}

#[test]
fn a_peer_that_lists_its_pieces_for_ever_is_dropped() {
    let mut fixture = Fixture::new(20);
    fixture.seed(1);
    let mut some = Availability::new(20);
    for byte in 0..100 {
        some.replace(&[byte; 3]);
        fixture.download.handle_listed(1, &some);
        fixture.settle();
    }
    let drops = fixture.actions.iter().filter(|action| matches!(action, DownloadAction::Drop { .. })).count();
    assert_eq!(drops, 1);
}

#[test]
fn an_empty_piece_is_a_refusal() {
    let mut fixture = Fixture::new(2);
    fixture.seed(1);
    let block = fixture.asked.get_mut(&1).unwrap().remove(0);
    let (piece, begin) = (block.piece().get(), block.begin());
    assert_eq!(fixture.download.handle_piece_header(fixture.now, 1, piece, begin, 0), Incoming::Discard);
    fixture.seed(2);
    assert!(fixture.asked[&2].contains(&block));
}

#[test]
fn a_piece_that_nobody_can_finish_makes_room() {
    let mut fixture = Fixture::new(3);
    fixture.download.set_write_room(8);
    fixture.leech(1, [0]);
    fixture.send(1);
    fixture.gone(1);
    fixture.leech(2, [1, 2]);
    assert!(fixture.asked[&2].is_empty());
    fixture.tick(STALE_PIECE_TIME);
    assert_eq!(fixture.download.progress().abandoned_pieces, 1);
    fixture.run();
    assert_eq!(fixture.download.have().count(), 2);
}
