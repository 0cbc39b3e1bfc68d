//! Hearing of changes: inotify through `notify`, where the file system tells all of them. What was heard is kept as a set of
//! paths until it is taken; when that is too much, or the kernel has lost some, all of the tree is to be looked at.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode};
use notify::{Config, ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Paths that are kept until they are taken; more are one look at all of the tree.
pub(crate) const HEARD_PATHS: usize = 4096;

/// File systems that other machines write to, or whose program does, without the kernel here knowing: NFS, SMB, FUSE, 9P,
/// Ceph, AFS, Coda, Lustre, GPFS, OCFS2, VirtualBox (statfs(2), linux/magic.h).
const UNTOLD: [u32; 14] = [
    0x6969,
    0x517B,
    0xFE53_4D42,
    0xFF53_4D42,
    0x6573_5546,
    0x0102_1997,
    0x00C3_6400,
    0x5346_414F,
    0x6B41_4653,
    0x7375_7245,
    0x0BD0_0BD0,
    0x4750_4653,
    0x7461_636F,
    0x786F_4256,
];

/// Whether inotify hears of all that happens to the file system at `path`, and files there are stamped by this machine.
/// True of a path that cannot be asked.
pub(crate) fn is_told_of_all(path: &Path) -> bool {
    match rustix::fs::statfs(path) {
        Ok(found) => !UNTOLD.contains(&(found.f_type as u32)),
        Err(_) => true,
    }
}

/// What was heard since it was taken last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Paths below the root.
    pub(crate) paths: BTreeSet<String>,
    /// Anything may have happened.
    pub(crate) is_all: bool,
    /// Why the kernel tells no more, if it does not.
    pub(crate) failure: Option<String>,
}

/// Where what is heard is kept.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    heard: Mutex<Heard>,
    rings: Notify,
}

impl Ear {
    /// Waits until there is something to take.
    pub(crate) async fn rung(&self) {
        self.rings.notified().await;
    }

    /// What was heard.
    pub(crate) fn take(&self) -> Heard {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn hear(&self, change: impl FnOnce(&mut Heard)) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut heard);
        if heard.paths.len() > HEARD_PATHS {
            heard.is_all = true;
        }
        if heard.is_all {
            heard.paths.clear();
        }
        drop(heard);
        self.rings.notify_one();
    }

    fn handle(&self, root: &Path, event: notify::Result<Event>) {
        match event {
            Ok(event) if event.need_rescan() => self.hear(|heard| heard.is_all = true),
            Ok(event) if matters(event.kind) => {
                let below = event.paths.iter().map(|path| below(root, path));
                let paths: Vec<Option<String>> = below.collect();
                self.hear(|heard| {
                    for path in paths {
                        match path {
                            Some(path) => drop(heard.paths.insert(path)),
                            None => heard.is_all = true,
                        }
                    }
                });
            }
            Ok(_) => {}
            Err(error) => {
                let failure = explain(&error);
                self.hear(|heard| (heard.is_all, heard.failure) = (true, Some(failure)));
            }
        }
    }
}

/// Watches one root until it is dropped.
pub(crate) struct Watch {
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Begins to watch all directories below `root`. Blocks while they are walked. The error is one line that says what to
    /// change.
    pub(crate) fn begin(root: &Path, ear: &Arc<Ear>) -> Result<Watch, String> {
        let (heard_by, top) = (Arc::clone(ear), root.to_path_buf());
        let config = Config::default().with_follow_symlinks(false);
        let handle = move |event| heard_by.handle(&top, event);
        let mut watcher = RecommendedWatcher::new(handle, config).map_err(|error| explain(&error))?;
        watcher.watch(root, RecursiveMode::Recursive).map_err(|error| explain(&error))?;
        Ok(Watch { _watcher: watcher })
    }
}

/// Our own reading and hashing, and everybody's, is no change.
fn matters(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

/// The path below the root, or the directory of a name that is not UTF-8; nothing for the root itself.
fn below(root: &Path, path: &Path) -> Option<String> {
    let mut below: PathBuf = path.strip_prefix(root).ok()?.to_path_buf();
    while below.to_str().is_none() {
        below.pop();
    }
    below.into_os_string().into_string().ok().filter(|below| !below.is_empty())
}

fn explain(error: &notify::Error) -> String {
    match &error.kind {
        ErrorKind::MaxFilesWatch => "there are more directories than inotify watches: raise it with \
             `sysctl fs.inotify.max_user_watches=1048576`; until then the whole tree is looked at every `poll`"
            .to_owned(),
        ErrorKind::Io(error) if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
            "there are no more inotify instances: raise `sysctl fs.inotify.max_user_instances=1024`; until then the whole \
             tree is looked at every `poll`"
                .to_owned()
        }
        _ => format!("inotify does not tell of changes ({error}): the whole tree is looked at every `poll`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, Flag};

    fn created(paths: &[&str]) -> notify::Result<Event> {
        let event = Event::new(EventKind::Create(CreateKind::File));
        Ok(paths.iter().fold(event, |event, path| event.add_path(PathBuf::from(path))))
    }

    #[test]
    fn what_was_heard_is_a_set_of_paths_below_the_root() {
        let ear = Ear::default();
        let root = Path::new("/srv");
        ear.handle(root, created(&["/srv/a", "/srv/b/c"]));
        ear.handle(root, created(&["/srv/a"]));
        ear.handle(
            root,
            Ok(Event::new(EventKind::Access(AccessKind::Open(AccessMode::Any))).add_path("/srv/x".into())),
        );
        let heard = ear.take();
        assert_eq!(heard.paths.into_iter().collect::<Vec<_>>(), ["a", "b/c"]);
        assert!(!heard.is_all && ear.take() == Heard::default());
    }

    #[test]
    fn a_name_that_is_not_text_is_a_look_at_its_directory() {
        use std::os::unix::ffi::OsStrExt;
        let ear = Ear::default();
        let name = std::ffi::OsStr::from_bytes(b"/srv/sub/\xff");
        let event = Event::new(EventKind::Create(CreateKind::File)).add_path(PathBuf::from(name));
        ear.handle(Path::new("/srv"), Ok(event));
        assert_eq!(ear.take().paths.into_iter().collect::<Vec<_>>(), ["sub"]);
    }

    #[test]
    fn what_the_kernel_lost_or_nobody_took_is_a_look_at_all() {
        let root = Path::new("/srv");
        let ear = Ear::default();
        ear.handle(root, Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        assert!(ear.take().is_all);
        for number in 0..=HEARD_PATHS {
            ear.handle(root, created(&[&format!("/srv/{number}")]));
        }
        let heard = ear.take();
        assert!(heard.is_all && heard.paths.is_empty());
        ear.handle(root, created(&["/srv"]));
        assert!(ear.take().is_all, "the root itself");
    }

    #[test]
    fn too_few_watches_are_said_with_the_sysctl_that_helps() {
        let ear = Ear::default();
        ear.handle(Path::new("/srv"), Err(notify::Error::new(ErrorKind::MaxFilesWatch)));
        let heard = ear.take();
        assert!(heard.is_all && heard.failure.is_some_and(|failure| failure.contains("fs.inotify.max_user_watches")));
    }

    #[test]
    fn a_local_folder_is_told_of() {
        assert!(is_told_of_all(Path::new("/proc")) && is_told_of_all(Path::new("/gone")));
    }

    #[tokio::test]
    async fn a_file_in_a_new_directory_is_heard_of() {
        let root = tempfile::tempdir().unwrap();
        let ear = Arc::new(Ear::default());
        let _watch = Watch::begin(root.path(), &ear).unwrap();
        std::fs::create_dir(root.path().join("new")).unwrap();
        ear.rung().await;
        let heard = ear.take();
        assert!(heard.is_all || heard.paths.contains("new"), "{heard:?}");
    }
}
