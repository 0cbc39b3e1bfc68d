//! Why a run could not be carried out, as one line that says what to change.

use std::fmt::Display;

/// The line that the user reads after `error: `.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// A failure with this message.
    pub(crate) fn new(message: impl Display) -> Failure {
        Failure(message.to_string())
    }

    /// Puts `what` in front.
    pub(crate) fn context(self, what: impl Display) -> Failure {
        Failure(format!("{what}: {}", self.0))
    }

    /// The message on one line, without characters that would steer a terminal.
    pub(crate) fn line(&self) -> String {
        self.0.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(error.to_string())
    }
}
