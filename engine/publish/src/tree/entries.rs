//! What was seen below a root: one entry a path, with the time since when it is as it is. What it means for releases is
//! not here, but which releases an entry concerns is.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::fingerprint::Identity;
use crate::limits::MAX_ENTRIES;
use crate::manners;
use crate::rules::{Role, Rules, lies_below};
use crate::sight::{Kind, Look, Seen};

/// One path below the root.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) role: Role,
    pub(crate) kind: Kind,
    pub(crate) identity: Identity,
    pub(crate) device: u64,
    /// Since when it is as it is, by the clock that never jumps.
    pub(crate) changed_ms: i64,
    /// It is a directory that could not be read.
    pub(crate) is_unread: bool,
    pub(crate) release_at: Option<Result<i64, Box<str>>>,
    /// The look that saw it last.
    look: u32,
}

/// All entries below a root.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    map: BTreeMap<Box<str>, Entry>,
    look: u32,
}

/// What a look changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Releases that something was changed in or beside.
    pub(crate) concerned: BTreeSet<Box<str>>,
    /// Those of them that lost something.
    pub(crate) lost: BTreeSet<Box<str>>,
    /// Directories that were not there before.
    pub(crate) new_directories: Vec<Box<str>>,
    /// Files of several names that were written to in place, by device and inode, and what they are now.
    pub(crate) rewritten: BTreeMap<(u64, u64), Identity>,
    /// Entries were refused.
    pub(crate) is_cut: bool,
}

impl Entries {
    pub(crate) fn get(&self, path: &str) -> Option<&Entry> {
        self.map.get(path)
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// Where these files were seen by another name when they were not yet what they are now.
    pub(crate) fn outdated_names(&self, rewritten: &BTreeMap<(u64, u64), Identity>) -> impl Iterator<Item = &str> {
        let is_outdated = |entry: &Entry| {
            let now = rewritten.get(&(entry.device, entry.identity.inode));
            entry.kind == Kind::File && now.is_some_and(|now| *now != entry.identity)
        };
        self.map.iter().filter(move |(_, entry)| is_outdated(entry)).map(|(path, _)| &**path)
    }

    /// All that lies below a directory, in the order of the bytes of their paths.
    pub(crate) fn below<'a>(&'a self, directory: &str) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        self.with_prefix(if directory.is_empty() { String::new() } else { format!("{directory}/") })
    }

    /// All paths that begin so.
    pub(crate) fn with_prefix(&self, prefix: String) -> impl Iterator<Item = (&str, &Entry)> {
        let from = self.map.range::<str, _>((Bound::Included(&*prefix), Bound::Unbounded));
        from.take_while(move |(path, _)| path.starts_with(&prefix)).map(|(path, entry)| (&**path, entry))
    }

    /// The directory that would have to be looked at before anything can be said of `path`: the highest one above it that
    /// is not known. Nothing if all are known.
    pub(crate) fn unknown_above<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.match_indices('/').map(|(slash, _)| &path[..slash]).find(|above| !self.map.contains_key(*above))
    }

    /// The release that `path` is, or lies in.
    pub(crate) fn release_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        let above = path.match_indices('/').map(|(slash, _)| &path[..slash]);
        above.chain([path]).find(|above| self.map.get(*above).is_some_and(|entry| entry.role == Role::Release))
    }

    /// The device of the nearest directory above `path` that is there.
    pub(crate) fn device_above(&self, path: &str) -> Option<u64> {
        let mut above = path;
        while let Some((directory, _)) = above.rsplit_once('/') {
            if let Some(entry) = self.map.get(directory) {
                return Some(entry.device);
            }
            above = directory;
        }
        None
    }

    /// Takes in what was seen. `since` gives the time since when an entry that was not known is as it is.
    pub(crate) fn apply(&mut self, rules: &Rules, look: Look, since: impl Fn(&Seen) -> i64) -> Changes {
        let mut changes = Changes { is_cut: look.is_cut, ..Changes::default() };
        self.look = self.look.wrapping_add(1);
        let mut entries = look.entries;
        // A directory sorts before what it holds.
        entries.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        for seen in entries {
            if is_plain_path(&seen.path) && (*seen.path == *look.under || lies_below(&seen.path, &look.under)) {
                self.take(rules, seen, look.began.at_ms, &since, &mut changes);
            }
        }
        for directory in &look.unread {
            if let Some(entry) = self.map.get_mut(directory) {
                entry.is_unread = true;
            }
        }
        // What was left out of a look that was cut is not known to be gone.
        if !changes.is_cut {
            self.drop_unseen(&look.under, &look.unread, &mut changes);
        }
        changes
    }

    fn take(&mut self, rules: &Rules, seen: Seen, at_ms: i64, since: &impl Fn(&Seen) -> i64, changes: &mut Changes) {
        let is_directory = seen.kind == Kind::Directory;
        let parent = match seen.path.rsplit_once('/') {
            None => Role::Plain,
            Some((directory, _)) => match self.map.get(directory) {
                Some(entry) if entry.kind == Kind::Directory => entry.role,
                Some(_) | None => return,
            },
        };
        let role = rules.role(parent, &seen.path, is_directory);
        // A link that is kept is content of a directory; by itself it is no release.
        if role == Role::Skipped || (parent == Role::Plain && matches!(seen.kind, Kind::Link(_))) {
            return;
        }
        let identity = identity(role, &seen);
        let known = self.map.get_mut(&seen.path);
        if let Some(entry) = known {
            let is_same = entry.identity == identity && entry.kind == seen.kind && entry.role == role;
            let is_as_it_was = is_same && !entry.is_unread && entry.release_at == seen.release_at;
            let changed_ms = if is_same { entry.changed_ms } else { at_ms };
            if !is_same && seen.name_count > 1 && seen.kind == Kind::File && entry.identity.inode == seen.inode {
                changes.rewritten.insert((seen.device, seen.inode), identity);
            }
            let (look, release_at) = (self.look, seen.release_at);
            let fresh = Entry {
                role,
                kind: seen.kind,
                identity,
                device: seen.device,
                changed_ms,
                is_unread: false,
                release_at,
                look,
            };
            let before = std::mem::replace(entry, fresh);
            if !is_as_it_was {
                self.concern(&seen.path, before.role, &mut changes.concerned);
                self.concern(&seen.path, role, &mut changes.concerned);
            }
            return;
        }
        if self.map.len() >= MAX_ENTRIES {
            changes.is_cut = true;
            return;
        }
        let changed_ms = since(&seen);
        let Seen { path, kind, device, release_at, .. } = seen;
        let entry = Entry { role, kind, identity, device, changed_ms, is_unread: false, release_at, look: self.look };
        self.map.insert(path.clone(), entry);
        self.concern(&path, role, &mut changes.concerned);
        if is_directory && role != Role::Temporary {
            changes.new_directories.push(path);
        }
    }

    fn drop_unseen(&mut self, under: &str, unread: &[Box<str>], changes: &mut Changes) {
        let is_kept = |path: &str| unread.iter().any(|directory| lies_below(path, directory));
        let own = self.map.get_key_value(under).map(|(path, entry)| (&**path, entry));
        let gone = own.into_iter().chain(self.below(under)).filter(|(_, entry)| entry.look != self.look);
        let gone: Vec<Box<str>> = gone.map(|(path, _)| path).filter(|path| !is_kept(path)).map(Box::from).collect();
        for path in &gone {
            if let Some(entry) = self.map.get(path) {
                let mut lost = BTreeSet::new();
                self.concern(path, entry.role, &mut lost);
                changes.lost.extend(lost);
            }
        }
        for path in &gone {
            self.map.remove(path);
        }
        changes.concerned.extend(changes.lost.iter().cloned());
    }

    /// The releases that an entry of this role is about.
    fn concern(&self, path: &str, role: Role, concerned: &mut BTreeSet<Box<str>>) {
        match role {
            // It may be none any more, when a directory has taken its place.
            Role::Release => drop(concerned.insert(path.into())),
            Role::Part => concerned.extend(self.release_of(path).map(Box::from)),
            Role::Temporary => match self.release_of(path) {
                Some(release) => drop(concerned.insert(release.into())),
                None => concerned.extend(beside(path).into_iter().map(String::into_boxed_str)),
            },
            Role::Embargo => concerned.extend(path.strip_suffix(crate::EMBARGO_SUFFIX).map(Box::from)),
            Role::Plain | Role::Skipped => {}
        }
    }
}

/// The files that a temporary file beside them may be about.
fn beside(path: &str) -> Vec<String> {
    let (directory, name) = path.rsplit_once('/').map_or(("", path), |(directory, name)| (directory, name));
    let Some(file) = manners::stands_for(name) else { return Vec::new() };
    let in_directory = |name: String| if directory.is_empty() { name } else { format!("{directory}/{name}") };
    vec![in_directory(file.to_owned()), in_directory(format!(".{file}"))]
}

/// What is compared to tell whether an entry changed. That something goes on in a temporary directory shows in its time.
fn identity(role: Role, seen: &Seen) -> Identity {
    if role == Role::Temporary {
        return Identity { size_bytes: seen.size_bytes, mtime_ns: seen.mtime_ns, inode: seen.inode };
    }
    Identity::of(seen)
}

fn is_plain_path(path: &str) -> bool {
    path.split('/').all(|component| !matches!(component, "" | "." | ".."))
}
