//! What the shards have measured, as lines for a person.

use seedbox::ShardHistograms;

/// Quantiles that are shown.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// One line for each distribution that has something to tell.
pub(crate) fn lines(histograms: &ShardHistograms) -> Vec<String> {
    let measured = histograms.named().into_iter().filter(|(_, _, histogram)| !histogram.is_empty());
    measured
        .map(|(name, unit, histogram)| {
            let quantile = |(label, at): (&str, f64)| format!("{label} {}", histogram.value_at_quantile(at));
            let quantiles = QUANTILES.map(quantile).join(", ");
            format!("{name} in {unit}: {quantiles}, max {} ({} measured)", histogram.max(), histogram.len())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_measured_is_left_out() {
        let mut histograms = ShardHistograms::new();
        assert_eq!(lines(&histograms), Vec::<String>::new());
        for blocks in [1, 64, 64, 64] {
            histograms.batch_blocks.saturating_record(blocks);
        }
        assert_eq!(lines(&histograms), ["batch size in blocks: p50 64, p90 64, p99 64, p99.9 64, max 64 (4 measured)"]);
    }
}
