//! What a release looks like right now: its content in one value, and what keeps it from being published.

use crate::action::Waiting;
use crate::fingerprint::{Fingerprint, Fingerprinter, target_from_top};
use crate::limits::ABANDONED_MS;
use crate::manners;
use crate::rules::{Becomes, Role};
use crate::sight::Kind;
use crate::tree::entries::{Entries, Entry};

/// The content of a release as it was seen last.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) becomes: Becomes,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) size_bytes: u64,
    pub(crate) device: u64,
    /// Since when nothing has been added or changed.
    pub(crate) changed_ms: i64,
    /// The youngest time that a file of it says.
    pub(crate) mtime_ns: i64,
    /// What keeps it from being published, and when that may be over by itself.
    pub(crate) blocked: Option<(Waiting, Option<i64>)>,
}

impl View {
    /// Nothing if there is no release at `path`, or nothing in it.
    pub(crate) fn of(entries: &Entries, path: &str, at_ms: i64) -> Option<View> {
        let entry = entries.get(path).filter(|entry| entry.role == Role::Release)?;
        match entry.kind {
            Kind::Directory => View::of_directory(entries, path, entry, at_ms),
            Kind::File | Kind::Unusable(_) => Some(View::of_file(entries, path, entry, at_ms)),
            Kind::Link(_) => None,
        }
    }

    /// Whether there is anything of a release at `path`.
    pub(crate) fn is_there(entries: &Entries, path: &str) -> bool {
        let is_file = |entry: &Entry| entry.kind == Kind::File && entry.role != Role::Temporary;
        let own = entries.get(path).filter(|entry| entry.role == Role::Release);
        own.is_some_and(|entry| is_file(entry) || entries.below(path).any(|(_, entry)| is_file(entry)))
    }

    fn of_file(entries: &Entries, path: &str, entry: &Entry, at_ms: i64) -> View {
        let mut fingerprinter = Fingerprinter::new();
        fingerprinter.add_file("", &entry.identity);
        let mut view = View {
            becomes: Becomes::File,
            fingerprint: fingerprinter.finish(),
            size_bytes: entry.identity.size_bytes,
            device: entry.device,
            changed_ms: entry.changed_ms,
            mtime_ns: entry.identity.mtime_ns,
            blocked: None,
        };
        if let Kind::Unusable(reason) = &entry.kind {
            view.block(Waiting::Unusable { path: path.into(), reason: reason.clone() }, None);
        }
        if view.size_bytes == 0 {
            view.block(Waiting::Empty, None);
        }
        for (companion, entry) in companions(entries, path) {
            view.block_by(companion, entry, at_ms);
        }
        view
    }

    fn of_directory(entries: &Entries, path: &str, top: &Entry, at_ms: i64) -> Option<View> {
        let mut fingerprinter = Fingerprinter::new();
        let (size_bytes, mtime_ns, device) = (0, i64::MIN, top.device);
        let fingerprint = Fingerprint([0; 16]);
        let (becomes, changed_ms, blocked) = (Becomes::Directory, top.changed_ms, None);
        let mut view = View { becomes, fingerprint, size_bytes, device, changed_ms, mtime_ns, blocked };
        let mut files = 0;
        if top.is_unread {
            view.block(Waiting::Unreadable(path.into()), None);
        }
        for (inside, entry) in entries.below(path) {
            if entry.role == Role::Temporary {
                view.block_by(inside, entry, at_ms);
                continue;
            }
            view.changed_ms = view.changed_ms.max(entry.changed_ms);
            match &entry.kind {
                Kind::Directory if entry.is_unread => view.block(Waiting::Unreadable(inside.into()), None),
                Kind::Directory => {}
                Kind::Unusable(reason) => {
                    view.block(Waiting::Unusable { path: inside.into(), reason: reason.clone() }, None);
                }
                Kind::File | Kind::Link(_) => {
                    files += usize::from(entry.kind == Kind::File);
                    view.device = if view.size_bytes == 0 { entry.device } else { view.device };
                    view.size_bytes = view.size_bytes.saturating_add(entry.identity.size_bytes);
                    view.mtime_ns = view.mtime_ns.max(entry.identity.mtime_ns);
                    let relative = &inside[path.len() + 1..];
                    match &entry.kind {
                        Kind::Link(target) => {
                            fingerprinter.add_link(relative, &target_from_top(relative, target));
                        }
                        _ => fingerprinter.add_file(relative, &entry.identity),
                    }
                }
            }
        }
        if view.size_bytes == 0 {
            view.block(Waiting::Empty, None);
        }
        view.fingerprint = fingerprinter.finish();
        // A directory of which all files are gone is gone, unless it could not be read.
        (files > 0 || view.is_unread()).then_some(view)
    }

    /// Whether what is in it is not all known, so that it cannot be compared with what it was.
    pub(crate) fn is_unread(&self) -> bool {
        matches!(self.blocked, Some((Waiting::Unreadable(_), _)))
    }

    fn block_by(&mut self, path: &str, entry: &Entry, at_ms: i64) {
        let until_ms = entry.changed_ms.saturating_add(ABANDONED_MS);
        if at_ms < until_ms {
            self.block(Waiting::Unfinished(path.into()), Some(until_ms));
        }
    }

    /// What cannot end by itself says more than what can; of those that can, the one that ends last does.
    fn block(&mut self, waiting: Waiting, until_ms: Option<i64>) {
        let end = |until: &Option<i64>| until.unwrap_or(i64::MAX);
        let says_more = self.blocked.as_ref().is_none_or(|(_, before)| end(&until_ms) > end(before));
        if says_more || matches!(waiting, Waiting::Unreadable(_)) {
            self.blocked = Some((waiting, until_ms));
        }
    }
}

/// Files beside a file that say that it is being written.
fn companions<'a>(entries: &'a Entries, path: &str) -> Vec<(&'a str, &'a Entry)> {
    let (directory, name) = path.rsplit_once('/').map_or(("", path), |(directory, name)| (directory, name));
    let slash = if directory.is_empty() { "" } else { "/" };
    let (whole, rsync) = manners::companions(name);
    let begun = entries.with_prefix(format!("{directory}{slash}{rsync}"));
    let mut found: Vec<_> =
        begun.filter(|(path, _)| is_rsyncs(path, directory.len() + slash.len(), rsync.len())).collect();
    for companion in whole {
        let path = format!("{directory}{slash}{companion}");
        found.extend(entries.with_prefix(path.clone()).take(1).filter(|(found, _)| *found == path));
    }
    found.retain(|(_, entry)| entry.role == Role::Temporary);
    found
}

/// Whether six letters follow rsync's last dot, and no more.
fn is_rsyncs(path: &str, name_at: usize, prefix_bytes: usize) -> bool {
    path.len() == name_at + prefix_bytes + 6
}
