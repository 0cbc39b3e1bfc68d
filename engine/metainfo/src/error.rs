//! Why bytes are not a torrent that can be used. The fault is the torrent file's.

use bencode::DecodeError;

use crate::layout::LayoutError;

/// A torrent that is refused: which field, and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct TorrentError {
    field: String,
    problem: Problem,
}

impl TorrentError {
    pub(crate) fn new(field: impl Into<String>, problem: Problem) -> TorrentError {
        TorrentError { field: field.into(), problem }
    }

    /// The field as a path from the top of the file, such as `info.files[3].length`.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What is wrong with it.
    pub fn problem(&self) -> Problem {
        self.problem
    }
}

/// What can be wrong with a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// The bytes are not bencode, or beyond a limit of the decoder.
    #[error("not bencoded data: {0}")]
    NotBencode(DecodeError),
    /// The field is not there.
    #[error("is missing")]
    Missing,
    /// The field holds another type of value.
    #[error("is not {0}")]
    WrongType(&'static str),
    /// A size below zero.
    #[error("is negative")]
    Negative,
    /// A piece length of zero, or longer than any torrent needs.
    #[error("is {found}, but must be from {least} to {most}")]
    OutOfRange {
        /// What the torrent says.
        found: i64,
        /// The least allowed.
        least: u32,
        /// The most allowed.
        most: u32,
    },
    /// A v2 piece length that is not a power of two.
    #[error("is {0}, which is not a power of two")]
    NotAPowerOfTwo(u32),
    /// A version of the format that is not known.
    #[error("is {0}; only version 2 is known")]
    UnknownVersion(i64),
    /// A string that should hold whole hashes does not.
    #[error("is {found_bytes} bytes long, but should be {needed_bytes}")]
    WrongSize {
        /// Bytes in the field.
        found_bytes: u64,
        /// Bytes that it should have.
        needed_bytes: u64,
    },
    /// The list of files holds nothing.
    #[error("holds no files")]
    NoFiles,
    /// Sizes or counts beyond the limits.
    #[error("{0}")]
    Layout(LayoutError),
    /// Names add up to more than can be held.
    #[error("the names are longer than 4 GiB")]
    TooManyNames,
    /// A file of the v2 tree has something beside its own description, or the tree itself is a file.
    #[error("is a file and a folder at once")]
    FileAndFolder,
    /// The v1 and the v2 part of a hybrid describe different things.
    #[error("the v1 and the v2 part disagree: {0}")]
    PartsDisagree(&'static str),
    /// A file of more than one piece has no piece layer.
    #[error("has no layer for a file of more than one piece")]
    NoLayer,
    /// A piece layer does not hash to the root of its file.
    #[error("does not hash to the file's root")]
    WrongRoot,
    /// A piece layer of no file in the torrent.
    #[error("belongs to no file")]
    StrayLayer,
}

/// Short for a result of parsing.
pub(crate) type Result<T> = std::result::Result<T, TorrentError>;
