//! HdrHistogram's percentile text, which its own plotters and many others read: value, percentile, count, and the inverse
//! by which the axis is drawn.

use std::fmt::Write;

use hdrhistogram::Histogram;

/// Lines for each halving of what is left above a percentile.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// Writes a histogram; values are divided by `unit`.
pub(crate) fn text(histogram: &Histogram<u64>, unit: f64) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    for value in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        let quantile = value.quantile_iterated_to();
        let reached = value.value_iterated_to().min(histogram.max()) as f64 / unit;
        let _ =
            write!(text, "{reached:12.3} {quantile:2.12} {:10}", histogram.count_between(0, value.value_iterated_to()));
        let _ = match quantile < 1.0 {
            true => writeln!(text, " {:14.2}", 1.0 / (1.0 - quantile)),
            false => writeln!(text),
        };
    }
    let (mean, deviation) = (histogram.mean() / unit, histogram.stdev() / unit);
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let (max, count) = (histogram.max() as f64 / unit, histogram.len());
    let _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {count:12}]");
    let (buckets, sub_buckets) = (histogram.buckets(), 2 * 10u64.pow(histogram.sigfig().into()));
    let _ = writeln!(text, "#[Buckets = {buckets:12}, SubBuckets     = {:12}]", sub_buckets.next_power_of_two());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_hdrhistogram_plotters_read() {
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000, 3).unwrap();
        (1..=1000).for_each(|value| histogram.record(value * 100).unwrap());
        let text = text(&histogram, 1000.0);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].trim_start().starts_with("Value"), "{}", lines[0]);
        let fields = |line: &str| line.split_whitespace().map(|field| field.parse().unwrap()).collect::<Vec<f64>>();
        let rows: Vec<Vec<f64>> =
            lines[2..].iter().take_while(|line| !line.starts_with('#')).map(|line| fields(line)).collect();
        assert!(rows.len() > 20);
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][2] <= pair[1][2]));
        let median = rows.iter().find(|row| row[1] == 0.5).unwrap();
        assert!((median[0] - 50.0).abs() < 0.2 && median[3] == 2.0, "{median:?}");
        let last = rows.last().unwrap();
        assert_eq!((last[1], last[2], last.len()), (1.0, 1000.0, 3));
        assert!(lines.iter().any(|line| line.starts_with("#[Mean    =")), "{text}");
        assert!(lines.iter().any(|line| line.starts_with("#[Max     =")), "{text}");
    }

    #[test]
    fn nothing_measured_is_a_text_too() {
        let histogram = Histogram::new_with_bounds(1, 1_000_000, 3).unwrap();
        assert!(text(&histogram, 1.0).contains("Total count    =            0"));
    }
}
