//! How long a fetched torrent is seeded: `--seed-for`.

use std::str::FromStr;
use std::time::Duration;

use seedbox::TorrentStatus;

/// When seeding is over.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum SeedFor {
    /// At once.
    Never,
    /// When it is told so.
    Forever,
    /// After so long.
    Time(Duration),
    /// When so many times what is wanted of the content was sent.
    Ratio(f64),
}

const TIME_UNITS: [(char, f64); 4] = [('s', 1.0), ('m', 60.0), ('h', 3600.0), ('d', 86_400.0)];

/// A century: beyond it, sums of times might overflow.
const TIME_MAX_S: f64 = 100.0 * 365.0 * 86_400.0;

impl SeedFor {
    /// Whether a torrent that has been complete for so long has been seeded enough.
    pub(crate) fn is_over(self, complete_for: Duration, torrent: &TorrentStatus) -> bool {
        match self {
            SeedFor::Never => true,
            SeedFor::Forever => false,
            SeedFor::Time(time) => complete_for >= time,
            SeedFor::Ratio(ratio) => {
                let wanted_bytes = torrent.fetch.as_ref().map_or(0, |fetch| fetch.wanted_bytes);
                torrent.payload_sent_bytes as f64 >= wanted_bytes as f64 * ratio
            }
        }
    }
}

impl FromStr for SeedFor {
    type Err = String;

    fn from_str(text: &str) -> Result<SeedFor, String> {
        let wrong = || format!("{text:?} is neither a time such as 90s, 10m, 1.5h or 2d, nor a ratio such as 1.5");
        let number = |digits: &str| digits.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
        match text {
            "never" => return Ok(SeedFor::Never),
            "forever" => return Ok(SeedFor::Forever),
            _ => {}
        }
        if !text.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(wrong());
        }
        match TIME_UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, seconds))) {
            Some((digits, unit)) => {
                let seconds = number(digits).ok_or_else(wrong)? * unit;
                Ok(SeedFor::Time(Duration::from_secs_f64(seconds.min(TIME_MAX_S))))
            }
            None => number(text).map(SeedFor::Ratio).ok_or_else(wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_makes_a_time_and_none_a_ratio() {
        let minutes = |minutes: u64| SeedFor::Time(Duration::from_secs(60 * minutes));
        for (text, seed_for) in [
            ("never", SeedFor::Never),
            ("forever", SeedFor::Forever),
            ("10m", minutes(10)),
            ("1.5h", minutes(90)),
            ("90s", SeedFor::Time(Duration::from_secs(90))),
            ("1d", minutes(24 * 60)),
            ("1.5", SeedFor::Ratio(1.5)),
            ("0", SeedFor::Ratio(0.0)),
        ] {
            assert_eq!(text.parse(), Ok(seed_for), "{text}");
        }
        assert!(matches!("9e99d".parse(), Ok(SeedFor::Time(_))), "no number is too large");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "m", "-1", "-1m", "always", "inf", "nan", "1x", "1.5.m"] {
            assert!(text.parse::<SeedFor>().is_err(), "{text}");
        }
    }
}
