//! SIGINT and SIGTERM: the first asks for an orderly end, the second ends at once.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use storage::Meter;

use crate::failure::Failure;

/// Hears the signals from its making on.
pub(crate) struct Interrupt {
    asked: Receiver<()>,
    hashing: Arc<Mutex<Hashing>>,
}

/// The hashing under way, which a signal cancels, and whether one has come already.
#[derive(Default)]
struct Hashing {
    meter: Option<Arc<Meter>>,
    is_cancelled: bool,
}

impl Interrupt {
    /// Takes the signals over from the system, which would end the process.
    pub(crate) fn hear() -> Result<Interrupt, Failure> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|error| Failure::from(error).context("signals"))?;
        let (ask, asked) = channel();
        let hashing: Arc<Mutex<Hashing>> = Arc::default();
        let cancelled = Arc::clone(&hashing);
        let listen = move || {
            for (count, signal) in signals.forever().enumerate() {
                let mut hashing = cancelled.lock().unwrap_or_else(PoisonError::into_inner);
                hashing.is_cancelled = true;
                if let Some(meter) = &hashing.meter {
                    meter.cancel();
                }
                drop(hashing);
                if ask.send(()).is_err() || count > 0 {
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
            }
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(listen)
            .map_err(|error| Failure::from(error).context("signals"))?;
        Ok(Interrupt { asked, hashing })
    }

    /// A meter for the next hashing; a signal cancels it, or has done so already.
    pub(crate) fn meter(&self) -> Arc<Meter> {
        let meter = Arc::new(Meter::new());
        let mut hashing = self.hashing.lock().unwrap_or_else(PoisonError::into_inner);
        if hashing.is_cancelled {
            meter.cancel();
        }
        hashing.meter = Some(Arc::clone(&meter));
        meter
    }

    /// Waits for a signal for so long. True if one has come.
    pub(crate) fn wait(&self, at_most: Duration) -> bool {
        !matches!(self.asked.recv_timeout(at_most), Err(RecvTimeoutError::Timeout))
    }
}
