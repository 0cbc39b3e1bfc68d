//! SIGINT and SIGTERM: the first asks for an orderly end, the second ends at once. SIGUSR1 asks how things are, and SIGHUP, of
//! a service, that settings are read again.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use storage::Meter;

use crate::failure::Failure;

/// Hears the signals from its making on.
pub(crate) struct Interrupt {
    asked: Receiver<Asked>,
    hashing: Arc<Mutex<Hashing>>,
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// An orderly end.
    Stop,
    /// What has been measured.
    Measurements,
    /// The settings are different.
    Reload,
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
        Interrupt::hear_all(&[SIGINT, SIGTERM, SIGUSR1])
    }

    /// The same for whoever can read settings again; SIGHUP ends others.
    pub(crate) fn hear_with_reload() -> Result<Interrupt, Failure> {
        Interrupt::hear_all(&[SIGINT, SIGTERM, SIGUSR1, SIGHUP])
    }

    fn hear_all(heard: &[i32]) -> Result<Interrupt, Failure> {
        let mut signals = Signals::new(heard).map_err(|error| Failure::from(error).context("signals"))?;
        let (ask, asked) = channel();
        let hashing: Arc<Mutex<Hashing>> = Arc::default();
        let cancelled = Arc::clone(&hashing);
        let listen = move || {
            let mut stops = 0;
            for signal in signals.forever() {
                let asked = match signal {
                    SIGUSR1 => Some(Asked::Measurements),
                    SIGHUP => Some(Asked::Reload),
                    _ => None,
                };
                if let Some(asked) = asked {
                    let _ = ask.send(asked);
                    continue;
                }
                stops += 1;
                let mut hashing = cancelled.lock().unwrap_or_else(PoisonError::into_inner);
                hashing.is_cancelled = true;
                if let Some(meter) = &hashing.meter {
                    meter.cancel();
                }
                drop(hashing);
                if ask.send(Asked::Stop).is_err() || stops > 1 {
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

    /// Waits for a signal for so long.
    pub(crate) fn wait(&self, at_most: Duration) -> Option<Asked> {
        match self.asked.recv_timeout(at_most) {
            Ok(asked) => Some(asked),
            Err(RecvTimeoutError::Timeout) => None,
            // Nobody listens any more, so nobody could stop us later.
            Err(RecvTimeoutError::Disconnected) => Some(Asked::Stop),
        }
    }
}
