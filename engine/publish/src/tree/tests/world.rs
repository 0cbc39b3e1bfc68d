//! A file system of names and stamps, a clock, and somebody who does what a tree asks for.

use super::*;
use crate::rules::Rule;

pub(super) const SETTLE_MS: i64 = 30_000;
pub(super) const GRACE_MS: i64 = 3_600_000;

/// What the wall clock shows when the other one shows nothing.
const WALL_MS: i64 = 1_700_000_000_000;

/// Times of what is dated back: long before anything here.
const OLD_NS: i64 = 1_000_000_000_000_000_000;

/// Every file is a release, in whatever directory.
pub(super) fn files() -> Rules {
    Rules::new(&[Rule { glob: "**".to_owned(), becomes: Becomes::File }]).unwrap()
}

/// Every directory below the root is a release.
pub(super) fn directories() -> Rules {
    Rules::new(&[Rule { glob: "*".to_owned(), becomes: Becomes::Directory }]).unwrap()
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) size_bytes: u64,
    pub(super) mtime_ns: i64,
    pub(super) ctime_ns: i64,
    pub(super) inode: u64,
    pub(super) device: u64,
    pub(super) release_at: Option<Result<i64, Box<str>>>,
    /// When content was last written, whatever the stamps say.
    pub(super) written_ms: i64,
    pub(super) is_dated_back: bool,
}

pub(super) struct World {
    pub(super) tree: Tree,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) now_ms: i64,
    pub(super) unread: Vec<Box<str>>,
    /// The device of the root, if it is there.
    pub(super) is_mounted: Option<u64>,
    /// What changes is looked at, as inotify has it.
    pub(super) is_told: bool,
    /// Something happened that nobody told of, since the last look at all.
    pub(super) has_untold: bool,
    /// Publications that are asked for end at once, so.
    pub(super) is_answered: bool,
    pub(super) outcome: Outcome,
    /// All actions but looks.
    pub(super) log: Vec<Action>,
    /// What is served, as somebody who follows the actions has it.
    pub(super) served: BTreeMap<String, Fingerprint>,
    /// What an earlier run published; told after the first look.
    pub(super) known_before: Vec<Known>,
    next_inode: u64,
}

impl World {
    pub(super) fn new(rules: Rules) -> World {
        let timing = Timing {
            settle_ms: SETTLE_MS,
            grace_ms: GRACE_MS,
            max_withdraw_percent: 50,
            release_at: None,
            trusts_clock: true,
        };
        World {
            tree: Tree::new(Arc::new(rules), timing),
            nodes: BTreeMap::new(),
            now_ms: 1_000,
            unread: Vec::new(),
            is_mounted: Some(0),
            is_told: true,
            has_untold: false,
            is_answered: true,
            outcome: Outcome::Published,
            log: Vec::new(),
            served: BTreeMap::new(),
            known_before: Vec::new(),
            next_inode: 100,
        }
    }

    /// The same files, under a tree that knows what was published.
    pub(super) fn restarted(self) -> World {
        let tree = Tree::new(Arc::clone(&self.tree.rules), self.tree.timing);
        let mut known_before = Vec::new();
        for (path, fingerprint) in &self.served {
            // Nobody may have had the time to do what the tree asked for last.
            let becomes = self.tree.releases.get(&**path).map_or(Becomes::File, |release| release.becomes);
            let (path, release_at) = (path.as_str().into(), None);
            let fingerprint = *fingerprint;
            let known = Known { path, becomes, fingerprint, device: 0, release_at, is_suspended: false };
            known_before.push(known);
        }
        World { tree, log: Vec::new(), known_before, ..self }
    }

    pub(super) fn now(&self) -> Moment {
        Moment { at_ms: self.now_ms, wall_ms: WALL_MS + self.now_ms }
    }

    fn now_ns(&self) -> i64 {
        self.now().wall_ms * 1_000_000
    }

    pub(super) fn published(&self) -> Vec<&str> {
        let lines = self.tree.releases.iter().filter(|(_, release)| release.state() == State::Published);
        lines.map(|(path, _)| &**path).collect()
    }

    /// Lets time go by, doing what the tree asks for at every moment at which it has something to say.
    pub(super) fn pass(&mut self, ms: i64) {
        let end_ms = self.now_ms + ms;
        self.run();
        while let Some(due_ms) = self.tree.next_due_ms().filter(|due_ms| *due_ms <= end_ms) {
            assert!(due_ms > self.now_ms, "due in the past: {due_ms} at {}", self.now_ms);
            self.now_ms = due_ms;
            self.run();
        }
        self.now_ms = end_ms;
        self.run();
    }

    pub(super) fn run(&mut self) {
        for turn in 0.. {
            assert!(turn < 1000, "the tree never comes to rest");
            let actions = self.tree.poll(self.now());
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.carry_out(action);
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match &action {
            Action::Look { path } => return self.look(&path.clone()),
            Action::Publish { path, fingerprint, .. } if self.is_answered => {
                if self.outcome == Outcome::Published {
                    self.served.insert(path.to_string(), *fingerprint);
                }
                self.tree.handle_outcome(path, self.outcome.clone(), self.now());
            }
            Action::Withdraw { path, .. } => {
                self.served.remove(&**path);
            }
            _ => {}
        }
        self.log.push(action);
    }

    /// Looks, and hands over what it saw.
    pub(super) fn look(&mut self, under: &str) {
        let look = self.seen(under);
        self.has_untold &= !under.is_empty();
        self.tree.handle_look(look);
        let now = self.now();
        if under.is_empty() {
            self.known_before.drain(..).for_each(|known| self.tree.restore(known, now));
        }
    }

    pub(super) fn seen(&self, under: &str) -> Look {
        let top = match self.is_mounted {
            Some(device) => Top::There { device, inode: 2 + device },
            None => Top::Gone("not there".into()),
        };
        let is_under = |path: &str| path == under || lies_below(path, under);
        let is_unread = |path: &str| self.unread.iter().any(|directory| lies_below(path, directory));
        let nodes = self.nodes.iter().filter(|(path, _)| is_under(path) && !is_unread(path));
        let names = |inode: u64| self.nodes.values().filter(|node| node.inode == inode).count() as u64;
        let seen = |(path, node): (&String, &Node)| Seen {
            path: path.as_str().into(),
            kind: node.kind.clone(),
            size_bytes: node.size_bytes,
            mtime_ns: node.mtime_ns,
            ctime_ns: node.ctime_ns,
            inode: node.inode,
            device: node.device,
            name_count: names(node.inode),
            release_at: node.release_at.clone(),
        };
        let entries = if self.is_mounted.is_some() { nodes.map(seen).collect() } else { Vec::new() };
        let unread = self.unread.iter().filter(|path| self.nodes.contains_key(&***path)).cloned().collect();
        Look { under: under.into(), began: self.now(), top, entries, unread, is_cut: false }
    }

    pub(super) fn tell(&mut self, path: &str) {
        if self.is_told {
            self.look(path);
        } else {
            self.has_untold = true;
        }
    }

    pub(super) fn make_directory(&mut self, path: &str) {
        if path.is_empty() || self.nodes.contains_key(path) {
            return;
        }
        self.make_directory(above(path));
        self.insert(path, Kind::Directory, 0);
        self.tell(path);
    }

    /// Makes a file, or writes one anew in place.
    pub(super) fn write(&mut self, path: &str, size_bytes: u64) {
        self.make_directory(above(path));
        let (now_ns, now_ms) = (self.now_ns(), self.now_ms);
        match self.nodes.get_mut(path) {
            Some(node) => {
                let inode = node.inode;
                // inotify tells the name that was used, not the file's others: those are looked at by themselves.
                for node in self.nodes.values_mut().filter(|node| node.inode == inode) {
                    (node.size_bytes, node.mtime_ns, node.ctime_ns) = (size_bytes, now_ns, now_ns);
                    (node.written_ms, node.is_dated_back) = (now_ms, false);
                }
            }
            None => self.insert(path, Kind::File, size_bytes),
        }
        self.tell(path);
    }

    pub(super) fn say_release_at(&mut self, path: &str, release_at: Option<Result<i64, Box<str>>>) {
        self.write(path, 20);
        self.nodes.get_mut(path).unwrap().release_at = release_at;
        self.tell(path);
    }

    /// Sets a file's time as rsync, tar and `cp -p` do when all is written.
    pub(super) fn date_back(&mut self, path: &str) {
        let now_ns = self.now_ns();
        let Some(node) = self.nodes.get_mut(path) else { return };
        // Each file has a time of its own, or a new version could not be told from the old one.
        (node.mtime_ns, node.ctime_ns, node.is_dated_back) = (OLD_NS + node.inode as i64, now_ns, true);
        self.tell(path);
    }

    /// Also over a file that is there.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        self.make_directory(above(to));
        let below: Vec<String> = self.nodes.keys().filter(|path| lies_below(path, from)).cloned().collect();
        let now_ns = self.now_ns();
        for path in below.into_iter().chain([from.to_owned()]) {
            if let Some(mut node) = self.nodes.remove(&path) {
                node.ctime_ns = if path == from { now_ns } else { node.ctime_ns };
                self.nodes.insert(format!("{to}{}", &path[from.len()..]), node);
            }
        }
        self.tell(from);
        self.tell(to);
    }

    pub(super) fn link(&mut self, from: &str, to: &str) {
        let now_ns = self.now_ns();
        let Some(node) = self.nodes.get_mut(from) else { return };
        node.ctime_ns = now_ns;
        let node = node.clone();
        self.make_directory(above(to));
        self.nodes.insert(to.to_owned(), node);
        self.tell(to);
    }

    pub(super) fn remove(&mut self, path: &str) {
        self.nodes.retain(|other, _| other != path && !lies_below(other, path));
        self.tell(path);
    }

    pub(super) fn insert(&mut self, path: &str, kind: Kind, size_bytes: u64) {
        self.next_inode += 1;
        let (now_ns, inode, device) = (self.now_ns(), self.next_inode, self.is_mounted.unwrap_or(0));
        let node = Node {
            kind,
            size_bytes,
            mtime_ns: now_ns,
            ctime_ns: now_ns,
            inode,
            device,
            release_at: None,
            written_ms: self.now_ms,
            is_dated_back: false,
        };
        self.nodes.insert(path.to_owned(), node);
    }
}

pub(super) fn above(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}
