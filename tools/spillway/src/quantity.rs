//! Sizes and rates as people type them on a command line. Printing them is left to indicatif's formatters.

/// Parses a size in bytes: a whole number, optionally with `k`, `M`, `G` or `KiB`, `MiB`, `GiB` (powers of 1024) or
/// `kB`, `MB`, `GB` (powers of 1000).
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    parse(text, &SIZE_UNITS)
}

/// Parses a rate in bytes per second: a size as [`parse_size`] takes it or a number of `kbit`, `Mbit`, `Gbit`, with or
/// without `/s` behind it. Zero is refused, since a limit of nothing would be a seed that never sends.
pub(crate) fn parse_rate(text: &str) -> Result<u64, String> {
    let amount = text.trim().strip_suffix("/s").unwrap_or(text.trim());
    let bits = BIT_UNITS.iter().find(|(unit, _)| amount.ends_with(unit));
    let rate = match bits {
        Some(_) => parse(amount, &BIT_UNITS)? / 8,
        None => parse(amount, &SIZE_UNITS)?,
    };
    if rate == 0 {
        return Err("a rate must be more than zero; leave the option out for no limit".to_owned());
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

#[cfg(test)]
mod tests {
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
    }

    #[test]
    fn nonsense_overflow_and_a_rate_of_nothing_are_refused() {
        for text in ["", "M", "-1", "1e9", "1.", "x", "1MM", "99999999999999999999", "99999999999T", ".5M", "٣"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert!(parse_rate("0").is_err());
        assert!(parse_rate("0.1B/s").is_err());
    }
}
