//! What can be wrong with bencoded bytes.

/// Where and why bytes are not bencode, or not within the limits. The fault is the sender's or the file's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct DecodeError {
    /// Bytes from the start of the input.
    pub offset: usize,
    /// What is wrong there.
    pub kind: ErrorKind,
}

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ErrorKind {
    /// The input is longer than [`crate::Limits::input_bytes`].
    #[error("the input is longer than {0} bytes")]
    TooLong(usize),
    /// The input ends within a value.
    #[error("the data ends in the middle of a value")]
    Truncated,
    /// A byte that starts no value.
    #[error("byte 0x{0:02x} where a value must start")]
    NotAValue(u8),
    /// Lists and dictionaries nest deeper than [`crate::Limits::depth`].
    #[error("lists and dictionaries nest deeper than {0}")]
    TooDeep(usize),
    /// An integer without digits, with leading zeros, with `-0` or with something else in it.
    #[error("not an integer")]
    BadInteger,
    /// An integer that does not fit 64 bits with sign.
    #[error("the integer does not fit 64 bits")]
    IntegerTooLong,
    /// A string whose length is not a plain number.
    #[error("not a string length")]
    BadLength,
    /// A dictionary key that is not a string.
    #[error("a dictionary key that is not a string")]
    KeyNotAString,
    /// A dictionary key without a value.
    #[error("a dictionary key without a value")]
    MissingValue,
    /// Dictionary keys out of order, under [`crate::KeyOrder::Sorted`].
    #[error("dictionary keys are not sorted")]
    Unsorted,
    /// A dictionary key twice in a row, under [`crate::KeyOrder::Sorted`].
    #[error("a dictionary key appears twice")]
    DuplicateKey,
    /// Bytes behind the value.
    #[error("data behind the end of the value")]
    TrailingData,
}
