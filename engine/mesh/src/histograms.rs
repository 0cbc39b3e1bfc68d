//! What one shard measures of itself: distributions, kept by the shard alone and handed out as copies.

use hdrhistogram::Histogram;
use std::time::Duration;

/// Times are told apart to 1 % or so, which two digits give; 26 KB a histogram.
const DIGITS: u8 = 2;

/// The longest time that is told apart: ten minutes in microseconds. Longer ones count as this.
const LONGEST_US: u64 = 600_000_000;

/// Blocks in one write are at most 64; room for more costs nothing.
const MOST_BLOCKS: u64 = 1024;

/// Distributions over one shard's life, or over several shards' if they were added up.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardHistograms {
    /// Microseconds from the turn that read a request to the moment when the kernel accepted the block's last byte.
    pub service_us: Histogram<u64>,
    /// Microseconds that one turn of the shard took: for so long nothing else could happen on its core.
    pub stall_us: Histogram<u64>,
    /// Microseconds for which a connection waited for the disk.
    pub cold_wait_us: Histogram<u64>,
    /// Blocks that one gathered write finished.
    pub batch_blocks: Histogram<u64>,
}

impl ShardHistograms {
    /// Nothing measured yet.
    pub fn new() -> ShardHistograms {
        ShardHistograms {
            service_us: empty(LONGEST_US),
            stall_us: empty(LONGEST_US),
            cold_wait_us: empty(LONGEST_US),
            batch_blocks: empty(MOST_BLOCKS),
        }
    }

    /// Adds what another shard has measured.
    pub fn add(&mut self, other: &ShardHistograms) {
        let pairs = [
            (&mut self.service_us, &other.service_us),
            (&mut self.stall_us, &other.stall_us),
            (&mut self.cold_wait_us, &other.cold_wait_us),
            (&mut self.batch_blocks, &other.batch_blocks),
        ];
        for (sum, part) in pairs {
            // Histograms of the same bounds add up; these have the same.
            let _ = sum.add(part);
        }
    }

    /// Each histogram with its name and unit.
    pub fn named(&self) -> [(&'static str, &'static str, &Histogram<u64>); 4] {
        [
            ("block service time", "us", &self.service_us),
            ("executor stall", "us", &self.stall_us),
            ("cold wait", "us", &self.cold_wait_us),
            ("batch size", "blocks", &self.batch_blocks),
        ]
    }
}

impl Default for ShardHistograms {
    fn default() -> ShardHistograms {
        ShardHistograms::new()
    }
}

/// Records a time `count` times over.
pub fn record_time(histogram: &mut Histogram<u64>, time: Duration, count: u64) {
    histogram.saturating_record_n(time.as_micros() as u64, count);
}

#[expect(clippy::expect_used, reason = "the bounds are constants, and a test makes each")]
fn empty(highest: u64) -> Histogram<u64> {
    Histogram::new_with_bounds(1, highest, DIGITS).expect("the bounds are in order")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_add_up_and_what_is_out_of_range_counts_as_the_longest() {
        let (mut first, mut second) = (ShardHistograms::new(), ShardHistograms::default());
        record_time(&mut first.service_us, Duration::from_micros(100), 3);
        record_time(&mut second.service_us, Duration::from_secs(86_400), 1);
        record_time(&mut second.service_us, Duration::ZERO, 1);
        second.batch_blocks.saturating_record(64);
        first.add(&second);
        assert_eq!(first.service_us.len(), 5);
        assert!(first.service_us.max() >= LONGEST_US);
        assert_eq!(first.service_us.value_at_quantile(0.5), 100);
        assert_eq!(first.batch_blocks.max(), 64);
    }

    #[test]
    fn a_shards_histograms_stay_below_a_tenth_of_a_megabyte() {
        let histograms = ShardHistograms::new();
        let counts: usize = histograms.named().iter().map(|(_, _, histogram)| histogram.distinct_values()).sum();
        assert!(counts * size_of::<u64>() <= 100_000, "{counts} counts");
    }
}
