//! What a look at a tree saw, as plain values. Whoever looks says when it began to, so that what happened during a look
//! counts as later.

/// A time, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds by a clock that never jumps.
    pub at_ms: i64,
    /// Milliseconds since 1970 by the clock that files are stamped with.
    pub wall_ms: i64,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, or a link to one where links are followed.
    File,
    /// A directory, or a link to one where links are followed.
    Directory,
    /// A symbolic link that is kept, with its target.
    Link(Box<str>),
    /// Something that no torrent can hold, and what to do about it: a pipe, a name that is not UTF-8, a link that leads
    /// out, a directory that cannot be read.
    Unusable(Box<str>),
}

/// One entry below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its path below the root: components joined by `/`, none empty.
    pub path: Box<str>,
    /// What it is.
    pub kind: Kind,
    /// Its length in bytes; nothing for what is not a file.
    pub size_bytes: u64,
    /// When its content was last written, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// When anything about it last changed, nanoseconds since 1970. Nobody can set it to the past.
    pub ctime_ns: i64,
    /// Its inode.
    pub inode: u64,
    /// The device that it lies on.
    pub device: u64,
    /// How many names the inode has, here and elsewhere.
    pub name_count: u64,
    /// What a file called `*.release-at` says: seconds since 1970, or what is wrong with it.
    pub release_at: Option<Result<i64, Box<str>>>,
}

impl Seen {
    /// A regular file; its inode and times can be set on it.
    pub fn file(path: &str, size_bytes: u64) -> Seen {
        let (mtime_ns, ctime_ns, inode, device, name_count, release_at) = (0, 0, 0, 0, 1, None);
        let (path, kind) = (path.into(), Kind::File);
        Seen { path, kind, size_bytes, mtime_ns, ctime_ns, inode, device, name_count, release_at }
    }

    /// A directory.
    pub fn directory(path: &str) -> Seen {
        Seen { kind: Kind::Directory, ..Seen::file(path, 0) }
    }
}

/// How the root itself was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Top {
    /// A directory that could be read.
    There {
        /// The device that it lies on.
        device: u64,
        /// Its inode.
        inode: u64,
    },
    /// Not there, not a directory or not readable, and why.
    Gone(Box<str>),
}

/// All that was seen below one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What was looked at, below the root; empty for all of it. What was known here and is not in `entries` is gone.
    pub under: Box<str>,
    /// When the look began.
    pub began: Moment,
    /// The root.
    pub top: Top,
    /// What is there: `under` itself if it is not the root, and everything below it that [`crate::Rules::role`] does not
    /// skip, parents before what they hold.
    pub entries: Vec<Seen>,
    /// Directories that could not be read. What is known below them stays as it was.
    pub unread: Vec<Box<str>>,
    /// Entries were left out, since there are more than [`crate::limits::MAX_ENTRIES`].
    pub is_cut: bool,
}
