//! Small swarms, step by step: leeches with limits that fetch rarest first and pass pieces on, a seed that says only
//! what the super-seeder tells it to. What counts is what the seed sends until the others have a whole copy, and
//! that nobody ever waits for nothing.

use super::tests::{PIECE_BYTES, layout};
use super::*;
use metainfo::BLOCK_SIZE;
use std::collections::HashSet;

const STEP: Duration = Duration::from_millis(100);
const PIECES: u32 = 200;
const BLOCKS: u32 = PIECE_BYTES / BLOCK_SIZE;
const SIZE_BYTES: u64 = PIECES as u64 * PIECE_BYTES as u64;

/// What a leech is like. Rates are blocks a step: one is 160 kB/s.
#[derive(Clone, Copy)]
struct Kind {
    download: u32,
    upload: u32,
    /// Never says HAVE to those who say that they have the piece.
    silent: bool,
    /// Once it has all that it knows the seed to have, it asks the seed for nothing before its slots are next looked at.
    dozes: bool,
    /// It dozes, and its id does not say so.
    disguised: bool,
    /// Leaves after so many steps.
    leaves_at: Option<u32>,
    joins_at: u32,
}

const LEECH: Kind =
    Kind { download: 30, upload: 10, silent: false, dozes: false, disguised: false, leaves_at: None, joins_at: 0 };

/// Steps between two looks of a client at its slots, and those for which it takes none anew.
const SLOT_CYCLE: u32 = 300;
const SLOT_PAUSE: u32 = 100;

struct Leech {
    kind: Kind,
    here: bool,
    have: HashSet<u32>,
    /// What the seed has told it of.
    seed_has: HashSet<u32>,
    /// Pieces begun, with whom, and how many blocks of it are there. `None` is the seed.
    begun: HashMap<u32, (Option<u32>, u32)>,
    interested: bool,
    /// It asks the seed for nothing before this step.
    dozes_until: u32,
}

struct Swarm {
    seeder: Option<SuperSeeder<u32>>,
    layout: FileLayout,
    leeches: Vec<Leech>,
    now: Duration,
    step: u32,
    seed_upload: u32,
    sent_bytes: u64,
    sent_at_copy: Option<u64>,
    idle_steps: u32,
    ended: Vec<SuperSeedEnd>,
    limited: bool,
}

impl Swarm {
    fn new(kinds: &[Kind], seed_upload: u32, mode: SuperSeeding, random: u64) -> Swarm {
        let layout = layout(PIECES);
        let leech = |kind: &Kind| Leech {
            kind: *kind,
            here: false,
            have: HashSet::new(),
            seed_has: HashSet::new(),
            begun: HashMap::new(),
            interested: false,
            dozes_until: 0,
        };
        Swarm {
            seeder: SuperSeeder::new(mode, &layout, random),
            leeches: kinds.iter().map(leech).collect(),
            layout,
            now: Duration::ZERO,
            step: 0,
            seed_upload,
            sent_bytes: 0,
            sent_at_copy: None,
            idle_steps: 0,
            ended: Vec::new(),
            limited: false,
        }
    }

    fn seeder(&mut self, call: impl FnOnce(&mut SuperSeeder<u32>, &mut Vec<SuperSeedAction<u32>>)) {
        let mut out = Vec::new();
        if let Some(seeder) = &mut self.seeder {
            call(seeder, &mut out);
        }
        for action in out {
            match action {
                SuperSeedAction::Reveal { peer, piece } => {
                    self.leeches[peer as usize].seed_has.insert(piece);
                }
                SuperSeedAction::RevealAll { peer } => self.leeches[peer as usize].seed_has.extend(0..PIECES),
                SuperSeedAction::Began => {}
                SuperSeedAction::Ended(end) => self.ended.push(end),
            }
        }
    }

    fn come_and_go(&mut self) {
        for n in 0..self.leeches.len() {
            let (kind, now) = (self.leeches[n].kind, self.now);
            if kind.joins_at == self.step {
                self.leeches[n].here = true;
                let mut hide = false;
                self.seeder(|seeder, out| {
                    hide = seeder.handle_joined(now, n as u32, kind.dozes && !kind.disguised, out);
                    seeder.handle_listed(now, n as u32, [], out);
                });
                if !hide {
                    self.leeches[n].seed_has.extend(0..PIECES);
                }
            }
            if kind.leaves_at == Some(self.step) {
                self.leeches[n].here = false;
                let have = &self.leeches[n].have;
                let pieces: Vec<PieceIndex> = have.iter().map(|index| self.layout.piece(*index).unwrap()).collect();
                self.seeder(|seeder, out| seeder.handle_gone(now, n as u32, pieces, out));
                for leech in &mut self.leeches {
                    leech.begun.retain(|_, (source, _)| *source != Some(n as u32));
                }
            }
        }
    }

    fn copies(&self, piece: u32) -> usize {
        self.leeches.iter().filter(|leech| leech.here && leech.have.contains(&piece)).count()
    }

    /// The piece that `to` fetches next from `source`: one that it has begun there, else the rarest.
    fn pick(&self, to: usize, source: Option<u32>, rarity: &[usize]) -> Option<u32> {
        let leech = &self.leeches[to];
        if let Some((piece, _)) = leech.begun.iter().filter(|(_, (from, _))| *from == source).min() {
            return Some(*piece);
        }
        let offers = match source {
            None => &leech.seed_has,
            Some(source) => &self.leeches[source as usize].have,
        };
        let wanted = offers.iter().filter(|piece| !leech.have.contains(piece) && !leech.begun.contains_key(piece));
        // Ties fall differently for each leech.
        let order =
            |piece: &&u32| (rarity[**piece as usize], (**piece).wrapping_mul(2_654_435_761).rotate_left(to as u32));
        wanted.min_by_key(order).copied()
    }

    /// One block from a source to a leech. False if it wants none.
    fn move_block(&mut self, to: usize, source: Option<u32>, rarity: &[usize]) -> bool {
        if source.is_none() && self.step < self.leeches[to].dozes_until {
            return false;
        }
        let Some(piece) = self.pick(to, source, rarity) else { return false };
        let (now, index) = (self.now, self.layout.piece(piece).unwrap());
        if source.is_none() {
            let mut served = true;
            self.seeder(|seeder, _| served = seeder.handle_request(now, to as u32, index));
            assert!(served, "what a peer was told of is served");
            self.sent_bytes += u64::from(BLOCK_SIZE);
            self.seeder(|seeder, out| seeder.handle_sent(now, to as u32, index, u64::from(BLOCK_SIZE), out));
        }
        let leech = &mut self.leeches[to];
        let (_, blocks) = leech.begun.entry(piece).or_insert((source, 0));
        *blocks += 1;
        if *blocks == BLOCKS {
            leech.begun.remove(&piece);
            leech.have.insert(piece);
            if !(leech.kind.silent && leech.seed_has.contains(&piece)) {
                self.seeder(|seeder, out| seeder.handle_has(now, to as u32, index, out));
            }
        }
        true
    }

    fn step(&mut self) {
        self.come_and_go();
        let now = self.now;
        for n in 0..self.leeches.len() {
            let leech = &mut self.leeches[n];
            let interested = leech.here && leech.seed_has.iter().any(|piece| !leech.have.contains(piece));
            if interested != leech.interested {
                leech.interested = interested;
                if leech.kind.dozes && !interested && self.step > 0 {
                    leech.dozes_until = (self.step + SLOT_PAUSE).next_multiple_of(SLOT_CYCLE);
                }
                self.seeder(|seeder, out| seeder.handle_wishes(now, n as u32, (interested, interested), out));
            }
        }
        if self.step.is_multiple_of(10) {
            let limited = std::mem::take(&mut self.limited);
            self.seeder(|seeder, out| seeder.handle_tick(now, limited, out));
        }
        let rarity: Vec<usize> = (0..PIECES).map(|piece| self.copies(piece)).collect();
        let mut room: Vec<u32> = self.leeches.iter().map(|leech| leech.kind.download * u32::from(leech.here)).collect();
        for source in (0..=self.leeches.len()).map(|n| n.checked_sub(1)) {
            let mut left = match source {
                None => self.seed_upload,
                Some(n) => self.leeches[n].kind.upload * u32::from(self.leeches[n].here),
            };
            let mut wanting: Vec<usize> = (0..self.leeches.len()).filter(|n| Some(*n) != source).collect();
            let first = self.step as usize % wanting.len().max(1);
            wanting.rotate_left(first);
            while left > 0 && !wanting.is_empty() {
                wanting.retain(|to| {
                    let moves = left > 0 && room[*to] > 0 && self.move_block(*to, source.map(|n| n as u32), &rarity);
                    (left, room[*to]) = (left - u32::from(moves), room[*to] - u32::from(moves));
                    moves
                });
            }
            if source.is_none() {
                self.limited |= left == 0;
                self.idle_steps += u32::from(left == self.seed_upload && self.sent_at_copy.is_none());
            }
        }
        if self.sent_at_copy.is_none() && (0..PIECES).all(|piece| self.copies(piece) > 0) {
            self.sent_at_copy = Some(self.sent_bytes);
        }
        self.step += 1;
        self.now += STEP;
    }

    /// Runs until all who stay have everything; returns the seed's bytes for the first copy, over the size.
    fn run(&mut self) -> f64 {
        let left = |leech: &Leech| {
            let stays = leech.here && leech.kind.leaves_at.is_none();
            (stays || leech.kind.joins_at > 0 && !leech.here && leech.kind.leaves_at.is_none())
                && leech.have.len() < PIECES as usize
        };
        while self.step == 0 || self.leeches.iter().any(left) {
            self.step();
            assert!(self.step < 6000, "the swarm stalled: {:?}", self.ended);
        }
        self.sent_at_copy.map_or(f64::INFINITY, |bytes| bytes as f64 / SIZE_BYTES as f64)
    }
}

fn leeches(count: usize, change: impl Fn(usize, &mut Kind)) -> Vec<Kind> {
    (0..count)
        .map(|n| {
            let mut kind = LEECH;
            change(n, &mut kind);
            kind
        })
        .collect()
}

fn worst(kinds: &[Kind], seed_upload: u32, mode: SuperSeeding) -> (f64, u32) {
    worst_with(kinds, seed_upload, mode, 10)
}

/// Over several seeds: the worst cost of the first copy, and the steps that it took until all had everything. Until the
/// first copy is there, the seed may be idle for so many steps.
fn worst_with(kinds: &[Kind], seed_upload: u32, mode: SuperSeeding, idle_limit: u32) -> (f64, u32) {
    let runs = (1..=4).map(|random| {
        let mut swarm = Swarm::new(kinds, seed_upload, mode, random);
        let cost = swarm.run();
        assert!(swarm.idle_steps <= idle_limit, "idle for {} steps of {}", swarm.idle_steps, swarm.step);
        (cost, swarm.step)
    });
    runs.fold((0.0, 0), |worst, run| (worst.0.max(run.0), worst.1.max(run.1)))
}

#[test]
fn the_first_copy_costs_its_size() {
    let (cost, steps) = worst(&leeches(10, |_, _| {}), 50, SuperSeeding::Auto);
    assert!(cost <= 1.01, "{cost}");
    let (_, plain) = worst(&leeches(10, |_, _| {}), 50, SuperSeeding::Off);
    assert!(steps <= plain * 11 / 10, "{steps} steps, {plain} without");
}

#[test]
fn one_slow_peer_does_not_make_the_first_copy_dear_or_late() {
    let kinds = leeches(10, |n, kind| {
        if n == 3 {
            (kind.download, kind.upload) = (1, 1);
        }
    });
    let (cost, _) = worst(&kinds, 50, SuperSeeding::Auto);
    assert!(cost <= 1.05, "{cost}");
}

#[test]
fn peers_that_leave_cost_what_they_took_and_no_more() {
    let kinds = leeches(10, |n, kind| {
        if n == 4 {
            kind.leaves_at = Some(30);
        }
        kind.upload = 30;
    });
    let (cost, _) = worst(&kinds, 50, SuperSeeding::Auto);
    assert!(cost <= 1.05, "{cost}");
}

#[test]
fn peers_that_keep_everything_to_themselves_get_less() {
    let kinds = leeches(10, |n, kind| {
        if n < 3 {
            kind.upload = 0;
        }
        kind.upload *= 3;
    });
    let mut swarm = Swarm::new(&kinds, 50, SuperSeeding::On, 1);
    while swarm.sent_at_copy.is_none() {
        swarm.step();
    }
    let cost = swarm.sent_at_copy.unwrap() as f64 / SIZE_BYTES as f64;
    assert!(cost <= 1.05, "{cost}");
    swarm.run();
    let (cost, _) = worst(&kinds, 50, SuperSeeding::Auto);
    assert!(cost <= 1.05, "{cost}");
}

#[test]
fn clients_that_do_not_tell_us_of_what_we_told_them_of_are_not_starved() {
    let (cost, steps) = worst_with(&leeches(10, |_, kind| kind.silent = true), 50, SuperSeeding::Auto, 70);
    assert!(cost <= 1.05, "{cost}");
    let (_, plain) = worst(&leeches(10, |_, _| {}), 50, SuperSeeding::Off);
    assert!(steps <= plain * 13 / 10, "{steps} steps, {plain} without");
}

#[test]
fn clients_that_fall_asleep_are_kept_awake_and_still_make_the_first_copy_cheap() {
    let dozers = |count, disguised| leeches(10, |n, kind| (kind.dozes, kind.disguised) = (n < count, disguised));
    let (cost, steps) = worst(&dozers(3, false), 50, SuperSeeding::Auto);
    assert!(cost <= 1.1, "{cost}");
    let (plain_cost, plain) = worst(&dozers(10, false), 50, SuperSeeding::Off);
    assert!(steps <= plain * 11 / 10, "{steps} steps, {plain} without");
    let (cost, _) = worst(&dozers(10, false), 50, SuperSeeding::Auto);
    assert!(cost <= plain_cost - 0.1, "{cost}, {plain_cost} without");
    // A fast seed is where they would have all that they were told of before they are told of more.
    let (_, steps) = worst(&dozers(10, false), 1000, SuperSeeding::Auto);
    let (_, asleep) = worst(&dozers(10, true), 1000, SuperSeeding::Auto);
    assert!(steps * 2 <= asleep, "{steps} steps, {asleep} if we do not know them");
}

#[test]
fn peers_that_come_one_by_one_are_served() {
    let kinds = leeches(12, |n, kind| kind.joins_at = 15 * n as u32);
    let (cost, _) = worst(&kinds, 50, SuperSeeding::On);
    assert!(cost <= 1.05, "{cost}");
    // The first one was alone for so long that it was told everything, and takes what others could have given it.
    let (cost, _) = worst(&kinds, 50, SuperSeeding::Auto);
    assert!(cost <= 1.15, "{cost}");
    let (plain, _) = worst(&kinds, 50, SuperSeeding::Off);
    assert!(cost <= plain - 0.1, "{cost}, {plain} without");
}

#[test]
fn a_leech_that_is_alone_is_as_fast_as_without() {
    let (_, steps) = worst(&leeches(1, |_, _| {}), 50, SuperSeeding::Auto);
    let (_, plain) = worst(&leeches(1, |_, _| {}), 50, SuperSeeding::Off);
    assert!(steps <= plain + 5, "{steps} steps, {plain} without");
}

#[test]
fn a_hundred_peers_of_an_unlimited_seed_are_no_slower_than_without() {
    let kinds = leeches(60, |_, kind| (kind.download, kind.upload) = (6, 3));
    let (cost, steps) = worst(&kinds, 100_000, SuperSeeding::Auto);
    assert!(cost <= 1.05, "{cost}");
    let (_, plain) = worst(&kinds, 100_000, SuperSeeding::Off);
    assert!(steps <= plain * 2, "{steps} steps, {plain} without");
}
