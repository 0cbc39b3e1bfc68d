//! Every limit of the node, and where it comes from.

use crate::Millis;

/// Nodes in a bucket, in an answer, and to announce to: the K of BEP 5.
pub const K: usize = 8;
/// Queries of one lookup that are waited for at once: the alpha of Kademlia.
pub const ALPHA: usize = 4;

/// The longest datagram that is read; others keep to 1,024 (BEP 32), but need not.
pub const MAX_DATAGRAM_BYTES: usize = 2_048;
/// The longest datagram that is sent (BEP 32).
pub const MAX_SENT_BYTES: usize = 1_024;
/// Lists in a message nest three deep; unknown keys may hold more.
pub const MAX_DEPTH: usize = 16;
/// The longest transaction id that is echoed; everybody uses 2 to 8 bytes, BEP 5 says "short".
pub const MAX_TRANSACTION_BYTES: usize = 32;
/// The longest token that is kept; those in use have 4 to 40 bytes.
pub const MAX_TOKEN_BYTES: usize = 128;
/// Peers taken from one answer: more do not fit a datagram that anybody sends.
pub const MAX_VALUES: usize = 200;
/// Nodes of a family taken from one answer; BEP 5 says eight, some send sixteen.
pub const MAX_NODES_OF_ANSWER: usize = 16;

/// A query that is not answered by then no longer holds up its lookup, and is asked again once.
pub const SLOW_MS: Millis = 1_000;
/// A query that is not answered by then has failed.
pub const DEAD_MS: Millis = 5_000;
/// Queries under way.
pub const MAX_PENDING: usize = 2_048;
/// Datagrams that wait to be polled; more are dropped, as the network would.
pub const MAX_TRANSMITS: usize = 4_096;

/// Heard from within this time a node is good (BEP 5).
pub const GOOD_MS: Millis = 15 * 60_000;
/// Queries in a row without an answer that make a node bad.
pub const BAD_FAILURES: u8 = 3;
/// Queries in a row without an answer after which nobody asks again.
pub const FORGET_FAILURES: u8 = 8;
/// Nodes that wait for room in a bucket.
pub const MAX_REPLACEMENTS: usize = 8;
/// Nodes of one /24 (or /48 of IPv6) in one bucket.
pub const MAX_SUBNET_NODES: usize = 2;
/// A bucket that did not change for so long is refreshed (BEP 5).
pub const REFRESH_MS: Millis = 15 * 60_000;
/// Between two pings of upkeep in a family: a table of 200 nodes is gone through in the quarter of an hour that they are
/// good for.
pub const UPKEEP_MS: Millis = 1_000;

/// Nodes that a lookup remembers.
pub const MAX_CANDIDATES: usize = 96;
/// Queries that a lookup sends before it ends with what it has.
pub const MAX_LOOKUP_QUERIES: usize = 160;
/// Of those, queries to nodes whose id does not fit their address (BEP 42).
pub const MAX_UNFIT_QUERIES: usize = 24;
/// How often one node is asked in a lookup.
pub const MAX_TRIES: u8 = 2;
/// Peers that one lookup reports in one family.
pub const MAX_LOOKUP_PEERS: usize = 2_000;
/// Lookups that a caller may have under way.
pub const MAX_LOOKUPS: usize = 64;

/// Addresses that wait for a ping that shows whether a node is there.
pub const MAX_PROBES: usize = 256;
/// Pings of such addresses in one tick.
pub const PROBES_PER_TICK: usize = 8;
/// Who asks us something without being known is pinged once in this time.
pub const PROBE_ASKER_MS: Millis = 60_000;
/// Where lookups begin while the table is empty: bootstrap nodes of a family.
pub const MAX_ROUTERS: usize = 32;
/// Nodes of a former run that are kept until the table is filled again.
pub const MAX_REMEMBERED: usize = 256;
/// Before the first retry of a bootstrap that found nobody.
pub const FIRST_BOOTSTRAP_RETRY_MS: Millis = 5_000;
/// Between retries in the end.
pub const LAST_BOOTSTRAP_RETRY_MS: Millis = 5 * 60_000;

/// How long a token's window is; the one before is accepted too, so a token holds for five to ten minutes (BEP 5).
pub const TOKEN_WINDOW_MS: Millis = 5 * 60_000;
/// How long an announced peer is remembered. Clients announce every 15 to 30 minutes.
pub const PEER_EXPIRY_MS: Millis = 45 * 60_000;
/// Between two sweeps of peers that have expired.
pub const SWEEP_MS: Millis = 60_000;

/// Addresses that answers have told us for ourselves, remembered.
pub const MAX_VOTES: usize = 32;
/// Votes of different networks that must agree before our id changes.
pub const VOTES_NEEDED: usize = 6;
/// Between two changes of our id: who votes must not keep us restarting.
pub const ID_CHANGE_MS: Millis = 10 * 60_000;

/// The largest state that is read.
pub const MAX_STATE_BYTES: usize = 64 * 1_024;
