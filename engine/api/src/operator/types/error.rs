//! Why a request of the operator was not done.

use serde::{Deserialize, Serialize};

/// Why a request was not done. As JSON it stands under the key `error`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct OperatorError {
    /// For programs.
    pub code: ErrorCode,
    /// What is wrong, as one line.
    pub message: String,
    /// What to do about it, as one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What kind of error it is. Each has one HTTP status.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request is not one that can be read: 400.
    Malformed,
    /// The request can be read and asks for what cannot be: 422.
    Invalid,
    /// There is no such torrent, release or path: 404.
    NotFound,
    /// Several torrents are meant: 409.
    Ambiguous,
    /// It contradicts how things are, for example a torrent that is there already: 409.
    Conflict,
    /// Another method than the path takes: 405.
    MethodNotAllowed,
    /// The request is larger than any may be: 413.
    TooLarge,
    /// More requests wait than may: 503. Asking again helps.
    Busy,
    /// The service is starting or stopping, or its state cannot be written: 503.
    Unavailable,
    /// It took longer than an answer may; what was asked for may still happen: 504.
    TimedOut,
    /// A fault of the service or the machine: 500.
    Failed,
}

impl ErrorCode {
    /// The HTTP status that carries it.
    pub fn status(self) -> u16 {
        match self {
            ErrorCode::Malformed => 400,
            ErrorCode::Invalid => 422,
            ErrorCode::NotFound => 404,
            ErrorCode::Ambiguous | ErrorCode::Conflict => 409,
            ErrorCode::MethodNotAllowed => 405,
            ErrorCode::TooLarge => 413,
            ErrorCode::Busy | ErrorCode::Unavailable => 503,
            ErrorCode::TimedOut => 504,
            ErrorCode::Failed => 500,
        }
    }
}

impl OperatorError {
    /// An error without a hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> OperatorError {
        OperatorError { code, message: message.into(), hint: None }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> OperatorError {
        OperatorError { hint: Some(hint.into()), ..self }
    }
}
