//! What can go wrong between us and a tracker.

use std::error::Error;
use std::io;

use tracker::Failure;
use tracker::client::AnnounceFailure;

/// Why a tracker gave no good answer. The fault is the tracker's or the network's, unless it says otherwise.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TransportError {
    /// The tracker says no.
    #[error("{0}")]
    Refused(Failure),
    /// No connection, no answer in time, or no sense in it.
    #[error("{0}")]
    Lost(String),
    /// The tracker has no address in this family, or this host no way to one.
    #[error("{0}")]
    NoAddress(String),
    /// The tracker's URL follows no convention by which it could be scraped.
    #[error("this tracker cannot be scraped")]
    NoScrape,
}

impl TransportError {
    /// From a failed system call; one that says that this host lacks the whole address family is told apart.
    pub(super) fn from_io(what: &str, error: &io::Error) -> TransportError {
        if is_unreachable_family(error) {
            TransportError::NoAddress(format!("{what}: {error}"))
        } else {
            TransportError::Lost(format!("{what}: {error}"))
        }
    }

    /// From an HTTP error, with the causes that it keeps to itself.
    pub(crate) fn from_http(error: reqwest::Error) -> TransportError {
        if error.is_timeout() {
            return TransportError::Lost("timed out".to_owned());
        }
        let error = error.without_url();
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            if let Some(io_error) = inner.downcast_ref::<io::Error>()
                && is_unreachable_family(io_error)
            {
                return TransportError::NoAddress(io_error.to_string());
            }
            let text = inner.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = inner.source();
        }
        TransportError::Lost(message)
    }
}

impl From<TransportError> for AnnounceFailure {
    fn from(error: TransportError) -> AnnounceFailure {
        match error {
            TransportError::Refused(failure) => AnnounceFailure::Refused(failure),
            TransportError::NoAddress(why) => AnnounceFailure::NoAddress(why),
            TransportError::Lost(why) => AnnounceFailure::Lost(why),
            TransportError::NoScrape => AnnounceFailure::Lost(error.to_string()),
        }
    }
}

fn is_unreachable_family(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no kind of its own.
    let has_no_family = error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    has_no_family || matches!(error.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable)
}
