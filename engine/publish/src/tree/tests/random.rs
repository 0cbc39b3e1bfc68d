//! Random histories of a tree, compared with what a naive reader of the rules says of its end.

use proptest::prelude::*;

use super::*;
use crate::manners;
use crate::rules::Rule;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Event {
    Write(String, u64),
    /// As rsync does: under a temporary name, dated back, renamed into place.
    Transfer(String, u64),
    DateBack(String),
    Rename(String, String),
    Link(String, String),
    Remove(String),
    Touch(String),
    Deaf(bool),
    LookAround,
    Unmount,
    Mount,
    Restart,
    Pass(i64),
}

fn path() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a.iso",
        "b.iso",
        "sub/a.iso",
        "sub/deep/c.iso",
        "one/x",
        "one/y",
        "one/in/z",
        "two/x",
        ".a.iso.Xk3f9a",
        "one/.x.B7cdef",
        "a.iso.aria2",
        "one/.~tmp~/x",
        "ignored/a.iso",
        "sub/readme",
        "one",
        "sub",
        "two",
    ])
    .prop_map(str::to_owned)
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (path(), 0u64..4).prop_map(|(path, size)| Event::Write(path, size)),
        3 => (path(), 1u64..4).prop_map(|(path, size)| Event::Transfer(path, size)),
        1 => path().prop_map(Event::DateBack),
        2 => (path(), path()).prop_map(|(from, to)| Event::Rename(from, to)),
        1 => (path(), path()).prop_map(|(from, to)| Event::Link(from, to)),
        3 => path().prop_map(Event::Remove),
        1 => path().prop_map(Event::Touch),
        1 => any::<bool>().prop_map(Event::Deaf),
        1 => Just(Event::LookAround),
        1 => Just(Event::Unmount),
        1 => Just(Event::Mount),
        1 => Just(Event::Restart),
        6 => prop::sample::select(vec![1, 500, QUIET_MS, SETTLE_MS / 2, SETTLE_MS, GRACE_MS / 2, GRACE_MS]).prop_map(Event::Pass),
    ]
}

fn rules() -> Rules {
    let rule = |glob: &str, becomes| Rule { glob: glob.to_owned(), becomes };
    let rules =
        [rule("ignored", Becomes::Ignored), rule("{one,two}", Becomes::Directory), rule("**/*.iso", Becomes::File)];
    Rules::new(&rules).unwrap()
}

/// The world, and what somebody who watches over both sides keeps track of.
struct Watched {
    world: World,
    /// Since when nothing of a release that was published was there, in truth.
    absent_since: BTreeMap<String, i64>,
    mounted: Option<BTreeMap<String, world::Node>>,
}

impl Watched {
    /// The names, sizes and inodes of a release's content, written the naive way.
    fn content(&self, path: &str) -> Vec<(String, u64, i64, u64)> {
        let nodes = self.world.nodes.iter().filter(|(_, node)| node.kind == Kind::File);
        // A file in the place of a directory release is none of it, nor the other way round.
        let is_directory = ["one", "two"].contains(&path);
        let inside = nodes.filter(|(other, _)| if is_directory { lies_below(other, path) } else { *other == path });
        let finished =
            |name: &String| name[path.len()..].split('/').all(|part| part.is_empty() || !manners::is_temporary(part));
        inside
            .filter(|(name, _)| finished(name))
            .map(|(name, node)| (name.clone(), node.size_bytes, node.mtime_ns, node.inode))
            .collect()
    }

    /// What should be published once nothing has happened for a very long time.
    fn expected(&self) -> Vec<String> {
        let nodes = &self.world.nodes;
        let is_directory = |path: &str| nodes.get(path).is_some_and(|node| node.kind == Kind::Directory);
        let mut expected: Vec<String> = ["one", "two"]
            .into_iter()
            .filter(|path| is_directory(path))
            .filter(|path| self.content(path).iter().map(|file| file.1).sum::<u64>() > 0)
            .map(str::to_owned)
            .collect();
        for (path, node) in nodes {
            let name = path.rsplit('/').next().unwrap();
            let top = path.split('/').next().unwrap();
            let is_in_other = (is_directory(top) && ["one", "two", "ignored"].contains(&top))
                || path.split('/').any(manners::is_temporary);
            if node.kind == Kind::File && name.ends_with(".iso") && node.size_bytes > 0 && !is_in_other {
                expected.push(path.clone());
            }
        }
        expected.sort();
        expected
    }

    fn happen(&mut self, event: Event) {
        let world = &mut self.world;
        let is_free = |world: &World, path: &str| {
            let mut above = path.match_indices('/').map(|(slash, _)| &path[..slash]);
            let is_directory = world.nodes.get(path).is_some_and(|node| node.kind == Kind::Directory);
            !is_directory && above.all(|above| world.nodes.get(above).is_none_or(|node| node.kind == Kind::Directory))
        };
        let is_clock =
            matches!(event, Event::Mount | Event::Restart | Event::Pass(_) | Event::Deaf(_) | Event::LookAround);
        if self.mounted.is_some() && !is_clock {
            // What is published from below a mount point is held for good when it is covered: no oracle is that naive.
            return;
        }
        match event {
            Event::Write(path, size) if is_free(world, &path) => world.write(&path, size),
            Event::Transfer(path, size) if is_free(world, &path) => {
                let (above, name) = path.rsplit_once('/').unwrap_or(("", &path));
                let slash = if above.is_empty() { "" } else { "/" };
                let temporary = format!("{above}{slash}.{name}.Zz9zzz");
                world.write(&temporary, size);
                world.date_back(&temporary);
                world.rename(&temporary, &path);
            }
            Event::DateBack(path) => world.date_back(&path),
            Event::Rename(from, to)
                if world.nodes.contains_key(&from) && is_free(world, &to) && from != to && !lies_below(&to, &from) =>
            {
                world.remove(&to);
                world.rename(&from, &to);
            }
            Event::Link(from, to)
                if world.nodes.get(&from).is_some_and(|node| node.kind == Kind::File)
                    && is_free(world, &to)
                    && !world.nodes.contains_key(&to) =>
            {
                world.link(&from, &to);
            }
            Event::Remove(path) => world.remove(&path),
            Event::Touch(path) => {
                let size = world.nodes.get(&path).filter(|node| node.kind == Kind::File).map(|node| node.size_bytes);
                if let Some(size) = size {
                    world.write(&path, size);
                }
            }
            Event::Deaf(is_deaf) => world.is_told = !is_deaf,
            Event::LookAround => world.look(""),
            Event::Unmount => {
                self.mounted = Some(std::mem::take(&mut world.nodes));
                world.is_mounted = Some(9);
                world.look("");
            }
            Event::Mount => self.mount(),
            Event::Restart => self.restart(),
            Event::Pass(ms) => self.pass(ms),
            _ => {}
        }
        self.note_absent();
    }

    fn mount(&mut self) {
        if let Some(nodes) = self.mounted.take() {
            // What was written below the mount point is covered.
            (self.world.nodes, self.world.is_mounted) = (nodes, Some(0));
            self.world.look("");
        }
    }

    fn restart(&mut self) {
        let fresh = World::new(rules());
        let world = std::mem::replace(&mut self.world, fresh);
        let is_told = world.is_told;
        self.world = world.restarted();
        self.world.is_told = is_told;
        self.world.look("");
    }

    /// Every moment at which the tree acts is checked against the truth.
    fn pass(&mut self, ms: i64) {
        let end_ms = self.world.now_ms + ms;
        loop {
            let begun = self.world.log.len();
            let served = self.world.served.clone();
            self.world.run();
            self.check(&self.world.log[begun..], &served);
            self.note_absent();
            let due_ms = self.world.tree.next_due_ms().filter(|due_ms| *due_ms <= end_ms);
            let Some(due_ms) = due_ms else { break };
            self.world.now_ms = due_ms;
        }
        self.world.now_ms = end_ms;
    }

    fn check(&self, actions: &[Action], served: &BTreeMap<String, Fingerprint>) {
        let now_ms = self.world.now_ms;
        for action in actions {
            match action {
                Action::Publish { path, becomes, .. } => {
                    let files = self.content(path);
                    let nodes = || files.iter().map(|(name, ..)| &self.world.nodes[name]);
                    let quiet_ms = |node: &world::Node| now_ms - node.written_ms;
                    // What happened while nobody told, after the last look, is for whoever hashes to see.
                    if !self.world.has_untold {
                        assert!(nodes().all(|node| quiet_ms(node) >= QUIET_MS), "{path} at {now_ms}: {files:?}");
                        let is_old = |node: &world::Node| quiet_ms(node) >= SETTLE_MS || node.is_dated_back;
                        assert!(nodes().all(is_old), "{path} at {now_ms}: {files:?}");
                        let is_directory = *becomes == Becomes::Directory;
                        assert!(!is_directory || nodes().all(|node| quiet_ms(node) >= SETTLE_MS), "{path}");
                    }
                    assert!(!path.split('/').any(manners::is_temporary), "{path}");
                }
                Action::Withdraw { path, why: Why::Gone } => {
                    assert!(self.content(path).is_empty(), "{path} is there");
                    let since_ms = self.absent_since[&**path];
                    assert!(now_ms - since_ms >= GRACE_MS, "{path} is gone since {since_ms}, now {now_ms}");
                    assert!(self.mounted.is_none(), "{path} is not deleted but unmounted");
                }
                Action::Withdraw { path, why: Why::Changed } | Action::Suspend { path } => {
                    assert!(served.contains_key(&**path), "{path} was not served");
                }
                _ => {}
            }
        }
    }

    fn note_absent(&mut self) {
        let now_ms = self.world.now_ms;
        let paths: Vec<String> = self.world.served.keys().cloned().collect();
        for path in paths {
            if self.content(&path).is_empty() {
                self.absent_since.entry(path).or_insert(now_ms);
            } else if !self.world.has_untold {
                // What nobody told of and nobody looked at cannot be known.
                self.absent_since.remove(&path);
            }
        }
    }

    /// Lets everything come to rest, with looks around as the rescan has them.
    fn end(&mut self) {
        self.mount();
        for _ in 0..60 {
            self.world.look("");
            self.pass(GRACE_MS);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn in_the_end_just_that_is_published_which_the_rules_say(events in prop::collection::vec(event(), 1..60)) {
        let world = World::new(rules());
        let mut watched = Watched { world, absent_since: BTreeMap::new(), mounted: None };
        watched.world.look("");
        for event in events {
            watched.happen(event);
        }
        watched.end();
        prop_assert_eq!(watched.world.published(), watched.expected());
        let served: Vec<String> = watched.world.served.keys().cloned().collect();
        prop_assert_eq!(served, watched.expected());
        for (path, fingerprint) in &watched.world.served {
            prop_assert!(watched.world.tree.is_still(path, *fingerprint, watched.world.now()), "{} is stale", path);
        }
        prop_assert_eq!(watched.world.tree.entry_count() <= watched.world.nodes.len(), true);
    }
}
