//! A publisher with real files, a real catalogue and a desk that only takes notes: `desk` has it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::publish::State;
use catalogue::ReleaseState;
use settings::{Glob, Period, Rule};

use super::*;
use desk::NoteDesk;

mod desk;
mod rsync;

/// A root, a state directory, a desk and a publisher.
struct Stand {
    root: tempfile::TempDir,
    state: tempfile::TempDir,
    settings: Publish,
    desk: NoteDesk,
    world: PublisherWorld,
    publisher: Option<Publisher>,
}

fn glob(text: &str) -> Glob {
    text.parse().unwrap()
}

impl Stand {
    /// Every directory and every file below the root is a release, and nothing has been begun.
    fn new() -> Stand {
        let (root, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let settings = Publish {
            name: "images".to_owned(),
            root: root.path().to_path_buf(),
            releases: vec![Rule::Directory(glob("*")), Rule::File(glob("*"))],
            settle: Period(Duration::from_millis(300)),
            grace: Period(Duration::from_millis(300)),
            own_tracker: false,
            ..Publish::default()
        };
        let (desk, world) = open(state.path());
        Stand { root, state, settings, desk, world, publisher: None }
    }

    fn begun() -> Stand {
        let mut stand = Stand::new();
        stand.begin();
        stand
    }

    fn begin(&mut self) {
        self.publisher = Some(Publisher::start(self.world.clone(), &self.settings).unwrap());
    }

    /// Ends the publisher, and begins another on the same state as a process that was killed would find it.
    async fn restart(&mut self) {
        self.end().await;
        self.begin();
    }

    async fn end(&mut self) {
        if let Some(publisher) = self.publisher.take() {
            publisher.stop().await;
        }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    fn write(&self, relative: &str, content: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Waits until the notes are these.
    async fn noted(&self, notes: &[&str]) {
        self.desk.noted(notes).await;
    }

    async fn status(&self) -> TreeStatus {
        self.publisher.as_ref().unwrap().status().await.unwrap()
    }

    async fn state_of(&self, path: &str) -> Option<State> {
        let status = self.status().await;
        status.releases.into_iter().find(|line| &*line.path == path).map(|line| line.state)
    }

    fn has_outputs(&self, release: &str) -> bool {
        let is_there = |suffix: &str| self.path(&format!("{release}{suffix}")).exists();
        [".torrent", ".magnet", ".sha256"].into_iter().all(is_there)
    }
}

fn open(state: &Path) -> (NoteDesk, PublisherWorld) {
    let (catalogue, _) = Catalogue::open(state).unwrap();
    let (handle, desk) = NoteDesk::start(catalogue.clone());
    let (world, _) = PublisherWorld::new(handle, catalogue);
    (desk, world)
}

#[tokio::test]
async fn what_appears_is_published_with_its_files_and_what_goes_is_withdrawn() {
    let stand = Stand::begun();
    stand.write("one/a", "first");
    stand.noted(&["open one"]).await;
    assert!(stand.has_outputs("one"));
    stand.write("two.iso", "second");
    stand.noted(&["open one", "open two.iso"]).await;
    fs::remove_dir_all(stand.path("one")).unwrap();
    stand.noted(&["open one", "open two.iso", "stop one", "withdraw one", "forget one"]).await;
    assert!(!stand.path("one.torrent").exists() && stand.has_outputs("two.iso"));
}

#[tokio::test]
async fn what_changes_is_served_no_longer_and_published_anew() {
    let mut stand = Stand::new();
    // However long it takes to write both, they appear together.
    stand.write("one/a", "first");
    stand.write("one/b", "second");
    stand.begin();
    stand.noted(&["open one"]).await;
    let before = fs::read(stand.path("one.torrent")).unwrap();
    stand.write("one/b", "other content");
    stand.noted(&["open one", "stop one", "withdraw one", "forget one", "open one"]).await;
    assert_ne!(fs::read(stand.path("one.torrent")).unwrap(), before);
}

#[tokio::test]
async fn a_restart_publishes_nothing_again_and_finds_what_happened_meanwhile() {
    let mut stand = Stand::begun();
    for (path, content) in [("a.iso", "a"), ("b.iso", "b"), ("dir/c", "c"), ("dir/deep/d", "d"), ("dir/empty", "")] {
        stand.write(path, content);
    }
    stand.desk.count(3).await;
    stand.end().await;
    stand.desk.clear();
    fs::remove_file(stand.path("b.iso")).unwrap();
    stand.write("new.iso", "new");
    stand.begin();
    stand
        .desk
        .until(|notes| notes.contains(&"open new.iso".to_owned()) && notes.contains(&"forget b.iso".to_owned()))
        .await;
    let mut notes = stand.desk.notes();
    notes.sort();
    assert_eq!(notes, ["forget b.iso", "open new.iso", "stop b.iso", "withdraw b.iso"]);
    assert_eq!(stand.state_of("dir").await, Some(State::Published));
}

#[tokio::test]
async fn what_a_killed_process_left_half_published_is_gone_on_with() {
    let mut stand = Stand::begun();
    stand.desk.fail_next_open();
    stand.write("a.iso", "a");
    stand.desk.until(|notes| notes.contains(&"forget a.iso".to_owned())).await;
    stand.end().await;
    stand.desk.clear();
    // As if the process had ended between the catalogue and the desk's word.
    stand.desk.hang_next_open();
    stand.begin();
    stand.desk.until_hung().await;
    stand.publisher.take();
    assert!(stand.has_outputs("a.iso"));
    stand.begin();
    stand.noted(&["forget a.iso", "open a.iso"]).await;
    assert!(stand.has_outputs("a.iso"));
    let releases = stand.world.catalogue.releases().unwrap();
    assert_eq!(releases.iter().filter(|release| release.state == ReleaseState::Published).count(), 1);
}

#[tokio::test]
async fn a_tree_of_which_everything_is_gone_at_the_start_with_its_device_is_held() {
    let mut stand = Stand::begun();
    stand.write("a.iso", "a");
    stand.noted(&["open a.iso"]).await;
    stand.end().await;
    stand.desk.clear();
    // Another file system over the root would have another device; a note of another one looks the same.
    let key = "publish/images/device".to_owned();
    let other = catalogue::Change::Setting { key, value: Some("1".to_owned()) };
    stand.world.catalogue.apply(vec![other]).await.unwrap();
    let kept = stand.path("a.iso");
    let aside = stand.state.path().join("aside.iso");
    fs::rename(&kept, &aside).unwrap();
    stand.begin();
    stand.noted(&["stop a.iso"]).await;
    assert!(stand.status().await.hold.is_some_and(|hold| hold.contains("mounted")));
    fs::rename(&aside, &kept).unwrap();
    stand.noted(&["stop a.iso", "start a.iso"]).await;
    assert_eq!(stand.status().await.hold, None);
}

#[tokio::test]
async fn a_root_that_comes_late_is_waited_for() {
    let mut stand = Stand::new();
    stand.settings.root = stand.path("late");
    stand.settings.poll = Period(Duration::from_millis(100));
    stand.begin();
    assert!(stand.status().await.releases.is_empty());
    stand.write("late/a.iso", "a");
    stand.noted(&["open a.iso"]).await;
}

#[tokio::test]
async fn a_tree_that_is_polled_is_published_too() {
    let mut stand = Stand::new();
    (stand.settings.watch, stand.settings.poll) = (Watch::Poll, Period(Duration::from_millis(100)));
    stand.begin();
    stand.write("a.iso", "a");
    stand.noted(&["open a.iso"]).await;
    assert!(!stand.status().await.is_watched);
}

#[tokio::test]
async fn a_foreign_file_in_the_place_of_an_output_is_left_alone_and_named() {
    let mut stand = Stand::new();
    stand.write("a.iso.magnet", "not ours");
    stand.write("a.iso", "a");
    let mut troubles = stand.world.troubles.subscribe();
    stand.begin();
    let trouble = troubles.recv().await.unwrap();
    assert!(trouble.reason.contains("a.iso.magnet") && trouble.reason.contains("not ours"), "{trouble:?}");
    assert_eq!(fs::read_to_string(stand.path("a.iso.magnet")).unwrap(), "not ours");
    assert!(!stand.path("a.iso.torrent").exists());
    fs::remove_file(stand.path("a.iso.magnet")).unwrap();
    stand.publisher.as_ref().unwrap().rescan().await;
    assert!(matches!(stand.state_of("a.iso").await, Some(State::Failed { .. })), "it is tried again after a while");
}

#[tokio::test]
async fn the_same_file_in_two_places_is_one_torrent_and_moves_with_its_file() {
    let mut stand = Stand::new();
    stand.settings.releases = vec![Rule::File(glob("**"))];
    stand.settings.grace = Period(Duration::from_secs(3600));
    stand.begin();
    stand.write("x/a.iso", "a");
    stand.noted(&["open x/a.iso"]).await;
    fs::create_dir(stand.path("y")).unwrap();
    fs::hard_link(stand.path("x/a.iso"), stand.path("y/a.iso")).unwrap();
    stand.desk.until_asked("duplicate y/a.iso").await;
    fs::remove_file(stand.path("x/a.iso")).unwrap();
    stand.desk.until(|notes| notes.contains(&"stop x/a.iso".to_owned())).await;
    fs::create_dir(stand.path("z")).unwrap();
    fs::rename(stand.path("y/a.iso"), stand.path("z/a.iso")).unwrap();
    stand.desk.until(|notes| notes.contains(&"open z/a.iso".to_owned())).await;
    assert!(stand.has_outputs("z/a.iso") && !stand.path("x/a.iso.torrent").exists());
}

#[tokio::test]
async fn a_release_opens_when_the_file_beside_it_says() {
    let stand = Stand::begun();
    stand.write("a.iso.release-at", "2100-01-01T00:00:00Z\n");
    stand.write("a.iso", "a");
    stand.noted(&["open a.iso until 4102444800"]).await;
    stand.write("a.iso.release-at", "2100-01-01T00:00:01Z\n");
    stand.noted(&["open a.iso until 4102444800", "embargo a.iso until 4102444801"]).await;
    fs::remove_file(stand.path("a.iso.release-at")).unwrap();
    stand.noted(&["open a.iso until 4102444800", "embargo a.iso until 4102444801", "embargo a.iso"]).await;
}

#[tokio::test]
async fn an_output_root_receives_the_files_and_is_no_content() {
    let mut stand = Stand::new();
    stand.settings.output = Some(stand.path("out"));
    fs::create_dir(stand.path("out")).unwrap();
    stand.begin();
    stand.write("a.iso", "a");
    stand.noted(&["open a.iso"]).await;
    assert!(stand.path("out/a.iso.torrent").exists());
    stand.restart().await;
    stand.write("b.iso", "b");
    stand.noted(&["open a.iso", "open b.iso"]).await;
}

#[tokio::test]
async fn hundreds_of_files_at_once_are_all_published() {
    let stand = Stand::begun();
    for number in 0..200 {
        stand.write(&format!("{number}.iso"), &format!("content {number}"));
    }
    stand.desk.count(200).await;
    // The last note is taken before the publisher hears of it.
    stand.publisher.as_ref().unwrap().rescan().await;
    let status = stand.status().await;
    let unpublished = status.releases.iter().find(|line| line.state != State::Published);
    assert_eq!((unpublished, status.releases.len()), (None, 200));
}

#[tokio::test]
async fn thousands_of_releases_come_back_with_one_look_and_without_a_word() {
    const RELEASES: u32 = 2000;
    let mut stand = Stand::new();
    let mut changes = Vec::new();
    for number in 0..RELEASES {
        let path = format!("{number}.iso");
        stand.write(&path, &format!("content {number}"));
        let created = seedbox::create(&stand.path(&path), &Default::default(), None, &Arc::default()).unwrap();
        changes.extend(desk::published(&stand.world.catalogue, &path, &created, stand.root.path()));
    }
    stand.world.catalogue.apply(changes).await.unwrap();
    stand.begin();
    let status = loop {
        let status = stand.status().await;
        if status.scan_count > 0 {
            break status;
        }
        tokio::task::yield_now().await;
    };
    assert!(status.releases.iter().all(|line| line.state == State::Published));
    assert_eq!((status.releases.len(), status.scan_count), (RELEASES as usize, 1));
    assert_eq!(stand.desk.notes(), Vec::<String>::new());
}

#[tokio::test]
async fn an_operator_who_stopped_a_release_has_the_last_word() {
    let mut stand = Stand::new();
    stand.settings.grace = Period(Duration::from_secs(3600));
    stand.begin();
    stand.write("a.iso", "a");
    stand.write("b.iso", "b");
    stand.desk.count(2).await;
    stand.desk.clear();
    let number = stand
        .world
        .catalogue
        .releases()
        .unwrap()
        .iter()
        .find(|release| release.path == Path::new("a.iso"))
        .unwrap()
        .torrent;
    stand.world.desk.stop(number.unwrap()).await.unwrap();
    for name in ["a.iso", "b.iso"] {
        fs::rename(stand.path(name), stand.state.path().join(name)).unwrap();
    }
    stand.noted(&["stop a.iso", "stop b.iso"]).await;
    // Suspended over a restart, too.
    stand.restart().await;
    stand.publisher.as_ref().unwrap().rescan().await;
    for name in ["a.iso", "b.iso"] {
        fs::rename(stand.state.path().join(name), stand.path(name)).unwrap();
    }
    stand.publisher.as_ref().unwrap().rescan().await;
    assert_eq!(stand.state_of("a.iso").await, Some(State::Published));
    stand.noted(&["stop a.iso", "stop b.iso", "start b.iso"]).await;
}

#[tokio::test]
async fn a_suspended_release_that_a_killed_process_had_not_stopped_yet_is_stopped() {
    let mut stand = Stand::new();
    stand.settings.grace = Period(Duration::from_secs(3600));
    stand.begin();
    stand.write("a.iso", "a");
    stand.noted(&["open a.iso"]).await;
    stand.end().await;
    stand.desk.clear();
    let key = restore::suspended_key("images", "a.iso");
    let noted = catalogue::Change::Setting { key, value: Some(String::new()) };
    stand.world.catalogue.apply(vec![noted]).await.unwrap();
    let aside = stand.state.path().join("a.iso");
    fs::rename(stand.path("a.iso"), &aside).unwrap();
    stand.begin();
    stand.noted(&["stop a.iso"]).await;
    fs::rename(&aside, stand.path("a.iso")).unwrap();
    stand.noted(&["stop a.iso", "start a.iso"]).await;
}

#[tokio::test]
async fn a_tree_that_was_moved_with_its_root_is_published_from_where_it_is() {
    let mut stand = Stand::new();
    fs::create_dir(stand.path("old")).unwrap();
    stand.settings.root = stand.path("old");
    stand.write("old/a.iso", "a");
    stand.begin();
    stand.noted(&["open a.iso"]).await;
    let info_hashes = stand.desk.info_hashes();
    stand.end().await;
    stand.desk.clear();
    fs::rename(stand.path("old"), stand.path("new")).unwrap();
    stand.settings.root = stand.path("new");
    stand.begin();
    stand.desk.until(|notes| notes.contains(&"open a.iso".to_owned())).await;
    assert_eq!(stand.desk.info_hashes(), info_hashes);
    let releases = stand.world.catalogue.releases().unwrap();
    let release = releases.iter().find(|release| release.state == ReleaseState::Published).unwrap();
    let row = stand.world.catalogue.row(release.torrent.unwrap()).unwrap().unwrap();
    assert_eq!(&*row.content.folder, stand.path("new"));
    assert!(stand.path("new/a.iso.torrent").exists());
}

#[test]
fn what_a_tree_reserves_is_below_it() {
    let settings = Publish { root: "/srv".into(), output: Some("/srv/out".into()), ..Publish::default() };
    let rules = rules(&settings, &["/srv/.state".into(), "/var/lib".into()]).unwrap();
    for path in ["out", ".state"] {
        assert_eq!(rules.role_from_root(path, true), ::publish::Role::Skipped, "{path}");
    }
    assert_eq!(rules.role_from_root("lib", true), ::publish::Role::Release);
}
