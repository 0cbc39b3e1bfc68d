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

/// One file of a release, for [`Fingerprint::of`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContentFile {
    /// Its path below the release; empty for a release that is one file.
    pub path: String,
    /// Of a link that is kept: its target from the top of the release.
    pub link_target: Option<String>,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// When it was last written, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Its inode.
    pub inode: u64,
}

impl Fingerprint {
    /// One that no content has.
    pub const NONE: Fingerprint = Fingerprint([0; 16]);

    /// That of a release with these files.
    pub fn of(mut files: Vec<ContentFile>) -> Fingerprint {
        files.sort_unstable();
        let mut fingerprinter = Fingerprinter::new();
        for ContentFile { path, link_target, size_bytes, mtime_ns, inode } in &files {
            let identity = Identity { size_bytes: *size_bytes, mtime_ns: *mtime_ns, inode: *inode };
            match link_target {
                Some(target) => fingerprinter.add_link(path, target),
                None => fingerprinter.add_file(path, &identity),
            }
        }
        fingerprinter.finish()
    }
}

/// Takes the files of a release in the order of the bytes of their paths.
pub(crate) struct Fingerprinter(hash::Sha256);

impl Fingerprinter {
    pub(crate) fn new() -> Fingerprinter {
        Fingerprinter(hash::Sha256::new())
    }

    pub(crate) fn add_file(&mut self, relative: &str, identity: &Identity) {
        // An empty file has no content that could be another one, and no record remembers it.
        let identity = if identity.size_bytes == 0 { &Identity::NONE } else { identity };
        self.add(relative, 0, identity, "");
    }

    pub(crate) fn add_link(&mut self, relative: &str, target: &str) {
        self.add(relative, 1, &Identity::NONE, target);
    }

    fn add(&mut self, relative: &str, tag: u8, identity: &Identity, target: &str) {
        let mut fixed = [tag; 33];
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

/// Where a link in a release points to, from the top of the release, as torrents have it (BEP 47). One that leads out, which no
/// torrent can hold, is left as it is.
pub(crate) fn target_from_top(link: &str, target: &str) -> String {
    let mut at: Vec<&str> = link.split('/').collect();
    at.pop();
    let is_inside = target.split('/').enumerate().all(|(index, component)| match component {
        "" if index == 0 => false,
        "" | "." => true,
        ".." => at.pop().is_some(),
        name => {
            at.push(name);
            true
        }
    });
    if is_inside { at.join("/") } else { target.to_owned() }
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
    const NONE: Identity = Identity { size_bytes: 0, mtime_ns: 0, inode: 0 };

    pub(crate) fn of(seen: &Seen) -> Identity {
        match seen.kind {
            Kind::File => Identity { size_bytes: seen.size_bytes, mtime_ns: seen.mtime_ns, inode: seen.inode },
            // A directory's time changes with what it holds, which is seen by itself; a link is its target.
            Kind::Directory | Kind::Link(_) | Kind::Unusable(_) => Identity::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_of_a_link_is_counted_from_the_top() {
        for (link, target, from_top) in [
            ("a", "b", "b"),
            ("sub/a", "b", "sub/b"),
            ("sub/a", "../b", "b"),
            ("sub/a", "./deep//c", "sub/deep/c"),
            ("sub/a", "../../out", "../../out"),
            ("a", "/etc/passwd", "/etc/passwd"),
        ] {
            assert_eq!(target_from_top(link, target), from_top, "{link} -> {target}");
        }
    }
}
