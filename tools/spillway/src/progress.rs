//! The bar that shows hashing on a terminal: done, GB/s, time left. Elsewhere nothing is drawn.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use storage::Meter;

use crate::logging;

/// How often the bar is drawn again. Ten times a second looks alive and costs nothing beside hashing.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// Runs `work`, which moves `meter`, and shows on a terminal how far it is. `what` is a word like "hashing".
pub(crate) fn shown<T>(what: &'static str, meter: &Meter, work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return work();
    }
    std::thread::scope(|scope| {
        let (done, is_done) = channel::<()>();
        scope.spawn(move || {
            let bar = byte_bar(what);
            while is_done.recv_timeout(DRAW_EVERY) == Err(RecvTimeoutError::Timeout) {
                let progress = meter.progress();
                bar.set_length(progress.total_bytes);
                bar.set_position(progress.hashed_bytes);
            }
            bar.finish_and_clear();
            logging::screen().remove(&bar);
        });
        let result = work();
        drop(done);
        result
    })
}

fn byte_bar(what: &'static str) -> ProgressBar {
    let bar = logging::screen().add(ProgressBar::new(0));
    let template = "{msg} [{bar:30}] {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what);
    bar
}
