//! Whether content fits the page cache, judged by what the kernel throws out, and what follows: how long pages that
//! were seen are taken to be there, and whether a cold read leaves its pages in the cache or passes it by.

use crate::limits::{
    ADMITTED_ONE_IN, ADMITTED_ROUND, EVICTED_ONE_IN, EVICTION_ROUND, FILL_BURST_BYTES, FILL_BYTES_PER_S,
    PRESSURE_MEMORY, RESIDENCY_TTL, RESIDENCY_TTL_MOVING,
};
use metainfo::PieceIndex;
use std::time::Duration;

/// What one shard knows of the page cache.
pub(crate) struct CachePolicy {
    pressed_until: Duration,
    /// Pages asked about, and pages of these that were thrown out though wanted; both halved every round.
    asked_pages: u64,
    evicted_pages: u64,
    round_end: Duration,
    /// Reads fill the page cache, and may throw out what was seen there.
    reading_until: Duration,
    /// Bytes that may be let in now, and when that was reckoned up.
    fill_left: u64,
    filled_at: Duration,
}

impl Default for CachePolicy {
    fn default() -> CachePolicy {
        CachePolicy {
            pressed_until: Duration::ZERO,
            asked_pages: 0,
            evicted_pages: 0,
            round_end: Duration::ZERO,
            reading_until: Duration::ZERO,
            fill_left: FILL_BURST_BYTES,
            filled_at: Duration::ZERO,
        }
    }
}

impl CachePolicy {
    /// Takes note of a look at the page cache: how many pages it was about, and how many of them were thrown out although
    /// peers still want them. If they are more than a few, there is more content than memory. A few are thrown out on
    /// any machine; content that fits heals by being read through the cache once more.
    pub(crate) fn note_look(&mut self, asked_pages: u64, evicted_pages: u64, now: Duration) {
        if now >= self.round_end {
            self.round_end = now + EVICTION_ROUND;
            self.asked_pages /= 2;
            self.evicted_pages /= 2;
        }
        self.asked_pages += asked_pages;
        self.evicted_pages += evicted_pages;
        if evicted_pages > 0 && self.evicted_pages * EVICTED_ONE_IN > self.asked_pages {
            self.pressed_until = now + PRESSURE_MEMORY;
        }
    }

    /// A cold read begins.
    pub(crate) fn note_read(&mut self, now: Duration) {
        self.reading_until = now + RESIDENCY_TTL;
    }

    fn is_pressed(&self, now: Duration) -> bool {
        now < self.pressed_until
    }

    /// Whether pages may be thrown out at any moment. Then hot blocks are better read than sent from the map: a read that
    /// may not wait cannot stall the shard, and tells the kernel that the page is in use. The kernel's reclaim does not look at
    /// the use of pages in maps like ours (`MADV_RANDOM`).
    pub(crate) fn is_moving(&self, now: Duration) -> bool {
        self.is_pressed(now) || now < self.reading_until
    }

    /// For how long pages that were seen resident are taken to be so.
    pub(crate) fn residency_ttl(&self, now: Duration) -> Duration {
        if self.is_moving(now) { RESIDENCY_TTL_MOVING } else { RESIDENCY_TTL }
    }

    /// Whether a cold read of so many bytes of the piece is to leave its pages in the page cache.
    ///
    /// While memory lasts, reads do: that is how content gets hot. But not all at once, so that the kernel has time to tell
    /// what else is in use. When memory does not last, each page let in throws out another that is worth as much. Then few
    /// are let in, by chance: a piece that is wanted often is soon among them.
    pub(crate) fn admits(&mut self, piece: PieceIndex, size: u64, now: Duration) -> bool {
        if self.is_pressed(now) && !is_chosen(piece, now) {
            return false;
        }
        // After a day without reads the product is more than 64 bits.
        let idle_us = now.saturating_sub(self.filled_at).as_micros() as u64;
        let refill = idle_us.saturating_mul(FILL_BYTES_PER_S) / 1_000_000;
        self.fill_left = self.fill_left.saturating_add(refill).min(FILL_BURST_BYTES);
        self.filled_at = now;
        let is_left = self.fill_left >= size;
        self.fill_left -= if is_left { size } else { 0 };
        is_left
    }
}

/// Whether the piece is one of the few. All windows of a piece share its fate within a round.
fn is_chosen(piece: PieceIndex, now: Duration) -> bool {
    // The factors only have to be odd and mix well (Knuth's multiplicative hashing).
    let round = (now.as_secs() / ADMITTED_ROUND.as_secs()) as u32;
    let mixed = (piece.get() ^ round.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0x9e37_79b1);
    mixed >> 16 < (1 << 16) / ADMITTED_ONE_IN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces() -> Vec<PieceIndex> {
        let info =
            format!("d6:lengthi{}e4:name1:f12:piece lengthi16384e6:pieces20000:{}e", 16384 * 1000, "h".repeat(20000));
        metainfo::Torrent::from_info(info.as_bytes()).unwrap().layout().pieces().collect()
    }

    #[test]
    fn everything_is_let_in_while_memory_lasts() {
        let mut policy = CachePolicy::default();
        assert!(pieces().iter().all(|piece| policy.admits(*piece, 1, Duration::ZERO)));
        assert_eq!(policy.residency_ttl(Duration::ZERO), RESIDENCY_TTL);
    }

    #[test]
    fn under_pressure_few_are_let_in_and_each_in_its_time() {
        let mut policy = CachePolicy::default();
        let mut admitted = std::collections::HashSet::new();
        for round in 0..8 * ADMITTED_ONE_IN {
            let now = ADMITTED_ROUND * round;
            policy.note_look(100, 100, now);
            assert!(policy.residency_ttl(now) < RESIDENCY_TTL);
            let mut now_admitted = pieces();
            now_admitted.retain(|piece| policy.admits(*piece, 1, now));
            let share = now_admitted.len() * ADMITTED_ONE_IN as usize;
            assert!((500..2000).contains(&share), "{share} in a thousand, times {ADMITTED_ONE_IN}");
            admitted.extend(now_admitted.iter().map(|piece| piece.get()));
        }
        assert!(admitted.len() > 980, "{} of 1000 pieces had their turn", admitted.len());
    }

    /// Direct reads leave pages out of the cache; if the few that are missing counted as pressure, they would stay out for
    /// ever.
    #[test]
    fn a_few_pages_that_are_thrown_out_do_not_keep_themselves_out() {
        let mut policy = CachePolicy::default();
        for n in 0..200 {
            let now = Duration::from_millis(50) * n;
            policy.note_look(256, 0, now);
            policy.note_look(4, 4, now);
        }
        assert!(pieces().iter().all(|piece| policy.admits(*piece, 1, Duration::from_secs(10))));
    }

    #[test]
    fn while_reads_go_on_answers_are_not_believed_for_long() {
        let mut policy = CachePolicy::default();
        policy.note_read(Duration::from_secs(1));
        assert_eq!(policy.residency_ttl(Duration::from_secs(1)), RESIDENCY_TTL_MOVING);
        assert_eq!(policy.residency_ttl(Duration::from_secs(1) + RESIDENCY_TTL), RESIDENCY_TTL);
        assert!(
            pieces().iter().all(|piece| policy.admits(*piece, 1, Duration::from_secs(1))),
            "which says nothing of room"
        );
    }

    #[test]
    fn the_cache_is_filled_no_faster_than_the_kernel_can_tell_what_is_in_use() {
        let mut policy = CachePolicy::default();
        let piece = pieces()[0];
        let mib = 1 << 20;
        let filled =
            (0..100_000).filter(|ms| policy.admits(piece, mib, Duration::from_micros(ms * 100))).count() as u64;
        let most = FILL_BURST_BYTES / mib + 10 * FILL_BYTES_PER_S / mib;
        assert!(filled <= most && filled > most * 9 / 10, "{filled} of {most} MiB");
    }

    #[test]
    fn a_day_without_cold_reads_overflows_nothing() {
        let mut policy = CachePolicy::default();
        let piece = pieces()[0];
        assert!(policy.admits(piece, FILL_BURST_BYTES, Duration::ZERO));
        assert!(!policy.admits(piece, 1, Duration::ZERO));
        for days in [1, 2, 400] {
            let now = Duration::from_secs(days * 24 * 3600);
            assert!(policy.admits(piece, FILL_BURST_BYTES, now), "all of the burst is there again");
            assert!(!policy.admits(piece, 1, now), "and no more than that");
        }
    }

    #[test]
    fn pressure_passes() {
        let mut policy = CachePolicy::default();
        policy.note_look(100, 100, Duration::from_secs(5));
        assert!(!pieces().iter().all(|piece| policy.admits(*piece, 1, Duration::from_secs(6))));
        let later = Duration::from_secs(5) + PRESSURE_MEMORY;
        assert!(pieces().iter().all(|piece| policy.admits(*piece, 1, later)));
    }
}
