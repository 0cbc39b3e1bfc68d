//! The file beside a release that says when it opens: `NAME.release-at`, one RFC 3339 time and nothing else.

use settings::Moment;

use crate::limits::MAX_EMBARGO_BYTES;

/// What the name of the file ends with, after the name of the release.
pub const EMBARGO_SUFFIX: &str = ".release-at";

/// Why a file says no time. The release stays shut until it does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbargoError {
    /// Far longer than a time.
    #[error("is longer than {MAX_EMBARGO_BYTES} bytes: write one time such as 2026-12-01T14:00:00Z")]
    TooLong,
    /// Not text, or not a time.
    #[error("{0}")]
    NoTime(String),
}

/// Seconds since 1970 at which a release opens. Give at most one byte more than [`MAX_EMBARGO_BYTES`] of the file.
pub fn parse_release_at(bytes: &[u8]) -> Result<i64, EmbargoError> {
    if bytes.len() > MAX_EMBARGO_BYTES {
        return Err(EmbargoError::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| EmbargoError::NoTime("is not text".to_owned()))?;
    let time: Moment = text.trim().parse().map_err(EmbargoError::NoTime)?;
    Ok(time.unix_s())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_time_with_its_zone_is_read() {
        assert_eq!(parse_release_at(b"2026-12-01T14:00:00Z\n"), Ok(1_796_133_600));
        assert_eq!(parse_release_at(b"  2026-12-01T15:00:00+01:00"), Ok(1_796_133_600));
    }

    #[test]
    fn a_file_that_says_no_time_is_an_error_of_one_line() {
        for bytes in [&b""[..], b"tomorrow", b"\xff\xfe", b"2026-12-01", &[b' '; 257]] {
            let problem = parse_release_at(bytes).unwrap_err().to_string();
            assert!(!problem.contains('\n') && !problem.is_empty(), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = parse_release_at(&bytes);
        }
    }
}
