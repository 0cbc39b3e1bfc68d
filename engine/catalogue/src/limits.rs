//! What the catalogue holds at most. Reaching a limit refuses, pushes back or drops the oldest, as each says.

/// Submissions that wait for the writer; one more waits for its place.
pub const QUEUED_MAX: usize = 256;

/// Submissions that go into one transaction. What waits longer is in the next.
pub const GROUP_MAX: usize = 64;

/// Torrents. One more is refused.
pub const TORRENTS_MAX: u64 = 2_000_000;

/// Releases that were withdrawn and are still remembered. The oldest are dropped.
pub const WITHDRAWN_MAX: u64 = 10_000;

/// Items remembered of each feed. Those that were not met in it for longest are dropped, but none that is still to be
/// fetched before the others.
pub const FEED_ITEMS_MAX: u64 = 20_000;

/// Deliveries that wait for one target. The oldest are dropped.
pub const DELIVERIES_MAX: u64 = 1_000;

/// The longest text or path that is kept: twice what Linux takes for a path.
pub const TEXT_BYTES_MAX: usize = 8192;

/// The longest body of a delivery.
pub const DELIVERY_BYTES_MAX: usize = 256 << 10;

/// Second copies that are written before it is noted that they are.
pub(crate) const KEPT_AT_ONCE: usize = 32;

/// Second copies follow when nothing was to be done for so long: what changes in several steps is then copied once.
pub(crate) const COPY_AFTER_MS: u64 = 50;

/// But no later than this, as soon as nothing waits.
pub(crate) const COPY_BEFORE_MS: u64 = 2_000;

/// How long an orderly end waits for second copies; the next start goes on with them.
pub(crate) const LAST_COPIES_MS: u64 = 1_000;

/// How long a statement waits for another process that reads the database (a backup, a shell).
pub(crate) const BUSY_MS: u64 = 5_000;

/// The write-ahead log is cut back to this once it was longer.
pub(crate) const LOG_BYTES: i64 = 16 << 20;

/// A database up to this size is checked whole after an unclean stop; of a larger one all but the metainfo, which its own
/// info-hash proves.
pub(crate) const WHOLE_CHECK_BYTES: u64 = 256 << 20;
