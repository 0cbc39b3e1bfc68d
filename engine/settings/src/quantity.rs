//! Sizes, rates and periods as people type them, in the settings file and on a command line.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes: `65536`, `"64KiB"`, `"1.5GB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// Bytes a second: `"100MB"`, `"1Gbit"`, or `"unlimited"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate(pub Option<NonZeroU64>);

/// A span of time: `"90s"`, `"6h"`, `"7d"`, `"1h30m"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub Duration);

impl Size {
    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Rate = Rate(None);

    /// Bytes a second; `None` limits nothing.
    pub const fn bytes_per_s(self) -> Option<NonZeroU64> {
        self.0
    }
}

impl Period {
    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Period {
        Period(Duration::from_secs(seconds))
    }

    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

/// Parses a size in bytes: a number, optionally with `k`, `M`, `G` or `KiB`, `MiB`, `GiB` (powers of 1024) or `kB`, `MB`,
/// `GB` (powers of 1000).
///
/// # Errors
/// One line that names the text and shows how it is done.
pub fn parse_size(text: &str) -> Result<u64, String> {
    parse(text, &SIZE_UNITS)
}

/// Parses a rate in bytes per second: a size as [`parse_size`] takes it or a number of `kbit`, `Mbit`, `Gbit`, with or
/// without `/s` behind it. Zero is refused, since a limit of nothing would be a seed that never sends.
///
/// # Errors
/// One line that names the text and shows how it is done.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    let amount = text.trim().strip_suffix("/s").unwrap_or(text.trim());
    let bits = BIT_UNITS.iter().find(|(unit, _)| amount.ends_with(unit));
    let rate = match bits {
        Some(_) => parse(amount, &BIT_UNITS)? / 8,
        None => parse(amount, &SIZE_UNITS)?,
    };
    if rate == 0 {
        return Err("a rate must be more than zero; leave it out for no limit".to_owned());
    }
    Ok(rate)
}

const SIZE_UNITS: [(&str, u64); 15] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("k", 1 << 10),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
    ("T", 1 << 40),
    ("B", 1),
];

const BIT_UNITS: [(&str, u64); 3] = [("kbit", 1_000), ("Mbit", 1_000_000), ("Gbit", 1_000_000_000)];

/// What sizes are written in, the largest first.
const WRITTEN_BINARY: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const WRITTEN_DECIMAL: [(&str, u64); 4] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];

const PERIOD_UNITS_MS: [(&str, u64); 7] = [
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("min", 60_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A hundred years: no span that anybody means is longer, and sums of it with any time stay in range.
const MAX_PERIOD_MS: u64 = 36_525 * 86_400_000;

/// A decimal number with one of `units` behind it; fractions are allowed where a unit makes them whole bytes.
fn parse(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let text = text.trim();
    let (number, scale) = units
        .iter()
        .find_map(|&(unit, scale)| text.strip_suffix(unit).map(|number| (number.trim_end(), scale)))
        .unwrap_or((text, 1));
    let wrong = || format!("{text:?} is not a number of bytes such as 65536, 512k, 1MiB or 10MB");
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty()
        || fraction.is_empty()
        || !digits(whole)
        || !digits(fraction)
        || fraction.len() > MAX_FRACTION_DIGITS
    {
        return Err(wrong());
    }
    let too_large = || format!("{text:?} is too large");
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let total = whole.checked_mul(scale).ok_or_else(too_large)?;
    let numerator: u128 = fraction.parse().map_err(|_| wrong())?;
    let part = numerator * u128::from(scale) / 10_u128.pow(fraction.len() as u32);
    u64::try_from(u128::from(total) + part).map_err(|_| too_large())
}

/// Nine digits are below a byte even of a gigabyte.
const MAX_FRACTION_DIGITS: usize = 9;

/// Numbers with units, one after the other.
fn parse_period(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a span of time such as 90s, 15m, 6h, 7d or 1h30m");
    let too_long = || format!("{text:?} is too long");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total_ms: u64 = 0;
    while !rest.is_empty() {
        let (number, behind) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, behind) = split_where(behind.trim_start(), |c| !c.is_ascii_alphabetic());
        if number.is_empty() || unit.is_empty() {
            return Err(wrong());
        }
        let (_, scale_ms) = PERIOD_UNITS_MS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let amount: u64 = number.parse().map_err(|_| too_long())?;
        let part_ms = amount.checked_mul(*scale_ms).ok_or_else(too_long)?;
        total_ms = total_ms.checked_add(part_ms).filter(|total| *total <= MAX_PERIOD_MS).ok_or_else(too_long)?;
        rest = behind.trim_start();
    }
    Ok(Duration::from_millis(total_ms))
}

fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

/// With the largest unit that it is a whole number of.
fn write_bytes(f: &mut fmt::Formatter<'_>, bytes: u64) -> fmt::Result {
    let whole = |units: &[(&'static str, u64)]| {
        let fits = units.iter().find(|(_, scale)| bytes != 0 && bytes.is_multiple_of(*scale));
        fits.map_or((bytes, ""), |&(unit, scale)| (bytes / scale, unit))
    };
    let (number, unit) = whole(&WRITTEN_BINARY).min(whole(&WRITTEN_DECIMAL));
    write!(f, "{number}{unit}")
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bytes(f, self.0)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str(UNLIMITED),
            Some(rate) => write_bytes(f, rate.get()),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total_ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let fits = PERIOD_UNITS_MS.iter().filter(|(unit, _)| !matches!(*unit, "w" | "min"));
        let mut fits = fits.filter(|(_, scale_ms)| total_ms != 0 && total_ms.is_multiple_of(*scale_ms));
        match fits.next() {
            Some((unit, scale_ms)) => write!(f, "{}{unit}", total_ms / scale_ms),
            None => f.write_str("0s"),
        }
    }
}

const UNLIMITED: &str = "unlimited";

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        parse_size(text).map(Size)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        if text.trim() == UNLIMITED {
            return Ok(Rate::UNLIMITED);
        }
        match parse_rate(text) {
            Ok(rate) => Ok(Rate(NonZeroU64::new(rate))),
            Err(reason) => Err(format!("{reason}, or {UNLIMITED:?}")),
        }
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Period, String> {
        parse_period(text).map(Period)
    }
}

text_form!(Rate, Period);

impl serde::Serialize for Size {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A bare number is a number of bytes.
impl<'de> serde::Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl serde::de::Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"64KiB\"")
    }

    fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<Size, E> {
        u64::try_from(bytes).map(Size).map_err(|_| E::custom("a size is not negative"))
    }

    fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_as_people_type_them() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65_536),
            ("16k", 16 << 10),
            ("1M", 1 << 20),
            ("1MiB", 1 << 20),
            ("1 MiB", 1 << 20),
            ("10MB", 10_000_000),
            ("1.5G", 3 << 29),
            ("512B", 512),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn rates_are_bytes_a_second_whatever_they_are_typed_in() {
        for (text, bytes) in [("10MB/s", 10_000_000), ("1MiB/s", 1 << 20), ("1M", 1 << 20), ("100Mbit/s", 12_500_000)] {
            assert_eq!(parse_rate(text), Ok(bytes), "{text}");
        }
        assert_eq!("unlimited".parse(), Ok(Rate::UNLIMITED));
    }

    #[test]
    fn periods_are_numbers_with_units() {
        for (text, seconds) in
            [("90s", 90), ("6h", 21_600), ("7d", 604_800), ("1h30m", 5_400), ("2w", 1_209_600), ("5 min", 300)]
        {
            assert_eq!(parse_period(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_period("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn nonsense_overflow_and_a_rate_of_nothing_are_refused() {
        for text in ["", "M", "-1", "1e9", "1.", "x", "1MM", "99999999999999999999", "99999999999T", ".5M", "٣"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert!(parse_rate("0").is_err());
        assert!(parse_rate("0.1B/s").is_err());
        for text in ["", "90", "s", "-1s", "1.5h", "1y", "1h30", "99999999999999999999s", "99999999w", "٣s"] {
            assert!(parse_period(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(number: u64, zeros in 0u32..20, period_ms in 0..=MAX_PERIOD_MS) {
            let bytes = (number / 10u64.pow(zeros.min(19))).saturating_mul(1000);
            for bytes in [number, bytes, number >> 20 << 20] {
                prop_assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
                let rate = Rate(NonZeroU64::new(bytes));
                prop_assert_eq!(rate.to_string().parse(), Ok(rate));
            }
            for period_ms in [period_ms, period_ms / 1000 * 1000] {
                let period = Period(Duration::from_millis(period_ms));
                prop_assert_eq!(period.to_string().parse(), Ok(period));
            }
        }

        #[test]
        fn no_text_is_a_panic(text in ".*") {
            let _ = (text.parse::<Size>(), text.parse::<Rate>(), text.parse::<Period>());
        }
    }
}
