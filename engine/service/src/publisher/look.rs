//! Looking at a tree: names and stamps, never contents, but for the small file beside a release that says when it opens. No
//! link is followed out of the root, and nothing that changes meanwhile is more than an older look.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use publish::limits::{MAX_EMBARGO_BYTES, MAX_ENTRIES};
use publish::{Kind, Look, Moment, Role, Rules, Seen, Top, parse_release_at};
use rustix::fs::OFlags;
use settings::Symlinks;

/// Looks at one root.
#[derive(Clone)]
pub(crate) struct Eye {
    root: PathBuf,
    rules: std::sync::Arc<Rules>,
    symlinks: Symlinks,
}

/// A directory that is still to be read: its path below the root, and the directories above it.
struct Pending {
    path: String,
    role: Role,
    above: Vec<(u64, u64)>,
}

struct Sights<'a> {
    eye: &'a Eye,
    /// The root without links, where links are followed.
    real_root: Option<PathBuf>,
    look: Look,
    pending: Vec<Pending>,
}

impl Eye {
    pub(crate) fn new(root: &Path, rules: std::sync::Arc<Rules>, symlinks: Symlinks) -> Eye {
        Eye { root: root.to_path_buf(), rules, symlinks }
    }

    /// What is at `under`, below the root, and below that; all of it if it is empty. Blocks.
    pub(crate) fn look(&self, under: &str, began: Moment) -> Look {
        let top = self.top();
        let (entries, unread, is_cut) = (Vec::new(), Vec::new(), false);
        let look = Look { under: under.into(), began, top: top.clone(), entries, unread, is_cut };
        if let Top::Gone(_) = top {
            return look;
        }
        let follows = self.symlinks == Symlinks::Follow;
        let real_root = if follows { self.root.canonicalize().ok() } else { None };
        let mut sights = Sights { eye: self, real_root, look, pending: Vec::new() };
        if let Err(error) = sights.begin(under) {
            sights.look.top = Top::Gone(reason(&error));
        }
        while let Some(directory) = sights.pending.pop() {
            sights.read(&directory);
        }
        // What was mounted or unmounted meanwhile makes two trees of one look.
        if self.top() != top {
            sights.look.top = Top::Gone("it changes while it is looked at".into());
        }
        sights.look
    }

    /// The root itself.
    pub(crate) fn top(&self) -> Top {
        match fs::metadata(&self.root) {
            Ok(found) if found.is_dir() => Top::There { device: found.dev(), inode: found.ino() },
            Ok(_) => Top::Gone("it is not a directory".into()),
            Err(error) => Top::Gone(reason(&error)),
        }
    }
}

impl Sights<'_> {
    /// The path itself, which is reached through directories only: a link that took the place of one leads elsewhere.
    fn begin(&mut self, under: &str) -> io::Result<()> {
        if under.is_empty() {
            // A root that cannot be read is not one without entries.
            drop(fs::read_dir(&self.eye.root)?);
            self.pending.push(Pending { path: String::new(), role: Role::Plain, above: Vec::new() });
            return Ok(());
        }
        let mut role = Role::Plain;
        for (slash, _) in under.match_indices('/') {
            let above = &under[..slash];
            let found = self.found(above);
            if !found.is_some_and(|(kind, _)| kind == Kind::Directory) {
                return Ok(());
            }
            role = self.eye.rules.role(role, above, true);
        }
        self.see(under, role, &[]);
        Ok(())
    }

    fn read(&mut self, directory: &Pending) {
        let path = self.eye.root.join(&directory.path);
        let listed = match fs::read_dir(&path) {
            Ok(listed) => listed,
            Err(error) => return self.cannot_read(&directory.path, &error),
        };
        for entry in listed {
            let name = match entry {
                Ok(entry) => entry.file_name(),
                Err(error) => return self.cannot_read(&directory.path, &error),
            };
            let shown = name.to_string_lossy();
            let path =
                if directory.path.is_empty() { shown.into_owned() } else { format!("{}/{shown}", directory.path) };
            if self.look.entries.len() >= MAX_ENTRIES {
                self.look.is_cut = true;
                return;
            }
            if name.to_str().is_some() {
                self.see(&path, directory.role, &directory.above);
            } else if directory.role != Role::Plain {
                let kind = Kind::Unusable("its name is not UTF-8, and torrents hold no other: rename it".into());
                self.look.entries.push(Seen { kind, ..Seen::file(&path, 0) });
            }
        }
    }

    /// One entry whose directory has the role `parent`.
    fn see(&mut self, path: &str, parent: Role, above: &[(u64, u64)]) {
        let Some((kind, stamps)) = self.found(path) else { return };
        let role = self.eye.rules.role(parent, path, kind == Kind::Directory);
        if role == Role::Skipped {
            return;
        }
        let mut seen = Seen { kind, ..Seen::file(path, 0) };
        if let Some(stamps) = stamps {
            seen.size_bytes = stamps.len();
            seen.mtime_ns = nanoseconds(stamps.mtime(), stamps.mtime_nsec());
            seen.ctime_ns = nanoseconds(stamps.ctime(), stamps.ctime_nsec());
            (seen.inode, seen.device, seen.name_count) = (stamps.ino(), stamps.dev(), stamps.nlink());
        }
        let own = (seen.device, seen.inode);
        if seen.kind == Kind::Directory && above.contains(&own) {
            seen.kind = Kind::Unusable("this symbolic link leads in a circle: take it away, or exclude it".into());
        }
        if role == Role::Embargo && seen.kind == Kind::File {
            seen.release_at = Some(self.release_at(path));
        }
        if seen.kind == Kind::Directory && role != Role::Temporary {
            let above = above.iter().copied().chain([own]).collect();
            self.pending.push(Pending { path: path.to_owned(), role, above });
        }
        self.look.entries.push(seen);
    }

    /// What is at a path; nothing if it has gone.
    fn found(&self, path: &str) -> Option<(Kind, Option<Metadata>)> {
        let full = self.eye.root.join(path);
        let unusable = |reason: &str| Some((Kind::Unusable(reason.into()), None));
        let found = match fs::symlink_metadata(&full) {
            Ok(found) => found,
            Err(error) if is_gone(&error) => return None,
            Err(error) => return unusable(&format!("cannot be looked at: {}", reason(&error))),
        };
        if !found.file_type().is_symlink() {
            return Some((kind(&found), Some(found)));
        }
        match self.eye.symlinks {
            Symlinks::Refuse => unusable("is a symbolic link, and `symlinks` says \"refuse\""),
            Symlinks::Keep => {
                match fs::read_link(&full).map(PathBuf::into_os_string).map(std::ffi::OsString::into_string) {
                    Ok(Ok(target)) => Some((Kind::Link(target.into()), Some(found))),
                    Ok(Err(_)) => unusable("is a symbolic link to a name that is not UTF-8"),
                    Err(_) => None,
                }
            }
            Symlinks::Follow => {
                let real = full.canonicalize().and_then(|target| Ok((fs::metadata(&target)?, target)));
                match (real, &self.real_root) {
                    (Ok((found, target)), Some(root)) if target.starts_with(root) => Some((kind(&found), Some(found))),
                    (Ok(_), _) => unusable("this symbolic link leads out of the tree: take it away, or exclude it"),
                    (Err(_), _) => unusable("this symbolic link leads nowhere: take it away, or exclude it"),
                }
            }
        }
    }

    fn release_at(&self, path: &str) -> Result<i64, Box<str>> {
        let cannot = |error: io::Error| Box::from(format!("cannot be read: {}", reason(&error)));
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file: File =
            OpenOptions::new().read(true).custom_flags(flags).open(self.eye.root.join(path)).map_err(cannot)?;
        let mut bytes = Vec::new();
        file.take(MAX_EMBARGO_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
        parse_release_at(&bytes).map_err(|error| error.to_string().into())
    }

    fn cannot_read(&mut self, directory: &str, error: &io::Error) {
        if directory.is_empty() {
            self.look.top = Top::Gone(reason(error));
        } else if !is_gone(error) {
            self.look.unread.push(directory.into());
        }
    }
}

fn kind(found: &Metadata) -> Kind {
    let kind = found.file_type();
    if kind.is_file() {
        Kind::File
    } else if kind.is_dir() {
        Kind::Directory
    } else {
        Kind::Unusable("is neither a file nor a directory: take it away, or exclude it".into())
    }
}

/// Vanished between two steps.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// What the system says, without its number.
fn reason(error: &io::Error) -> Box<str> {
    error.kind().to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::sync::Arc;

    use publish::{Becomes, Rule};

    fn eye(root: &Path, symlinks: Symlinks) -> Eye {
        let rule = |glob: &str, becomes| Rule { glob: glob.to_owned(), becomes };
        let rules =
            Rules::new(&[rule("ignored", Becomes::Ignored), rule("*", Becomes::Directory), rule("*", Becomes::File)]);
        Eye::new(root, Arc::new(rules.unwrap()), symlinks)
    }

    fn look(root: &Path, symlinks: Symlinks, under: &str) -> Look {
        let mut look = eye(root, symlinks).look(under, Moment { at_ms: 0, wall_ms: 0 });
        look.entries.sort_by(|left, right| left.path.cmp(&right.path));
        look
    }

    fn paths(look: &Look) -> Vec<&str> {
        look.entries.iter().map(|seen| &*seen.path).collect()
    }

    #[test]
    fn what_is_there_is_seen_with_its_stamps_and_what_is_ignored_is_not() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("one/deep")).unwrap();
        fs::create_dir_all(root.path().join("ignored/deep")).unwrap();
        fs::create_dir_all(root.path().join("one/.~tmp~")).unwrap();
        fs::write(root.path().join("one/.~tmp~/a"), "x").unwrap();
        fs::write(root.path().join("one/deep/a"), "abc").unwrap();
        let all = look(root.path(), Symlinks::Keep, "");
        assert_eq!(paths(&all), ["one", "one/.~tmp~", "one/deep", "one/deep/a"]);
        let file = all.entries.last().unwrap();
        let found = fs::metadata(root.path().join("one/deep/a")).unwrap();
        assert_eq!((file.size_bytes, file.inode, file.device), (3, found.ino(), found.dev()));
        assert_eq!(file.mtime_ns / 1_000_000_000, found.mtime());
        assert_eq!(paths(&look(root.path(), Symlinks::Keep, "one/deep")), ["one/deep", "one/deep/a"]);
        assert_eq!(paths(&look(root.path(), Symlinks::Keep, "one/gone")), Vec::<&str>::new());
    }

    #[test]
    fn a_root_that_is_gone_is_said_to_be() {
        let root = tempfile::tempdir().unwrap();
        let gone = look(&root.path().join("gone"), Symlinks::Keep, "");
        assert!(matches!(gone.top, Top::Gone(_)), "{:?}", gone.top);
        fs::write(root.path().join("file"), "").unwrap();
        assert!(matches!(look(&root.path().join("file"), Symlinks::Keep, "").top, Top::Gone(_)));
    }

    #[test]
    fn no_link_is_followed_out_of_the_root() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        fs::create_dir(root.path().join("one")).unwrap();
        fs::write(root.path().join("one/a"), "x").unwrap();
        symlink(outside.path(), root.path().join("one/out")).unwrap();
        symlink("a", root.path().join("one/in")).unwrap();
        symlink("../one", root.path().join("one/circle")).unwrap();
        for (symlinks, kinds) in [
            (Symlinks::Keep, ["link", "link", "link"]),
            (Symlinks::Follow, ["unusable", "file", "unusable"]),
            (Symlinks::Refuse, ["unusable", "unusable", "unusable"]),
        ] {
            let seen = look(root.path(), symlinks, "");
            let of = |path: &str| match seen.entries.iter().find(|seen| &*seen.path == path).map(|seen| &seen.kind) {
                Some(Kind::Link(_)) => "link",
                Some(Kind::File) => "file",
                Some(Kind::Directory) => "directory",
                Some(Kind::Unusable(_)) => "unusable",
                None => "nothing",
            };
            assert_eq!([of("one/out"), of("one/in"), of("one/circle")], kinds, "{symlinks:?}");
            assert!(!paths(&seen).iter().any(|path| path.contains("secret")), "{seen:?}");
        }
        // A directory that became a link since it was seen is no way in.
        assert_eq!(paths(&look(root.path(), Symlinks::Keep, "one/out/secret")), Vec::<&str>::new());
    }

    #[test]
    fn a_pipe_and_a_name_that_is_not_text_are_named() {
        use std::os::unix::ffi::OsStrExt;
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("one")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.path().join("one/pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        fs::write(root.path().join("one").join(std::ffi::OsStr::from_bytes(b"\xff")), "x").unwrap();
        let seen = look(root.path(), Symlinks::Keep, "");
        let unusable = seen.entries.iter().filter(|seen| matches!(seen.kind, Kind::Unusable(_))).count();
        assert_eq!(unusable, 2, "{seen:?}");
    }

    #[test]
    fn a_release_at_file_is_read_but_no_more_of_it_than_a_time_needs() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.release-at"), "2026-12-01T14:00:00Z\n").unwrap();
        fs::write(root.path().join("b.release-at"), vec![b'x'; 1 << 20]).unwrap();
        let seen = look(root.path(), Symlinks::Keep, "");
        assert_eq!(seen.entries[0].release_at, Some(Ok(1_796_133_600)));
        assert!(matches!(seen.entries[1].release_at, Some(Err(_))));
    }
}
