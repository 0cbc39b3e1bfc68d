//! What a tree asks for, what it is told of how that went, and what it says of its releases.

use crate::fingerprint::Fingerprint;
use crate::rules::Becomes;

/// What is to be done now. Actions are given in the order in which they are to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Look at this path and what is below it (empty: at all), and hand over a [`crate::Look`].
    Look {
        /// The path below the root.
        path: Box<str>,
    },
    /// Hash this release, write its output files, serve and announce it, then tell the [`Outcome`].
    Publish {
        /// Its path below the root.
        path: Box<str>,
        /// A file or a directory.
        becomes: Becomes,
        /// The state of the content that is meant.
        fingerprint: Fingerprint,
        /// Bytes of its content.
        size_bytes: u64,
        /// The device that it lies on.
        device: u64,
        /// When it opens, seconds since 1970, if its own file or the root says so.
        release_at: Option<i64>,
    },
    /// Its content changed while it was prepared: stop that, and tell the [`Outcome`].
    Cancel {
        /// Its path below the root.
        path: Box<str>,
    },
    /// The content is not there, or not as it was: serve and announce it no longer, but forget nothing.
    Suspend {
        /// Its path below the root.
        path: Box<str>,
    },
    /// The content is back as it was: serve and announce it again.
    Resume {
        /// Its path below the root.
        path: Box<str>,
    },
    /// Serve and announce it no longer, remove its output files.
    Withdraw {
        /// Its path below the root.
        path: Box<str>,
        /// Why.
        why: Why,
    },
    /// A published release opens at another time, in seconds since 1970; or now.
    Embargo {
        /// Its path below the root.
        path: Box<str>,
        /// When.
        release_at: Option<i64>,
    },
    /// Withdrawals are held back, or no longer.
    Held(Option<Hold>),
}

/// Why a release is withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its content was gone for longer than the grace.
    Gone,
    /// Its content is another one, and was not seen to become what it was again.
    Changed,
}

/// Why releases that are gone are not withdrawn: it looks like an accident.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Hold {
    /// The root itself is gone.
    #[error("the root cannot be read ({0}): its releases are kept until it is back")]
    RootGone(Box<str>),
    /// Something was unmounted, as far as one can see.
    #[error(
        "{0} releases are gone together with the file system that they lay on: they are kept until it is mounted again"
    )]
    Unmounted(usize),
    /// Too many at once.
    #[error(
        "{gone} of {of} releases are gone at once, more than `max_withdraw_percent` allows: they are kept until they are back or it is raised"
    )]
    TooMany {
        /// Releases that are gone.
        gone: usize,
        /// Releases that were published.
        of: usize,
    },
}

/// How an asked-for publication ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is served and announced.
    Published,
    /// It could not be done, and why. It is tried again later, or when the content changes.
    Failed(Box<str>),
    /// The very same torrent is published from another place, named here.
    Twin(Box<str>),
    /// It was stopped by [`Action::Cancel`], or the content was found changed.
    Cancelled,
}

/// How one release is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseLine {
    /// Its path below the root.
    pub path: Box<str>,
    /// A file or a directory.
    pub becomes: Becomes,
    /// What is the matter with it.
    pub state: State,
}

/// What is the matter with a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is not published yet, and why.
    Waiting(Waiting),
    /// It is being hashed, or its files are being written.
    Preparing,
    /// It is served and announced.
    Published,
    /// Its content is gone, and when (by the clock that never jumps) that was seen.
    Missing {
        /// Milliseconds.
        since_ms: i64,
    },
    /// It could not be published.
    Failed {
        /// Why.
        reason: Box<str>,
        /// How often it was tried.
        attempts: u32,
    },
    /// The very same torrent is published from there.
    Twin(Box<str>),
}

/// What a release waits for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Waiting {
    /// Until this time nothing may change.
    #[error("its content has changed a moment ago")]
    Settling {
        /// When it will have settled, in milliseconds by the clock that never jumps.
        until_ms: i64,
    },
    /// For a turn.
    #[error("others are hashed first")]
    Turn,
    /// For a file to be finished.
    #[error("{0} is not finished")]
    Unfinished(Box<str>),
    /// For content.
    #[error("it is empty")]
    Empty,
    /// For a directory that could not be read.
    #[error("{0} cannot be read: let the service read it, or exclude it")]
    Unreadable(Box<str>),
    /// For somebody to take something out of it.
    #[error("{path}: {reason}")]
    Unusable {
        /// The entry below the root.
        path: Box<str>,
        /// What is wrong with it.
        reason: Box<str>,
    },
    /// For the file beside it to say a time.
    #[error("{path}: {reason}")]
    Embargo {
        /// The file below the root.
        path: Box<str>,
        /// What is wrong with it.
        reason: Box<str>,
    },
    /// For another name: this one is that of another release's output file.
    #[error("its name is that of an output file of {0}: rename one of them")]
    NameTaken(Box<str>),
    /// For a smaller tree.
    #[error("the root holds more entries than are looked at")]
    TooManyEntries,
}
