//! The file beside a release that says when it opens: `NAME.release-at`, one RFC 3339 time and nothing else.

/// What the name of the file ends with, after the name of the release.
pub const EMBARGO_SUFFIX: &str = ".release-at";
