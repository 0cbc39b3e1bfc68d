//! What the program writes: lines and JSON to stdout, errors to stderr.

use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Writes one line of results to stdout.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    write_all(&printable(text))
}

/// Writes lines of results to stdout.
pub(crate) fn lines(lines: &[String]) -> Result<(), Failure> {
    write_all(&lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n"))
}

/// Writes lines that are safe for a terminal already, with colours perhaps, to stdout.
pub(crate) fn styled_lines(lines: &[String]) -> Result<(), Failure> {
    write_all(&lines.join("\n"))
}

/// Writes a text of our own, which ends with a line feed, to stdout as it is.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    write_all(text.strip_suffix('\n').unwrap_or(text))
}

/// Writes `value` to stdout as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    write_all(&serde_json::to_string_pretty(value)?)
}

/// Writes `value` to stdout as JSON on a line of its own.
pub(crate) fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    write_all(&serde_json::to_string(value)?)
}

/// Writes `error: …` to stderr; there is nowhere to report that this failed.
pub(crate) fn error_line(message: &str) {
    let _ = writeln!(io::stderr().lock(), "error: {}", printable(message));
}

/// What a torrent says may hold control characters that would steer the terminal; they become U+FFFD.
fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

/// To stdout, with a line feed. A reader that closed the pipe has seen enough: that is no failure.
fn write_all(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::from(error).context("stdout")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torrent_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\u{FFFD}[2Jb\u{FFFD}c");
    }
}
