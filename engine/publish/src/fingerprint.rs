//! What a release's content is, without reading it: the names, sizes, times and inodes of its files in one number.

use crate::sight::{Kind, Seen};

/// Two states of a release with the same fingerprint have the same content, as far as the file system says. Devices are
/// left out, since they may be renumbered when a machine restarts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 16]);

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// Takes the files of a release in the order of their paths.
pub(crate) struct Fingerprinter(hash::Sha256);

impl Fingerprinter {
    pub(crate) fn new() -> Fingerprinter {
        Fingerprinter(hash::Sha256::new())
    }

    /// `relative` is the path below the release; empty for a release that is one file.
    pub(crate) fn add(&mut self, relative: &str, kind: &Kind, identity: &Identity) {
        let (tag, target) = match kind {
            Kind::Link(target) => (1, &**target),
            Kind::File | Kind::Directory | Kind::Unusable(_) => (0, ""),
        };
        let mut fixed = [0; 33];
        fixed[0] = tag;
        fixed[1..9].copy_from_slice(&identity.size_bytes.to_le_bytes());
        fixed[9..17].copy_from_slice(&identity.mtime_ns.to_le_bytes());
        fixed[17..25].copy_from_slice(&identity.inode.to_le_bytes());
        fixed[25..29].copy_from_slice(&(relative.len() as u32).to_le_bytes());
        fixed[29..33].copy_from_slice(&(target.len() as u32).to_le_bytes());
        self.0.update(&fixed);
        self.0.update(relative.as_bytes());
        self.0.update(target.as_bytes());
    }

    pub(crate) fn finish(self) -> Fingerprint {
        let digest = self.0.finish().0;
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        Fingerprint(short)
    }
}

/// The part of what was seen that tells one content from another. A new link to the file, another owner or mode change
/// none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) size_bytes: u64,
    pub(crate) mtime_ns: i64,
    pub(crate) inode: u64,
}

impl Identity {
    pub(crate) fn of(seen: &Seen) -> Identity {
        match seen.kind {
            Kind::File => Identity { size_bytes: seen.size_bytes, mtime_ns: seen.mtime_ns, inode: seen.inode },
            // A directory's time changes with what it holds, which is seen by itself; a link is its target.
            Kind::Directory | Kind::Link(_) | Kind::Unusable(_) => Identity { size_bytes: 0, mtime_ns: 0, inode: 0 },
        }
    }
}
