//! One root: what was seen below it and what has become of its releases. Looks and outcomes come in with their times,
//! [`Tree::poll`] says what is to be done. Nothing here touches a file or asks for the time.
//!
//! A release is published when it has *settled*. A file has settled when its size, time and inode were the same for
//! [`Timing::settle_ms`]; or, where the file system's clock is ours, when the time that it says is that old, and it was left
//! alone for [`crate::limits::QUIET_MS`]: rsync, tar and `cp -p` set that time when they have written all, and whoever
//! still writes moves it to now. A directory has settled when nothing in it has changed for all of `settle_ms`, since
//! files with old times come into it one by one. No age is taken from what was seen long ago: a look that began after the
//! release had settled must have found it unchanged.

mod entries;
mod guard;
mod release;
mod turn;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::action::{Action, Hold, Outcome, ReleaseLine, State, Waiting};
use crate::fingerprint::{ContentFile, Fingerprint, Identity};
use crate::limits::{LOOK_AGAIN_MS, MAX_PREPARING, QUIET_MS};
use crate::rules::{Becomes, OUTPUT_SUFFIXES, Role, Rules, lies_below};
use crate::sight::{Kind, Look, Moment, Seen, Top};
use entries::{Changes, Entries};
use release::{Release, Stage};

/// How long a root's releases take, and how many may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// For how long nothing may change before a release is published.
    pub settle_ms: i64,
    /// For how long a release that is gone is kept.
    pub grace_ms: i64,
    /// When more than this share of all releases is gone, and more than [`crate::limits::WITHDRAWN_UNASKED`], none of them
    /// is withdrawn.
    pub max_withdraw_percent: u8,
    /// When releases open that have no time of their own, seconds since 1970.
    pub release_at: Option<i64>,
    /// Files are stamped by the same clock as ours: the file system is not another machine's.
    pub trusts_clock: bool,
}

/// A release that an earlier run published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its path below the root.
    pub path: Box<str>,
    /// A file or a directory.
    pub becomes: Becomes,
    /// The state of its content when it was published.
    pub fingerprint: Fingerprint,
    /// The device that its content lay on.
    pub device: u64,
    /// When it opens, as was said last.
    pub release_at: Option<i64>,
    /// It was suspended when the run ended.
    pub is_suspended: bool,
}

/// What is known of one root.
#[derive(Debug)]
pub struct Tree {
    rules: Arc<Rules>,
    timing: Timing,
    entries: Entries,
    releases: BTreeMap<Box<str>, Release>,
    /// When which release is to be judged again.
    agenda: BTreeSet<(i64, Box<str>)>,
    /// New directories, and when to look at them a second time: what came into one before it was watched was not told.
    young: BTreeSet<(i64, Box<str>)>,
    /// Where a look at all of it is due, because entries were met whose directories are not known.
    strays: BTreeSet<Box<str>>,
    /// Files that were written to by one of their names, by device and inode: nobody is told of it by their other names.
    rewritten: BTreeMap<(u64, u64), Identity>,
    /// The other names, while a look at them is awaited. It leads to no more looks: somebody may write on and on.
    other_names: BTreeSet<Box<str>>,
    top: Option<Top>,
    /// The root as it was when a release of it was last seen: its device and inode.
    familiar_top: Option<(u64, u64)>,
    hold: Option<Hold>,
    is_cut: bool,
    has_looked: bool,
    picked: u32,
    actions: Vec<Action>,
}

impl Tree {
    /// A root that nothing is known of. The first look has to be at all of it.
    pub fn new(rules: Arc<Rules>, timing: Timing) -> Tree {
        Tree {
            rules,
            timing,
            entries: Entries::default(),
            releases: BTreeMap::new(),
            agenda: BTreeSet::new(),
            young: BTreeSet::new(),
            strays: BTreeSet::new(),
            rewritten: BTreeMap::new(),
            other_names: BTreeSet::new(),
            top: None,
            familiar_top: None,
            hold: None,
            is_cut: false,
            has_looked: false,
            picked: 0,
            actions: Vec::new(),
        }
    }

    /// Remembers a release of an earlier run, after the first look and before the first poll. If its content is still the same
    /// it is taken for published without another word.
    pub fn restore(&mut self, known: Known, now: Moment) {
        self.set_due(&known.path, None);
        let release = Release::restored(&known, now.at_ms);
        let path = known.path;
        self.releases.insert(path.clone(), release);
        // Which root is the right one is seen by what was published from it.
        self.familiar_top = None;
        if self.has_looked {
            self.judge(&path, now);
            // Its output files were seen before it was known whose they are.
            for suffix in OUTPUT_SUFFIXES {
                self.judge(&format!("{path}{suffix}"), now);
            }
        }
    }

    /// The files of a release as the last look saw them: what they are, by size, time and inode, says what is known of them.
    pub fn files_of(&self, path: &str) -> Vec<ContentFile> {
        let file = |(inside, entry): (&str, &entries::Entry)| ContentFile {
            path: inside.get(path.len() + 1..).unwrap_or_default().to_owned(),
            link_target: None,
            size_bytes: entry.identity.size_bytes,
            mtime_ns: entry.identity.mtime_ns,
            inode: entry.identity.inode,
        };
        let own = self.entries.get(path).map(|entry| (path, entry));
        let all = own.into_iter().chain(self.entries.below(path));
        all.filter(|(_, entry)| entry.kind == Kind::File && entry.role != Role::Temporary).map(file).collect()
    }

    /// The device of what was seen at `path` last.
    pub fn device_of(&self, path: &str) -> Option<u64> {
        self.entries.get(path).map(|entry| entry.device)
    }

    /// Forgets a release that is gone without waiting for the end of its grace: its content is known to be elsewhere. Whoever
    /// says so withdraws it.
    pub fn give_up(&mut self, path: &str) {
        if let Some(Release { stage: Stage::Missing { .. }, .. }) = self.releases.get(path) {
            self.set_due(path, None);
            self.releases.remove(path);
        }
    }

    /// Whether a directory is what was seen at `path` last.
    pub fn is_directory(&self, path: &str) -> Option<bool> {
        self.entries.get(path).map(|entry| entry.kind == Kind::Directory)
    }

    /// Other times and limits, from now on.
    pub fn set_timing(&mut self, timing: Timing, now: Moment) {
        self.timing = timing;
        self.judge_all(now);
    }

    /// What a look saw. Whatever follows from it is asked for by the next [`Tree::poll`].
    pub fn handle_look(&mut self, look: Look) {
        let now = look.began;
        self.top = Some(look.top.clone());
        if let Top::Gone(_) = look.top {
            return;
        }
        if let Some(stray) = self.entries.unknown_above(&look.under) {
            if !matches!(self.rules.role_from_root(stray, true), Role::Skipped | Role::Temporary) {
                self.strays.insert(stray.into());
            }
            return;
        }
        let under = look.under.clone();
        let is_first = !self.has_looked;
        self.has_looked |= under.is_empty();
        let trusts_clock = self.timing.trusts_clock && is_first;
        let since = |seen: &Seen| if trusts_clock { backdated(seen, now) } else { now.at_ms };
        let mut changes = self.entries.apply(&self.rules, look, since);
        // All names were looked at, or this is one of the others.
        if !under.is_empty() && !self.other_names.remove(&under) {
            self.rewritten.append(&mut changes.rewritten);
        }
        self.is_cut = changes.is_cut || (self.is_cut && !under.is_empty());
        self.remember(&under, changes, now, is_first);
    }

    /// How an [`Action::Publish`] ended.
    pub fn handle_outcome(&mut self, path: &str, outcome: Outcome, now: Moment) {
        let Some(release) = self.releases.get_mut(path) else { return };
        if release.end_preparing(outcome, now.at_ms) {
            self.judge(path, now);
        }
    }

    /// Tries a release again that had failed, or that was published from another place.
    pub fn retry(&mut self, path: &str, now: Moment) {
        if let Some(release) = self.releases.get_mut(path)
            && release.forgive()
        {
            self.judge(path, now);
        }
    }

    /// What is to be done now, in the order in which it is to begin.
    pub fn poll(&mut self, now: Moment) -> Vec<Action> {
        self.become_familiar();
        while let Some((due_ms, _)) = self.agenda.first()
            && *due_ms <= now.at_ms
        {
            if let Some((_, path)) = self.agenda.pop_first() {
                if let Some(release) = self.releases.get_mut(&path) {
                    release.due_ms = None;
                }
                self.judge(&path, now);
            }
        }
        self.look_at_young(now);
        self.look_at_other_names();
        self.guard();
        self.withdraw_gone();
        self.publish_next(now);
        std::mem::take(&mut self.actions)
    }

    /// When [`Tree::poll`] has something to say even if nothing happens, in milliseconds by the clock that never jumps.
    pub fn next_due_ms(&self) -> Option<i64> {
        let first = |set: &BTreeSet<(i64, Box<str>)>| set.first().map(|(due_ms, _)| *due_ms);
        first(&self.agenda).into_iter().chain(first(&self.young)).min()
    }

    /// Whether the content at `path` is, as far as the last look saw, still in this state.
    pub fn is_still(&self, path: &str, fingerprint: Fingerprint, now: Moment) -> bool {
        view::View::of(&self.entries, path, now.at_ms).is_some_and(|view| view.fingerprint == fingerprint)
    }

    /// Every release, by path. Files that have the names of output files are left out: if they are not ours, the release that
    /// cannot be handed out says so.
    pub fn releases(&self) -> impl Iterator<Item = ReleaseLine> {
        let is_own = |release: &Release| !matches!(release.stage, Stage::Waiting(Waiting::NameTaken(_)));
        self.releases.iter().filter(move |(_, release)| is_own(release)).map(|(path, release)| ReleaseLine {
            path: path.clone(),
            becomes: release.becomes,
            state: release.state(),
        })
    }

    /// How one release is.
    pub fn state_of(&self, path: &str) -> Option<State> {
        self.releases.get(path).map(Release::state)
    }

    /// Why releases that are gone are not withdrawn, if so.
    pub fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// How many entries are remembered.
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// Whether the root holds more than is remembered.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    fn remember(&mut self, under: &str, changes: Changes, now: Moment, is_first: bool) {
        if !is_first {
            let again_ms = now.at_ms + QUIET_MS;
            self.young.extend(changes.new_directories.into_iter().map(|path| (again_ms, path)));
        }
        for path in &changes.concerned {
            let is_release = self.entries.get(path).is_some_and(|entry| entry.role == Role::Release);
            if is_release && !self.releases.contains_key(path) {
                self.releases.insert(path.clone(), Release::found(now.at_ms));
            }
            if let Some(release) = self.releases.get_mut(path)
                && changes.lost.contains(path)
            {
                release.lost_ms = Some(now.at_ms);
            }
        }
        let covered = |path: &str| path == under || lies_below(path, under);
        let mut judged = changes.concerned;
        for (path, release) in self.releases.iter_mut().filter(|(path, _)| covered(path)) {
            if !release.is_settled_for_good() {
                judged.insert(path.clone());
            }
            release.seen_ms = Some(now.at_ms);
        }
        self.become_familiar();
        for path in judged {
            self.judge(&path, now);
        }
    }

    fn judge_all(&mut self, now: Moment) {
        let paths: Vec<Box<str>> = self.releases.keys().cloned().collect();
        for path in paths {
            self.judge(&path, now);
        }
    }

    fn look_at_young(&mut self, now: Moment) {
        while let Some((due_ms, _)) = self.young.first()
            && *due_ms <= now.at_ms
        {
            if let Some((_, path)) = self.young.pop_first() {
                // A directory inside one that is looked at as well is seen with it.
                let is_covered = |action: &Action| matches!(action, Action::Look { path: above } if *above == path || lies_below(&path, above));
                if self.entries.get(&path).is_some() && !self.actions.iter().any(is_covered) {
                    self.actions.push(Action::Look { path });
                }
            }
        }
        self.actions.extend(std::mem::take(&mut self.strays).into_iter().map(|path| Action::Look { path }));
    }

    fn look_at_other_names(&mut self) {
        let rewritten = std::mem::take(&mut self.rewritten);
        if rewritten.is_empty() {
            return;
        }
        for path in self.entries.outdated_names(&rewritten) {
            self.other_names.insert(path.into());
            self.actions.push(Action::Look { path: path.into() });
        }
    }

    fn set_due(&mut self, path: &str, due_ms: Option<i64>) {
        let Some(release) = self.releases.get_mut(path) else { return };
        if let Some(before_ms) = std::mem::replace(&mut release.due_ms, due_ms) {
            self.agenda.remove(&(before_ms, Box::from(path)));
        }
        if let Some(due_ms) = due_ms {
            self.agenda.insert((due_ms, path.into()));
        }
    }
}

/// Since when an entry that is seen for the first time, by the first look, is as it is: since its inode was last changed,
/// which no program can date back.
fn backdated(seen: &Seen, now: Moment) -> i64 {
    let age_ms = now.wall_ms.saturating_sub(seen.ctime_ns / 1_000_000);
    now.at_ms - age_ms.max(0)
}

#[cfg(test)]
mod tests;
