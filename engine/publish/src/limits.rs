//! What one tree may cost. Reaching a limit refuses what is beyond it and says so; nothing that was published is
//! withdrawn for it.

/// The most entries (files, directories, links) that are remembered below one root, about 200 bytes each. Releases that
/// hold an entry beyond them are not published.
pub const MAX_ENTRIES: usize = 1_000_000;

/// The longest path below a root, in bytes: what Linux takes for one (`PATH_MAX`).
pub const MAX_PATH_BYTES: usize = 4096;

/// How deep a path may lie below its root. What lies deeper is not looked at.
pub const MAX_DEPTH: usize = 64;

/// How many releases are prepared at once. One already keeps all cores and a disk busy; a second one would only make both
/// late.
pub const MAX_PREPARING: usize = 1;

/// The largest file beside a release that says when it opens; what is larger says nothing.
pub const MAX_EMBARGO_BYTES: usize = 256;

/// So many releases of a root may vanish together without a question, whatever their share.
pub const WITHDRAWN_UNASKED: usize = 10;

/// For how long a file is at least left alone after it was seen to change, however old it says it is: renames at the end
/// of a transfer come in one burst.
pub const QUIET_MS: i64 = 2_000;

/// A temporary file that nobody has touched for so long was left behind, and no longer holds up its release.
pub const ABANDONED_MS: i64 = 24 * 3600 * 1000;

/// A look that was asked for and not given is asked for again after so long.
pub const LOOK_AGAIN_MS: i64 = 60_000;

/// After the first failure a release is tried again so much later, twice as long after each further one.
pub const RETRY_MS: i64 = 30_000;

/// The longest time between two tries.
pub const RETRY_MAX_MS: i64 = 3600 * 1000;
