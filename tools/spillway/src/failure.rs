//! How a verb fails: one line on stderr that a person can act on. Exit codes live here; usage errors are clap's (2).

use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;

/// Why a verb could not do its work, as the one line the user reads after `error: `.
///
/// Any error converts into it, so verbs use `?`; [`Failure::context`] adds the file or the step when the error itself does
/// not name it.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// A failure with this message.
    pub(crate) fn new(message: impl Display) -> Failure {
        Failure(message.to_string())
    }

    /// Puts `what` in front, as in `debian.torrent: no info dictionary`.
    pub(crate) fn context(self, what: impl Display) -> Failure {
        Failure(format!("{what}: {}", self.0))
    }

    /// The line without what comes before it.
    pub(crate) fn message(&self) -> &str {
        &self.0
    }

    /// Prints the line and gives the exit code for "failed".
    pub(crate) fn report(&self) -> ExitCode {
        let line = self.0.split(['\n', '\r']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        crate::output::error_line(&line);
        ExitCode::FAILURE
    }
}

impl<E: Error> From<E> for Failure {
    /// The error and what caused it, each said once: many errors already quote their source.
    fn from(error: E) -> Failure {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        Failure(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_cause_is_said_once_and_in_order() {
        let cause = std::io::Error::other("disk on fire");
        assert_eq!(Failure::from(Outer(cause)).context("a.torrent").0, "a.torrent: outer: disk on fire");
    }
}
