//! Trees that a real rsync fills, in each of its manners: whatever is opened is one whole version, never half a file.

use std::process::Command;

use super::*;

/// Slow enough that a transfer takes a while, fast enough for a test.
const RATE: &str = "--bwlimit=1500";

/// Longer than a busy machine keeps rsync from its next write.
const SETTLE: Duration = Duration::from_secs(4);

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

async fn transfer(arguments: &[&str], from: &Path, to: &Path) {
    let mut command = Command::new("rsync");
    command.args(["-a", RATE]).args(arguments).arg(format!("{}/", from.display())).arg(to);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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
    transfer(arguments, &source.path(), &stand.path("rel")).await;
    stand.noted(&["open rel"]).await;
    source.change();
    let second = source.info_hash();
    transfer(arguments, &source.path(), &stand.path("rel")).await;
    stand.noted(&["open rel", "stop rel", "withdraw rel", "forget rel", "open rel"]).await;
    assert_eq!(stand.desk.info_hashes(), [first, second]);
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
    transfer(&[], &source.path(), &stand.path("rel-1")).await;
    stand.noted(&["open rel-1"]).await;
    source.change();
    transfer(&["--link-dest=../rel-1"], &source.path(), &stand.path("rel-2")).await;
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
