//! Points in time and on the clock's face: when an embargo ends, when a rate holds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A point in time, as RFC 3339 writes it: `2026-12-01T14:00:00Z`. TOML's own date and time is taken as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(jiff::Timestamp);

/// A time of day to the minute, from `00:00` to `24:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay(u16);

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// Which clock a schedule goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// The machine's time zone.
    #[default]
    Local,
    /// UTC.
    Utc,
}

impl Moment {
    /// Seconds since 1970, rounded down.
    pub fn unix_s(self) -> i64 {
        self.0.as_second()
    }

    /// From seconds since 1970, where that is a time that can be written.
    pub fn from_unix_s(seconds: i64) -> Option<Moment> {
        jiff::Timestamp::from_second(seconds).ok().map(Moment)
    }
}

impl TimeOfDay {
    /// Minutes in a day.
    pub const MINUTES_PER_DAY: u16 = 24 * 60;

    /// Midnight, as a day begins.
    pub const MIDNIGHT: TimeOfDay = TimeOfDay(0);

    /// Midnight, as a day ends.
    pub const END: TimeOfDay = TimeOfDay(TimeOfDay::MINUTES_PER_DAY);

    /// Minutes since midnight.
    pub const fn minutes(self) -> u16 {
        self.0
    }
}

impl Day {
    /// From Monday on.
    pub const ALL: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];

    /// The one before.
    pub fn yesterday(self) -> Day {
        Day::ALL[(self as usize + Day::ALL.len() - 1) % Day::ALL.len()]
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Moment, String> {
        let wrong = |_| format!("{text:?} is not a time such as 2026-12-01T14:00:00Z or 2026-12-01T14:00:00+01:00");
        text.trim().parse().map(Moment).map_err(wrong)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        let written = toml::Value::deserialize(deserializer)?;
        let text = match written {
            toml::Value::String(text) => text,
            toml::Value::Datetime(time) => time.to_string(),
            _ => return Err(serde::de::Error::custom("a time is written as in 2026-12-01T14:00:00Z")),
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<TimeOfDay, String> {
        let read = |part: &str| {
            let plain = (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<u16>().ok().filter(|_| plain)
        };
        let minutes = text.split_once(':').and_then(|(hour, minute)| {
            let (hour, minute) = (read(hour)?, read(minute).filter(|minute| *minute < 60)?);
            Some(hour * 60 + minute).filter(|minutes| *minutes <= TimeOfDay::MINUTES_PER_DAY)
        });
        minutes.map(TimeOfDay).ok_or_else(|| format!("{text:?} is not a time of day such as 08:30"))
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

text_form!(TimeOfDay);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_in_every_zone() {
        let utc: Moment = "2026-12-01T14:00:00Z".parse().unwrap();
        assert_eq!("2026-12-01T15:00:00+01:00".parse(), Ok(utc));
        assert_eq!(utc.unix_s(), 1_796_133_600);
        assert_eq!(utc.to_string(), "2026-12-01T14:00:00Z");
    }

    #[test]
    fn a_moment_without_a_zone_is_refused() {
        for text in ["", "2026-12-01", "2026-12-01T14:00:00", "tomorrow", "2026-13-01T00:00:00Z", "14:00"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_of_day_go_from_midnight_to_midnight() {
        assert_eq!("00:00".parse(), Ok(TimeOfDay::MIDNIGHT));
        assert_eq!("24:00".parse(), Ok(TimeOfDay::END));
        assert_eq!("8:05".parse::<TimeOfDay>().unwrap().to_string(), "08:05");
        for text in ["", "8", "24:01", "12:60", "-1:00", "+1:00", "1:2:3", "٣:00"] {
            assert!(text.parse::<TimeOfDay>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_day_before_monday_is_sunday() {
        assert_eq!(Day::Mon.yesterday(), Day::Sun);
        assert_eq!(Day::Sat.yesterday(), Day::Fri);
    }
}
