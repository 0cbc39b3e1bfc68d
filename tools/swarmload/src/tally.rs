//! What one thread of the load has measured; the run adds the threads up.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::asked::Batch;
use crate::clock::SECOND_NS;
use crate::failure::Failure;
use crate::leech::Oddities;

/// The longest time that is told apart from longer ones.
const MAX_LATENCY_NS: u64 = 120 * SECOND_NS;

/// Three digits: a percentile is right within a tenth of a percent.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Counts and histograms. Times are in nanoseconds.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Blocks answered and their bytes, within the window.
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    /// From a request's write to its answer's last byte, within the window.
    pub(crate) latency: Histogram<u64>,
    /// From when the schedule wanted a request, within the window.
    pub(crate) schedule_latency: Histogram<u64>,
    /// From the connect's begin, over the whole run.
    pub(crate) connect: Histogram<u64>,
    /// From when a connection could have been dialled, whatever held that up, over the whole run.
    pub(crate) unchoke: Histogram<u64>,
    /// The first dial of a measured connection, how many of them were unchoked in their first life, and when the last was.
    pub(crate) first_dial_ns: Option<u64>,
    pub(crate) first_unchokes: u64,
    pub(crate) last_first_unchoke_ns: u64,
    /// Connections that ended, by reason, over the whole run.
    pub(crate) errors: BTreeMap<&'static str, u64>,
    pub(crate) odd: Oddities,
    pub(crate) pieces_good: u64,
    pub(crate) pieces_bad: u64,
    pub(crate) pieces_unknown: u64,
    pub(crate) metadata_good: u64,
    pub(crate) metadata_bad: u64,
    pub(crate) metadata_bytes: u64,
    pub(crate) churned: u64,
    /// Blocks that an open loop gave up because a connection was too far behind its schedule.
    pub(crate) schedule_dropped: u64,
    /// What was wanted before the window's end and had no answer by then, and how long the oldest of it had waited: no
    /// percentile knows of it.
    pub(crate) unanswered_blocks: u64,
    pub(crate) unanswered_oldest_ns: u64,
    /// What was wanted within the window and will have no answer: its connection failed, or there was nobody to ask.
    pub(crate) abandoned_blocks: u64,
    /// How many open requests each measured connection that was unchoked could have.
    pub(crate) depths: Vec<u32>,
    /// Bytes within the window of each connection that was there from its beginning to its end.
    pub(crate) shares: Vec<u64>,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> Result<Tally, Failure> {
        let histogram = || Histogram::new_with_bounds(1, MAX_LATENCY_NS, SIGNIFICANT_DIGITS);
        Ok(Tally {
            blocks: 0,
            bytes: 0,
            latency: histogram()?,
            schedule_latency: histogram()?,
            connect: histogram()?,
            unchoke: histogram()?,
            first_dial_ns: None,
            first_unchokes: 0,
            last_first_unchoke_ns: 0,
            errors: BTreeMap::new(),
            odd: Oddities::default(),
            pieces_good: 0,
            pieces_bad: 0,
            pieces_unknown: 0,
            metadata_good: 0,
            metadata_bad: 0,
            metadata_bytes: 0,
            churned: 0,
            schedule_dropped: 0,
            unanswered_blocks: 0,
            unanswered_oldest_ns: 0,
            abandoned_blocks: 0,
            depths: Vec::new(),
            shares: Vec::new(),
        })
    }

    /// Books how long blocks took that came at `now_ns`.
    pub(crate) fn timed(&mut self, batch: Batch, now_ns: u64) {
        let blocks = u64::from(batch.blocks);
        self.latency.saturating_record_n(now_ns.saturating_sub(batch.sent_ns).max(1), blocks);
        self.schedule_latency.saturating_record_n(now_ns.saturating_sub(batch.scheduled_ns).max(1), blocks);
    }

    /// Counts the end of a connection.
    pub(crate) fn ended(&mut self, reason: &'static str) {
        *self.errors.entry(reason).or_default() += 1;
    }

    /// Adds what a connection that is no more had counted.
    pub(crate) fn add_oddities(&mut self, odd: Oddities) {
        self.odd.choked += odd.choked;
        self.odd.rejected += odd.rejected;
        self.odd.reordered += odd.reordered;
        self.odd.unasked += odd.unasked;
        self.odd.resynchronised += odd.resynchronised;
        self.odd.presumed += odd.presumed;
    }

    /// Adds another thread's.
    pub(crate) fn add(&mut self, other: &Tally) -> Result<(), Failure> {
        self.blocks += other.blocks;
        self.bytes += other.bytes;
        self.latency.add(&other.latency)?;
        self.schedule_latency.add(&other.schedule_latency)?;
        self.connect.add(&other.connect)?;
        self.unchoke.add(&other.unchoke)?;
        self.first_dial_ns = self.first_dial_ns.into_iter().chain(other.first_dial_ns).min();
        self.first_unchokes += other.first_unchokes;
        self.last_first_unchoke_ns = self.last_first_unchoke_ns.max(other.last_first_unchoke_ns);
        for (reason, count) in &other.errors {
            *self.errors.entry(reason).or_default() += count;
        }
        self.add_oddities(other.odd);
        self.pieces_good += other.pieces_good;
        self.pieces_bad += other.pieces_bad;
        self.pieces_unknown += other.pieces_unknown;
        self.metadata_good += other.metadata_good;
        self.metadata_bad += other.metadata_bad;
        self.metadata_bytes += other.metadata_bytes;
        self.churned += other.churned;
        self.schedule_dropped += other.schedule_dropped;
        self.unanswered_blocks += other.unanswered_blocks;
        self.unanswered_oldest_ns = self.unanswered_oldest_ns.max(other.unanswered_oldest_ns);
        self.abandoned_blocks += other.abandoned_blocks;
        self.depths.extend_from_slice(&other.depths);
        self.shares.extend_from_slice(&other.shares);
        Ok(())
    }
}
