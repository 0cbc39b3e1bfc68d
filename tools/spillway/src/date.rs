//! A creation date as people write it. Nothing here knows of time zones: torrents tell seconds of UTC.

/// `2026-03-21 12:00:00 UTC` for seconds since 1970; `None` beyond year 9999 or before year 1, which no torrent means.
pub(crate) fn utc(seconds: i64) -> Option<String> {
    let (year, month, day) = civil(seconds.div_euclid(86_400))?;
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    Some(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"))
}

/// Days since 1970 as year, month and day of the Gregorian calendar: whole 400-year cycles are taken off first, then the
/// year and month are counted out.
fn civil(days: i64) -> Option<(i64, i64, i64)> {
    const DAYS_IN_CYCLE: i64 = 146_097;
    let mut year = 1970 + days.div_euclid(DAYS_IN_CYCLE) * 400;
    if !(1..=9999).contains(&year) {
        return None;
    }
    let mut rest = days.rem_euclid(DAYS_IN_CYCLE);
    while rest >= 365 + i64::from(is_leap(year)) {
        rest -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + i64::from(is_leap(year));
    for (month, days_in_month) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
        if rest < days_in_month {
            return (1..=9999).contains(&year).then_some((year, month, rest + 1));
        }
        rest -= days_in_month;
    }
    None
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_700_000_000, "2023-11-14 22:13:20 UTC"),
            (4_107_542_399, "2100-02-28 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (253_402_300_799, "9999-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(utc(seconds).as_deref(), Some(text), "{seconds}");
        }
    }

    #[test]
    fn a_date_that_no_one_means_is_none_and_no_overflow() {
        for seconds in [i64::MIN, i64::MAX, 253_402_300_800, -70_000_000_000] {
            assert_eq!(utc(seconds), None, "{seconds}");
        }
    }
}
