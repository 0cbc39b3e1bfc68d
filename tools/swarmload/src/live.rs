//! The line on stderr that is rewritten each second, when a person watches.

use std::io::{self, IsTerminal, Write};

use crate::run::Totals;

/// The line, or nothing where stderr is no terminal.
pub(crate) struct Live {
    is_shown: bool,
    last_s: f64,
    last_bytes: u64,
}

/// Seconds between lines.
const EVERY_S: f64 = 1.0;

impl Live {
    /// Not shown yet.
    pub(crate) fn new(is_quiet: bool) -> Live {
        Live { is_shown: !is_quiet && io::stderr().is_terminal(), last_s: 0.0, last_bytes: 0 }
    }

    /// Shows where the run is, at most once a second. `left_s` is known while it is measured.
    pub(crate) fn show(&mut self, now_s: f64, totals: &Totals, left_s: Option<f64>) {
        if !self.is_shown || now_s < self.last_s + EVERY_S {
            return;
        }
        let gbit_s = (totals.bytes - self.last_bytes) as f64 * 8e-9 / (now_s - self.last_s);
        (self.last_s, self.last_bytes) = (now_s, totals.bytes);
        let phase = left_s.map_or_else(|| "warming up".to_owned(), |left| format!("measuring, {left:.0} s left"));
        let line = format!(
            "{phase}: {gbit_s:.2} Gbit/s, {} connected, {} unchoked, {} lost",
            totals.connected, totals.unchoked, totals.lost
        );
        // There is nowhere to say that a line for a person could not be shown.
        let _ = write!(io::stderr().lock(), "\r\x1b[K{line}");
    }

    /// Clears the line.
    pub(crate) fn end(&self) {
        if self.is_shown {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}
