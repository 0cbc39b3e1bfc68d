//! Whole values from untrusted bytes.

use crate::error::{DecodeError, ErrorKind};
use crate::token::{Limits, Tokens};
use crate::value::Value;

/// The value that `input` is. Bytes behind it are an error. The whole input is checked here, once; the value
/// borrows from it and allocates nothing.
pub fn decode<'a>(input: &'a [u8], limits: &Limits) -> Result<Value<'a>, DecodeError> {
    match decode_prefix(input, limits)? {
        (value, []) => Ok(value),
        (_, rest) => Err(DecodeError { offset: input.len() - rest.len(), kind: ErrorKind::TrailingData }),
    }
}

/// The value that `input` starts with, and the bytes behind it (a `ut_metadata` message carries its piece there).
pub fn decode_prefix<'a>(input: &'a [u8], limits: &Limits) -> Result<(Value<'a>, &'a [u8]), DecodeError> {
    let mut tokens = Tokens::new(input, limits)?;
    while tokens.next_token()?.is_some() {}
    let (raw, rest) = input.split_at(tokens.offset());
    let (value, _) = Value::read(raw, 0).ok_or(DecodeError { offset: 0, kind: ErrorKind::Truncated })?;
    Ok((value, rest))
}

#[cfg(test)]
mod tests;
