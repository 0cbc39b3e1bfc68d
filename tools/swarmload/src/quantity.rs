//! Durations, rates and shares as people type them on a command line.

use std::time::Duration;

/// Parses a duration: a number with `ms`, `s`, `m` or `h` behind it; a bare number is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 500ms, 10s or 2m");
    let seconds = scaled(text, &[("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)]).ok_or_else(wrong)?;
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration <= MAX_DURATION).ok_or_else(wrong)
}

/// A day is longer than any run makes sense, and far from where nanoseconds in 64 bits end.
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

/// Parses a rate in bytes a second: a number of `kbit`, `Mbit`, `Gbit`, `B`, `kB`, `MB`, `GB`, `KiB`, `MiB` or `GiB`, with or
/// without `/s` behind it. Zero is refused: no load is no option.
pub(crate) fn parse_rate(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a rate such as 2Gbit/s or 40MB/s");
    let amount = text.trim().strip_suffix("/s").unwrap_or(text.trim());
    let rate = scaled(amount, &RATE_UNITS).ok_or_else(wrong)?;
    if (1.0..=MAX_RATE).contains(&rate) { Ok(rate as u64) } else { Err(wrong()) }
}

const RATE_UNITS: [(&str, f64); 10] = [
    ("kbit", 125.0),
    ("Mbit", 125e3),
    ("Gbit", 125e6),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("B", 1.0),
];

/// A terabyte a second.
const MAX_RATE: f64 = 1e12;

/// How many slow readers, and how fast each reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlowReaders {
    pub(crate) count: u32,
    pub(crate) rate_bytes: u64,
}

/// As many as there may be of any other kind.
const MAX_SLOW: u32 = 100_000;

/// Parses `N:RATE`.
pub(crate) fn parse_slow(text: &str) -> Result<SlowReaders, String> {
    let (count, rate) = text.split_once(':').ok_or_else(|| format!("{text:?} is not N:RATE such as 50:100kB/s"))?;
    let count = count
        .parse::<u32>()
        .ok()
        .filter(|count| *count <= MAX_SLOW)
        .ok_or_else(|| format!("{count:?} is not a number of connections from 0 to {MAX_SLOW}"))?;
    Ok(SlowReaders { count, rate_bytes: parse_rate(rate)? })
}

/// Parses `none`, `all` or a percentage, into hundredths of the connections.
pub(crate) fn parse_share(text: &str) -> Result<u32, String> {
    match text {
        "none" => Ok(0),
        "all" => Ok(100),
        _ => text
            .strip_suffix('%')
            .and_then(|number| number.parse().ok())
            .filter(|percent| *percent <= 100)
            .ok_or_else(|| format!("{text:?} is not none, all or a percentage such as 5%")),
    }
}

/// A plain decimal number with one of `units` behind it; a bare number has the unit 1.
fn scaled(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let (number, scale) = units
        .iter()
        .filter_map(|&(unit, scale)| text.strip_suffix(unit).map(|number| (number.trim_end(), scale)))
        .min_by_key(|(number, _)| number.len())
        .unwrap_or((text, 1.0));
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (plain && number.starts_with(|c: char| c.is_ascii_digit())).then(|| number.parse::<f64>().ok())?.map(|n| n * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_people_type_them() {
        for (text, ms) in [("10s", 10_000), ("500ms", 500), ("2m", 120_000), ("0s", 0), ("1.5", 1500), ("0.1s", 100)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for (text, bytes) in [
            ("2Gbit/s", 250_000_000),
            ("100Mbit", 12_500_000),
            ("40MB/s", 40_000_000),
            ("1MiB/s", 1 << 20),
            ("512", 512),
            ("100kB/s", 100_000),
        ] {
            assert_eq!(parse_rate(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse_slow("50:100kB/s"), Ok(SlowReaders { count: 50, rate_bytes: 100_000 }));
        for (text, percent) in [("none", 0), ("all", 100), ("5%", 5), ("100%", 100)] {
            assert_eq!(parse_share(text), Ok(percent), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "s", "-1s", "1e3s", "NaN", "inf", "10x", "99999h", "1..5s", ".5s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for text in ["", "0", "0.5B", "-1MB", "1e99", "9999999GB/s", "MB", "2Gbit/m"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
        for text in ["50", "x:1MB", ":1MB", "5:", "100001:1MB", "4294967295:1MB", "-1:1MB"] {
            assert!(parse_slow(text).is_err(), "{text}");
        }
        for text in ["", "5", "101%", "-1%", "some"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }
}
