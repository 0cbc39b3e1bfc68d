//! The bar that shows hashing on a terminal: done, GB/s, time left. Elsewhere nothing is drawn.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::logging;

/// How often the bar is drawn again. Ten times a second looks alive and costs nothing beside hashing.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// A bar over bytes, hidden when stderr is no terminal.
pub(crate) struct ByteBar(ProgressBar);

impl ByteBar {
    /// A bar named `what` (as in "hashing") for `total_bytes` of work.
    pub(crate) fn new(what: &'static str, total_bytes: u64) -> ByteBar {
        let bar = logging::screen().add(ProgressBar::new(total_bytes));
        let template = "{msg} [{bar:30}] {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what);
        bar.enable_steady_tick(DRAW_EVERY);
        ByteBar(bar)
    }

    /// Tells how far the work has come.
    pub(crate) fn set(&self, done_bytes: u64) {
        self.0.set_position(done_bytes);
    }
}

impl Drop for ByteBar {
    /// The bar leaves no trace on the screen, whether the work succeeded or not.
    fn drop(&mut self) {
        self.0.finish_and_clear();
        logging::screen().remove(&self.0);
    }
}
