//! Tables that people read: columns aligned, numbers to the right, sizes and rates with units.

use indicatif::{DecimalBytes, HumanCount};

/// How a column is aligned. The last column is never filled up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Align {
    Left,
    Right,
}

/// Lines of a table with its head. Each row has as many cells as there are columns.
pub(super) fn lines(columns: &[(&str, Align)], rows: &[Vec<String>]) -> Vec<String> {
    let width = |index: usize, head: &str| {
        let cells = rows.iter().filter_map(|row| row.get(index));
        cells.map(|cell| cell.chars().count()).chain([head.len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = columns.iter().enumerate().map(|(index, (head, _))| width(index, head)).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(columns).zip(&widths).map(|((cell, (_, align)), width)| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head: Vec<String> = columns.iter().map(|(head, _)| (*head).to_owned()).collect();
    [line(&head)].into_iter().chain(rows.iter().map(|row| line(row))).collect()
}

/// One fact of a description.
pub(super) fn field(name: &str, value: &str) -> String {
    format!("{name:<12}  {value}")
}

pub(super) fn size(bytes: u64) -> String {
    DecimalBytes(bytes).to_string()
}

/// Nothing is shown as a dash, so that what happens stands out.
pub(super) fn rate(bytes_per_s: u64) -> String {
    if bytes_per_s == 0 { "-".to_owned() } else { format!("{}/s", DecimalBytes(bytes_per_s)) }
}

pub(super) fn limit(bytes_per_s: Option<u64>) -> String {
    bytes_per_s.map_or_else(|| "none".to_owned(), |limit| format!("{}/s", DecimalBytes(limit)))
}

pub(super) fn count(count: u64) -> String {
    HumanCount(count).to_string()
}

/// A share as whole percents that say 100 only if it is all.
pub(super) fn percent(part: u64, whole: u64) -> String {
    match part {
        _ if part >= whole => "100%".to_owned(),
        part => format!("{}%", u128::from(part) * 100 / u128::from(whole)),
    }
}

/// A time as people say it, in its two largest units.
pub(super) fn period(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m {}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let columns = [("ID", Align::Right), ("STATE", Align::Left), ("NAME", Align::Left)];
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["7", "seeding", "ü"]), row(["1234", "é", "a b"])];
        assert_eq!(lines(&columns, &rows), ["  ID  STATE    NAME", "   7  seeding  ü", "1234  é        a b"]);
        assert_eq!(lines(&columns, &[]), ["ID  STATE  NAME"]);
    }

    #[test]
    fn nearly_all_is_not_all() {
        assert_eq!(percent(u64::MAX - 1, u64::MAX), "99%");
        assert_eq!((percent(0, 0).as_str(), percent(7, 7).as_str(), percent(0, 7).as_str()), ("100%", "100%", "0%"));
    }

    #[test]
    fn times_are_told_in_two_units() {
        let told: Vec<_> = [0, 59, 61, 3600, 90_000, 8_640_000].into_iter().map(period).collect();
        assert_eq!(told, ["0s", "59s", "1m 1s", "1h 0m", "1d 1h", "100d 0h"]);
    }
}
