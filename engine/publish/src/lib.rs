//! What a tree of files publishes, and when: which paths are releases, when one is whole, when one is gone. What was seen
//! and the time come in, what is to be done goes out; who looks at files, hashes them and serves them is elsewhere.
//!
//! - [`Rules`] say which paths may be releases; [`manners`] know the names of files that are not finished.
//! - [`parse_release_at`] reads the file beside a release that says when it opens.
//! - [`Tree`] remembers what was seen below one root and gives [`Action`]s.
//! - [`metalink`] and [`checksums`] write what a release is handed out with beside its torrent.
#![forbid(unsafe_code)]

mod action;
pub mod checksums;
mod embargo;
mod fingerprint;
pub mod limits;
pub mod manners;
pub mod metalink;
mod rules;
mod sight;
mod tree;

pub use action::{Action, Hold, Outcome, ReleaseLine, State, Waiting, Why};
pub use embargo::{EMBARGO_SUFFIX, EmbargoError, parse_release_at};
pub use fingerprint::{ContentFile, Fingerprint};
pub use rules::{Becomes, Role, Rule, Rules, RulesError};
pub use sight::{Kind, Look, Moment, Seen, Top};
pub use tree::{Known, Timing, Tree};
