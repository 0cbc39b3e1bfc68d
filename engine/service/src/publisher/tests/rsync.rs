//! Trees that a real rsync fills, in each of its manners: whatever is opened is one whole version, never half a file.

use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

use super::*;

/// Slow enough that a transfer takes a while, fast enough for a test.
const RATE: &str = "--bwlimit=1500";

/// Longer than a machine keeps rsync from its next write, mostly. Where it does, what lies there looks whole, and is published.
const SETTLE: Duration = Duration::from_secs(4);

/// What is said then.
const PAUSED: &str = "rsync was kept from its work for longer than a release takes to settle";

/// Between two looks at what rsync does.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The source of a transfer, in two versions.
struct Source {
    folder: tempfile::TempDir,
}

impl Source {
    fn new() -> Source {
        let source = Source { folder: tempfile::tempdir().unwrap() };
        for (name, size_bytes) in
            [("a.iso", 1_500_000), ("sub/b.iso", 900_000), ("sub/gone", 1000), ("SHA256SUMS", 100)]
        {
            source.fill(name, size_bytes, 1);
        }
        source
    }

    fn change(&self) {
        self.fill("a.iso", 1_600_000, 2);
        self.fill("sub/new", 400_000, 3);
        fs::remove_file(self.path().join("sub/gone")).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("rel")
    }

    /// Content that does not compress and is the same each time, with a time of long ago.
    fn fill(&self, name: &str, size_bytes: usize, seed: u64) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        fs::write(&path, (0..size_bytes).map(|_| next()).collect::<Vec<u8>>()).unwrap();
        let old = std::time::UNIX_EPOCH + Duration::from_secs(1_600_000_000 + seed);
        fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
    }

    /// What a torrent of it is called.
    fn info_hash(&self) -> String {
        let options = seedbox::CreateOptions::default();
        let created = seedbox::create(&self.path(), &options, None, &Arc::default()).unwrap();
        created.torrent.info_hashes().next().unwrap().to_string()
    }
}

fn is_missing() -> bool {
    let is_missing = Command::new("rsync").arg("--version").output().is_err();
    if is_missing {
        eprintln!("skipped: rsync is not installed");
    }
    is_missing
}

/// Has rsync copy a tree. False if it may have done nothing for as long as a release takes to settle.
async fn transfer(arguments: &[&str], from: &Path, to: &Path) -> bool {
    let mut command = Command::new("rsync");
    command.args(["-a", RATE]).args(arguments).arg(format!("{}/", from.display())).arg(to);
    let to = to.to_path_buf();
    let run = move || {
        let mut last_look = Instant::now();
        let (mut unchanged_since, mut seen, mut longest) = (last_look, tree(&to), Duration::ZERO);
        let mut rsync = command.stderr(Stdio::piped()).spawn().unwrap();
        let status = loop {
            let status = rsync.try_wait().unwrap();
            let (now, tree) = (Instant::now(), tree(&to));
            // What changed did so after the look before this one, and nobody knows when.
            longest = longest.max(now.duration_since(unchanged_since));
            if tree != seen {
                (seen, unchanged_since) = (tree, last_look);
            }
            last_look = now;
            match status {
                Some(status) => break status,
                None => std::thread::sleep(LOOK_AGAIN),
            }
        };
        let mut said = String::new();
        std::io::Read::read_to_string(&mut rsync.stderr.take().unwrap(), &mut said).unwrap();
        assert!(status.success(), "{said}");
        longest < SETTLE
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Everything below a directory, each with its size and time.
fn tree(directory: &Path) -> Vec<(PathBuf, u64, Option<SystemTime>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        // It may be gone again.
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            found.extend(tree(&path));
        }
        found.push((path, meta.len(), meta.modified().ok()));
    }
    found.sort();
    found
}

impl Stand {
    /// Waits until the last that was opened is this version of the one release. If rsync made no pause, nothing else has been
    /// noted than this.
    async fn opened(&self, info_hash: &str, is_smooth: bool, notes: &[&str]) {
        let is_last = || self.desk.info_hashes().last().is_some_and(|last| last == info_hash);
        self.desk.until(|noted| is_last() && noted.last().is_some_and(|last| last.starts_with("open"))).await;
        if is_smooth {
            assert_eq!(self.desk.notes(), notes);
        } else {
            eprintln!("only the end is looked at: {PAUSED}");
        }
    }
}

/// A first transfer and an update, both while the publisher looks on.
async fn is_published_in_whole_versions(arguments: &[&str]) {
    if is_missing() {
        return;
    }
    let mut stand = Stand::new();
    (stand.settings.settle, stand.settings.grace) = (Period(SETTLE), Period(Duration::from_secs(600)));
    stand.settings.releases = vec![Rule::Directory(glob("*"))];
    stand.begin();
    let source = Source::new();
    let first = source.info_hash();
    let is_smooth = transfer(arguments, &source.path(), &stand.path("rel")).await;
    stand.opened(&first, is_smooth, &["open rel"]).await;
    source.change();
    let second = source.info_hash();
    let is_smooth = transfer(arguments, &source.path(), &stand.path("rel")).await && is_smooth;
    stand.opened(&second, is_smooth, &["open rel", "stop rel", "withdraw rel", "forget rel", "open rel"]).await;
    if is_smooth {
        assert_eq!(stand.desk.info_hashes(), [first, second]);
    }
    stand.end().await;
}

#[tokio::test]
async fn plain() {
    is_published_in_whole_versions(&["--delete"]).await;
}

#[tokio::test]
async fn inplace() {
    is_published_in_whole_versions(&["--inplace", "--delete"]).await;
}

#[tokio::test]
async fn delay_updates() {
    is_published_in_whole_versions(&["--delay-updates", "--delete-after"]).await;
}

#[tokio::test]
async fn partial_dir() {
    is_published_in_whole_versions(&["--partial-dir=.rsync-partial", "--delete-delay"]).await;
}

#[tokio::test]
async fn delete_after() {
    is_published_in_whole_versions(&["--delete-after"]).await;
}

#[tokio::test]
async fn single_files_renamed_into_place() {
    if is_missing() {
        return;
    }
    let mut stand = Stand::new();
    stand.settings.settle = Period(SETTLE);
    stand.settings.releases = vec![Rule::File(glob("**/*.iso"))];
    stand.begin();
    let source = Source::new();
    transfer(&[], &source.path(), &stand.path("mirror")).await;
    stand.desk.count(2).await;
    let mut notes = stand.desk.notes();
    notes.sort();
    assert_eq!(notes, ["open mirror/a.iso", "open mirror/sub/b.iso"]);
    stand.end().await;
}

#[tokio::test]
async fn link_dest_shares_files_and_leaves_the_older_release_alone() {
    if is_missing() {
        return;
    }
    let mut stand = Stand::new();
    stand.settings.settle = Period(SETTLE);
    stand.settings.releases = vec![Rule::Directory(glob("*"))];
    stand.begin();
    let source = Source::new();
    let is_smooth = transfer(&[], &source.path(), &stand.path("rel-1")).await;
    if !is_smooth {
        return eprintln!("skipped: {PAUSED}");
    }
    stand.noted(&["open rel-1"]).await;
    source.change();
    let is_smooth = transfer(&["--link-dest=../rel-1"], &source.path(), &stand.path("rel-2")).await;
    if !is_smooth {
        return eprintln!("skipped: {PAUSED}");
    }
    stand.noted(&["open rel-1", "open rel-2"]).await;
    stand.publisher.as_ref().unwrap().rescan().await;
    assert_eq!(stand.state_of("rel-1").await, Some(State::Published));
    assert_eq!(stand.desk.notes().len(), 2);
    stand.end().await;
}

#[tokio::test]
async fn a_write_by_a_name_elsewhere_is_found_when_the_engine_says_that_the_content_changed() {
    let (stand, elsewhere) = (Stand::begun(), tempfile::tempdir().unwrap());
    let name = elsewhere.path().join("a.iso");
    fs::write(&name, "first").unwrap();
    fs::hard_link(&name, stand.path("a.iso")).unwrap();
    stand.noted(&["open a.iso"]).await;
    // inotify tells of the directory in which the name lies that was used.
    fs::write(&name, "another").unwrap();
    stand.desk.fail(&stand.world.catalogue, "a.iso");
    stand.noted(&["open a.iso", "stop a.iso", "withdraw a.iso", "forget a.iso", "open a.iso"]).await;
}

#[tokio::test]
async fn what_changes_and_goes_before_it_is_whole_again_is_forgotten() {
    let stand = Stand::begun();
    stand.write("a.iso", "first");
    stand.noted(&["open a.iso"]).await;
    // Something goes on beside it for longer than the grace.
    stand.write(".a.iso.Ab12Cd", "half");
    stand.write("a.iso", "another");
    stand.noted(&["open a.iso", "stop a.iso", "withdraw a.iso"]).await;
    fs::remove_file(stand.path("a.iso")).unwrap();
    stand.noted(&["open a.iso", "stop a.iso", "withdraw a.iso", "forget a.iso"]).await;
}
