//! The tree under a made-up file system and clock: `world` has them, `random` compares with a naive oracle.

use super::*;
use crate::action::Why;
use crate::limits::{ABANDONED_MS, RETRY_MS};
use crate::sight::Kind;
use world::{GRACE_MS, SETTLE_MS, World, directories, files};

mod random;
mod world;

fn publish_of(actions: &[Action]) -> Vec<&str> {
    let mut paths = Vec::new();
    for action in actions {
        if let Action::Publish { path, .. } = action {
            paths.push(&**path);
        }
    }
    paths
}

fn withdraw(path: &str, why: Why) -> Action {
    Action::Withdraw { path: path.into(), why }
}

fn suspend(path: &str) -> Action {
    Action::Suspend { path: path.into() }
}

fn resume(path: &str) -> Action {
    Action::Resume { path: path.into() }
}

/// A world whose first look found nothing.
fn empty(rules: Rules) -> World {
    let mut world = World::new(rules);
    world.look("");
    world.run();
    world
}

/// A world in which these files are published.
fn with_published(rules: Rules, paths: &[&str]) -> World {
    let mut world = empty(rules);
    for path in paths {
        world.write(path, 100);
    }
    world.pass(10 * SETTLE_MS);
    assert!(
        paths.iter().all(|path| world.tree.release_holding(path)),
        "{:?}",
        world.tree.releases().collect::<Vec<_>>()
    );
    world.log.clear();
    world
}

impl Tree {
    fn release_holding(&self, path: &str) -> bool {
        let release = self.entries.release_of(path);
        release.is_some_and(|release| self.state_of(release) == Some(State::Published))
    }
}

#[test]
fn a_file_that_is_written_in_place_waits_until_it_has_settled() {
    let mut world = empty(files());
    world.write("a.iso", 100);
    world.pass(SETTLE_MS - 1);
    world.write("a.iso", 200);
    world.pass(SETTLE_MS - 1);
    assert_eq!(world.published(), Vec::<&str>::new());
    world.pass(1);
    assert_eq!(world.published(), ["a.iso"]);
}

#[test]
fn a_write_by_one_name_of_a_file_changes_the_releases_by_its_other_names() {
    let mut world = with_published(files(), &["a.iso", "other.iso"]);
    world.link("a.iso", "deep/b.iso");
    world.pass(2 * SETTLE_MS);
    assert_eq!(world.published(), ["a.iso", "deep/b.iso", "other.iso"]);
    world.log.clear();
    world.write("deep/b.iso", 200);
    world.run();
    assert_eq!(world.log, [suspend("deep/b.iso"), suspend("a.iso")]);
    world.pass(2 * SETTLE_MS);
    assert_eq!(world.published(), ["a.iso", "deep/b.iso", "other.iso"]);
}

#[test]
fn a_write_that_nobody_told_of_is_found_by_the_look_before_publishing() {
    let mut world = empty(files());
    world.write("a.iso", 100);
    world.pass(SETTLE_MS - 1);
    world.is_told = false;
    world.write("a.iso", 200);
    world.is_told = true;
    world.pass(SETTLE_MS - 1);
    assert_eq!(world.published(), Vec::<&str>::new());
    world.pass(2);
    assert_eq!(world.published(), ["a.iso"]);
}

#[test]
fn a_file_that_rsync_renames_into_place_waits_only_until_it_is_quiet() {
    let mut world = empty(files());
    world.write(".a.iso.Xk3f9a", 100);
    world.pass(5 * SETTLE_MS);
    assert_eq!(world.published(), Vec::<&str>::new());
    world.date_back(".a.iso.Xk3f9a");
    world.rename(".a.iso.Xk3f9a", "a.iso");
    world.pass(QUIET_MS - 1);
    assert_eq!(world.published(), Vec::<&str>::new());
    world.pass(1);
    assert_eq!(world.published(), ["a.iso"]);
}

#[test]
fn a_file_under_another_machines_clock_is_not_believed_to_be_old() {
    let mut world = World::new(files());
    world.tree.timing.trusts_clock = false;
    world.write("a.iso", 100);
    world.date_back("a.iso");
    world.look("");
    world.pass(SETTLE_MS - 1);
    assert_eq!(world.published(), Vec::<&str>::new());
    world.pass(1);
    assert_eq!(world.published(), ["a.iso"]);
}

#[test]
fn what_was_there_before_the_start_is_published_without_waiting() {
    let mut world = World::new(directories());
    world.write("one/a", 100);
    world.write("one/b", 100);
    world.now_ms += SETTLE_MS;
    world.look("");
    assert_eq!(publish_of(&world.tree.poll(world.now())), ["one"]);
}

#[test]
fn a_time_in_the_future_makes_nobody_wait_for_it() {
    let mut world = empty(files());
    world.write("a.iso", 100);
    world.nodes.get_mut("a.iso").unwrap().mtime_ns = i64::MAX;
    world.tell("a.iso");
    world.pass(SETTLE_MS);
    assert_eq!(world.published(), ["a.iso"]);
}

#[test]
fn a_directory_waits_for_the_updates_that_rsync_delays() {
    let mut world = empty(directories());
    world.write("one/a", 100);
    world.write("one/.~tmp~/b", 100);
    world.pass(20 * SETTLE_MS);
    let unfinished = State::Waiting(Waiting::Unfinished("one/.~tmp~".into()));
    assert_eq!(world.tree.state_of("one"), Some(unfinished));
    world.rename("one/.~tmp~/b", "one/b");
    world.remove("one/.~tmp~");
    world.pass(SETTLE_MS - 1);
    assert_eq!(world.published(), Vec::<&str>::new());
    world.pass(1);
    assert_eq!(world.published(), ["one"]);
}

#[test]
fn files_with_old_times_that_come_one_by_one_are_one_release() {
    let mut world = empty(directories());
    for name in ["one/a", "one/b", "one/c", "one/d"] {
        world.write(name, 100);
        world.date_back(name);
        world.pass(SETTLE_MS - 1);
    }
    assert_eq!(world.published(), Vec::<&str>::new());
    world.pass(1);
    assert_eq!(world.published(), ["one"]);
    assert_eq!(publish_of(&world.log).len(), 1);
}

#[test]
fn a_temporary_file_that_was_left_behind_holds_nothing_up_for_ever() {
    let mut world = empty(directories());
    world.write("one/a", 100);
    world.write("one/.b.Xk3f9a", 100);
    world.pass(ABANDONED_MS - 1);
    assert_eq!(world.published(), Vec::<&str>::new());
    world.pass(1);
    assert_eq!(world.published(), ["one"]);
}

#[test]
fn a_file_waits_while_a_download_of_it_is_under_way() {
    for companion in ["a.iso.aria2", "a.iso.part", ".a.iso.Xk3f9a"] {
        let mut world = empty(files());
        world.write("a.iso", 100);
        world.write(companion, 10);
        world.pass(10 * SETTLE_MS);
        assert_eq!(world.published(), Vec::<&str>::new(), "{companion}");
        world.remove(companion);
        world.pass(QUIET_MS);
        assert_eq!(world.published(), ["a.iso"], "{companion}");
    }
}

#[test]
fn an_empty_file_or_directory_is_no_release() {
    let mut world = empty(files());
    world.write("a.iso", 0);
    world.pass(10 * SETTLE_MS);
    assert_eq!(world.tree.state_of("a.iso"), Some(State::Waiting(Waiting::Empty)));
    let mut world = empty(directories());
    world.write("one/deep/a", 100);
    world.remove("one/deep/a");
    world.pass(10 * SETTLE_MS);
    assert_eq!(world.tree.state_of("one"), Some(State::Waiting(Waiting::Empty)));
    assert!(publish_of(&world.log).is_empty());
}

#[test]
fn a_new_link_owner_or_mode_is_no_change() {
    let mut world = with_published(directories(), &["one/a"]);
    world.nodes.get_mut("one/a").unwrap().ctime_ns += 1_000_000_000;
    world.tell("one/a");
    world.link("one/a", "elsewhere-a");
    world.pass(10 * GRACE_MS);
    assert_eq!(world.log, []);
}

#[test]
fn a_file_that_makes_room_for_a_directory_is_gone() {
    let mut world = with_published(files(), &["a.iso"]);
    world.is_told = false;
    world.remove("a.iso");
    world.write("a.iso/readme", 10);
    world.look("");
    world.pass(2 * GRACE_MS);
    assert_eq!(world.published(), ["a.iso/readme"]);
    assert!(world.log.contains(&withdraw("a.iso", Why::Gone)));
}

#[test]
fn changed_content_is_served_no_longer_at_once_and_published_anew_when_it_has_settled() {
    let mut world = with_published(files(), &["a.iso"]);
    world.write(".a.iso.Xk3f9a", 200);
    world.pass(1);
    assert_eq!(world.log, []);
    world.date_back(".a.iso.Xk3f9a");
    world.rename(".a.iso.Xk3f9a", "a.iso");
    world.pass(QUIET_MS - 1);
    assert_eq!(world.log, [suspend("a.iso")]);
    world.pass(1);
    assert_eq!(world.log[1], withdraw("a.iso", Why::Changed));
    assert_eq!(publish_of(&world.log), ["a.iso"]);
}

#[test]
fn a_file_more_in_a_directory_is_another_release() {
    let mut world = with_published(directories(), &["one/a"]);
    world.write("one/b", 100);
    world.pass(SETTLE_MS - 1);
    assert_eq!(world.log, [suspend("one")]);
    world.pass(1);
    assert_eq!(world.log[1], withdraw("one", Why::Changed));
    assert_eq!(world.published(), ["one"]);
}

#[test]
fn what_comes_back_within_the_grace_was_never_gone() {
    let mut world = with_published(files(), &["a.iso"]);
    world.rename("a.iso", "elsewhere.tmp");
    world.pass(GRACE_MS - 1);
    assert_eq!(world.log, [suspend("a.iso")]);
    world.rename("elsewhere.tmp", "a.iso");
    world.pass(2 * GRACE_MS);
    assert_eq!(world.log, [suspend("a.iso"), resume("a.iso")]);
}

#[test]
fn a_directory_that_is_changed_back_was_never_another() {
    let mut world = with_published(directories(), &["one/a"]);
    world.write("one/b", 100);
    world.pass(SETTLE_MS - 1);
    world.remove("one/b");
    world.pass(2 * GRACE_MS);
    assert_eq!(world.log, [suspend("one"), resume("one")]);
}

#[test]
fn what_comes_back_as_something_else_is_published_anew() {
    let mut world = with_published(files(), &["a.iso"]);
    world.remove("a.iso");
    world.pass(1);
    world.write("a.iso", 300);
    world.pass(0);
    assert_eq!(world.log, [suspend("a.iso")]);
    world.pass(SETTLE_MS);
    assert_eq!(world.log[1], withdraw("a.iso", Why::Changed));
    assert_eq!(publish_of(&world.log), ["a.iso"]);
}

#[test]
fn what_is_gone_for_the_grace_is_withdrawn() {
    let mut world = with_published(directories(), &["one/a", "one/b", "two/a"]);
    world.remove("one/a");
    world.remove("one/b");
    world.pass(GRACE_MS - 1);
    assert!(!world.log.contains(&withdraw("one", Why::Gone)));
    world.pass(1);
    assert!(world.log.contains(&withdraw("one", Why::Gone)));
    assert_eq!(world.published(), ["two"]);
}

#[test]
fn a_tree_that_was_emptied_on_purpose_is_believed() {
    let mut world = with_published(files(), &["a.iso"]);
    world.remove("a.iso");
    world.pass(GRACE_MS);
    assert_eq!(world.log, [suspend("a.iso"), withdraw("a.iso", Why::Gone)]);
}

#[test]
fn a_root_that_is_gone_is_no_deletion() {
    let mut world = with_published(files(), &["a.iso", "b.iso"]);
    world.is_mounted = None;
    world.look("");
    world.pass(10 * GRACE_MS);
    let held = Hold::RootGone("not there".into());
    assert_eq!(world.log, [Action::Held(Some(held))]);
    world.is_mounted = Some(0);
    world.look("");
    world.pass(10 * GRACE_MS);
    assert_eq!(world.log[1..], [Action::Held(None)]);
}

#[test]
fn an_unmounted_root_is_no_deletion() {
    let mut world = with_published(files(), &["a.iso", "b.iso"]);
    let mounted = std::mem::take(&mut world.nodes);
    world.is_mounted = Some(9);
    world.look("");
    world.pass(10 * GRACE_MS);
    assert_eq!(world.log, [suspend("a.iso"), suspend("b.iso"), Action::Held(Some(Hold::Unmounted(2)))]);
    world.log.clear();
    world.nodes = mounted;
    world.is_mounted = Some(0);
    world.look("");
    world.pass(10 * GRACE_MS);
    assert_eq!(world.log, [resume("a.iso"), resume("b.iso"), Action::Held(None)]);
}

#[test]
fn a_file_system_that_is_unmounted_below_the_root_is_no_deletion() {
    let mut world = empty(files());
    world.write("disk/a.iso", 100);
    world.write("b.iso", 100);
    for path in ["disk", "disk/a.iso"] {
        world.nodes.get_mut(path).unwrap().device = 7;
        world.tell(path);
    }
    world.pass(10 * SETTLE_MS);
    assert_eq!(world.published(), ["b.iso", "disk/a.iso"]);
    world.log.clear();
    let inside = world.nodes.remove("disk/a.iso").unwrap();
    world.nodes.get_mut("disk").unwrap().device = 0;
    world.look("");
    world.pass(10 * GRACE_MS);
    assert_eq!(world.log, [suspend("disk/a.iso"), Action::Held(Some(Hold::Unmounted(1)))]);
    world.nodes.get_mut("disk").unwrap().device = 7;
    world.look("");
    world.pass(GRACE_MS - 1);
    assert_eq!(world.log[2..], [Action::Held(None)], "gone since it was mounted again");
    world.nodes.insert("disk/a.iso".to_owned(), inside);
    world.look("");
    world.pass(1);
    assert_eq!(world.log[3..], [resume("disk/a.iso")]);
}

#[test]
fn very_much_at_once_is_held_until_the_limit_is_raised() {
    let names: Vec<String> = (0..40).map(|number| format!("{number:02}.iso")).collect();
    let mut world = with_published(files(), &names.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &names[..25] {
        world.remove(name);
    }
    world.pass(10 * GRACE_MS);
    assert_eq!(world.tree.hold(), Some(&Hold::TooMany { gone: 25, of: 40 }));
    assert!(!world.log.iter().any(|action| matches!(action, Action::Withdraw { .. })));
    let timing = Timing { max_withdraw_percent: 100, ..world.tree.timing };
    world.tree.set_timing(timing, world.now());
    world.pass(0);
    assert_eq!(world.log.iter().filter(|action| matches!(action, Action::Withdraw { .. })).count(), 25);
    assert_eq!((world.published().len(), world.tree.hold()), (15, None));
}

#[test]
fn a_directory_that_cannot_be_read_is_neither_published_nor_withdrawn() {
    let mut world = with_published(directories(), &["one/a", "two/sub/a"]);
    world.unread = vec!["two/sub".into()];
    world.write("new/a", 100);
    world.look("");
    world.pass(10 * GRACE_MS);
    assert_eq!(world.published(), ["new", "one", "two"]);
    world.unread = vec!["later/sub".into()];
    world.write("later/sub/b", 100);
    world.write("later/a", 100);
    world.look("");
    world.pass(10 * GRACE_MS);
    let unreadable = State::Waiting(Waiting::Unreadable("later/sub".into()));
    assert_eq!(world.tree.state_of("later"), Some(unreadable));
    assert!(!world.log.iter().any(|action| matches!(action, Action::Withdraw { .. } | Action::Suspend { .. })));
}

#[test]
fn what_no_torrent_can_hold_is_named() {
    let mut world = empty(directories());
    world.write("one/a", 100);
    world.write("one/pipe", 0);
    world.nodes.get_mut("one/pipe").unwrap().kind = Kind::Unusable("is a pipe".into());
    world.tell("one/pipe");
    world.pass(10 * SETTLE_MS);
    let unusable = Waiting::Unusable { path: "one/pipe".into(), reason: "is a pipe".into() };
    assert_eq!(world.tree.state_of("one"), Some(State::Waiting(unusable)));
}

#[test]
fn a_file_with_the_name_of_an_output_file_is_refused_by_name() {
    let mut world = empty(files().with_outputs_beside());
    world.write("a.iso", 100);
    world.write("a.iso.torrent", 100);
    world.write("alone.torrent", 100);
    world.pass(10 * SETTLE_MS);
    assert_eq!(world.published(), ["a.iso", "alone.torrent"]);
    let state = world.tree.state_of("a.iso.torrent");
    assert_eq!(state, Some(State::Waiting(Waiting::NameTaken("a.iso".into()))));
    assert_eq!(world.tree.releases().count(), 2);
}

#[test]
fn a_release_opens_when_the_file_beside_it_says() {
    let mut world = empty(files());
    world.write("a.iso", 100);
    world.say_release_at("a.iso.release-at", Some(Ok(5000)));
    world.pass(SETTLE_MS);
    assert!(world.log.iter().any(|action| matches!(action, Action::Publish { release_at: Some(5000), .. })));
    world.log.clear();
    let embargo = |release_at| Action::Embargo { path: "a.iso".into(), release_at };
    world.say_release_at("a.iso.release-at", Some(Ok(6000)));
    world.pass(0);
    assert_eq!(world.log, [embargo(Some(6000))]);
    world.say_release_at("a.iso.release-at", Some(Err("is empty".into())));
    world.pass(SETTLE_MS);
    assert_eq!(world.log.len(), 1, "what was said last holds");
    world.remove("a.iso.release-at");
    world.pass(SETTLE_MS - 1);
    assert_eq!(world.log.len(), 1);
    world.pass(1);
    assert_eq!(world.log[1..], [embargo(None)]);
}

#[test]
fn a_release_whose_time_cannot_be_read_stays_shut() {
    let mut world = empty(files());
    world.say_release_at("a.iso.release-at", Some(Err("is no time".into())));
    world.write("a.iso", 100);
    world.pass(10 * SETTLE_MS);
    let shut = Waiting::Embargo { path: "a.iso.release-at".into(), reason: "is no time".into() };
    assert_eq!(world.tree.state_of("a.iso"), Some(State::Waiting(shut)));
    world.say_release_at("a.iso.release-at", Some(Ok(7)));
    world.pass(0);
    assert_eq!(world.published(), ["a.iso"]);
}

#[test]
fn a_failure_is_tried_again_ever_later_and_at_once_when_the_content_changes() {
    let mut world = empty(files());
    world.outcome = Outcome::Failed("no space".into());
    world.write("a.iso", 100);
    world.pass(SETTLE_MS);
    for attempt in 1..=4 {
        assert_eq!(publish_of(&world.log).len(), attempt);
        world.pass((RETRY_MS << (attempt - 1)) - 1);
        assert_eq!(publish_of(&world.log).len(), attempt);
        world.pass(1);
    }
    let attempts = world.tree.state_of("a.iso");
    assert_eq!(attempts, Some(State::Failed { reason: "no space".into(), attempts: 5 }));
    world.outcome = Outcome::Published;
    world.write("a.iso", 200);
    world.pass(SETTLE_MS);
    assert_eq!(world.published(), ["a.iso"]);
}

#[test]
fn content_that_changes_while_it_is_prepared_is_cancelled() {
    let mut world = empty(files());
    world.is_answered = false;
    world.write("a.iso", 100);
    world.pass(SETTLE_MS);
    world.write("a.iso", 200);
    world.pass(SETTLE_MS);
    assert_eq!(publish_of(&world.log), ["a.iso"]);
    let cancels = world.log.iter().filter(|action| matches!(action, Action::Cancel { .. })).count();
    assert_eq!(cancels, 1);
    world.is_answered = true;
    world.tree.handle_outcome("a.iso", Outcome::Cancelled, world.now());
    world.pass(0);
    assert_eq!(publish_of(&world.log), ["a.iso", "a.iso"]);
}

#[test]
fn content_that_vanishes_while_it_is_prepared_leaves_nothing() {
    let mut world = empty(files());
    world.is_answered = false;
    world.write("a.iso", 100);
    world.pass(SETTLE_MS);
    world.remove("a.iso");
    world.pass(1);
    world.tree.handle_outcome("a.iso", Outcome::Cancelled, world.now());
    world.pass(1);
    assert_eq!(world.tree.releases().count(), 0);
}

#[test]
fn the_same_torrent_from_another_place_waits_for_its_turn() {
    let mut world = empty(files());
    world.outcome = Outcome::Twin("first.iso".into());
    world.write("a.iso", 100);
    world.pass(100 * SETTLE_MS);
    assert_eq!(publish_of(&world.log).len(), 1);
    world.outcome = Outcome::Published;
    world.tree.retry("a.iso", world.now());
    world.pass(0);
    assert_eq!(world.published(), ["a.iso"]);
}

#[test]
fn what_an_earlier_run_published_is_not_published_again() {
    let before = with_published(files(), &["a.iso", "b.iso", "c.iso"]);
    let mut world = before.restarted();
    world.write("b.iso", 300);
    world.remove("c.iso");
    world.look("");
    world.pass(SETTLE_MS);
    assert_eq!(publish_of(&world.log), ["b.iso"]);
    assert!(world.log.contains(&suspend("b.iso")) && world.log.contains(&suspend("c.iso")));
    assert!(world.log.contains(&withdraw("b.iso", Why::Changed)));
    world.pass(GRACE_MS - SETTLE_MS - 1);
    assert!(!world.log.contains(&withdraw("c.iso", Why::Gone)));
    world.pass(1);
    assert!(world.log.contains(&withdraw("c.iso", Why::Gone)));
    assert_eq!(world.published(), ["a.iso", "b.iso"]);
}

#[test]
fn what_was_suspended_when_a_run_ended_is_served_again_if_it_is_back() {
    let before = with_published(files(), &["a.iso", "b.iso"]);
    let mut world = before.restarted();
    world.known_before.iter_mut().for_each(|known| known.is_suspended = true);
    world.remove("b.iso");
    world.look("");
    world.pass(GRACE_MS - 1);
    assert_eq!(world.log, [resume("a.iso")]);
    world.pass(1);
    assert_eq!(world.log[1..], [withdraw("b.iso", Why::Gone)]);
}

#[test]
fn output_files_of_a_release_that_went_while_nobody_looked_are_no_releases() {
    let mut before = with_published(files().with_outputs_beside(), &["a.iso"]);
    before.write("a.iso.torrent", 10);
    before.pass(10 * SETTLE_MS);
    let mut world = before.restarted();
    world.remove("a.iso");
    world.look("");
    world.pass(GRACE_MS - 1);
    assert_eq!(world.log, [suspend("a.iso")]);
}

#[test]
fn a_fingerprint_is_the_same_from_files_as_from_a_look() {
    let mut world = empty(directories());
    world.write("one/sub/a", 100);
    world.write("one/sub-b", 200);
    world.write("one/empty", 0);
    world.insert("one/sub/link", Kind::Link("../sub-b".into()), 0);
    world.look("");
    let mut files = world.tree.files_of("one");
    let link = ContentFile {
        path: "sub/link".to_owned(),
        link_target: Some("sub-b".to_owned()),
        size_bytes: 9,
        mtime_ns: 9,
        inode: 9,
    };
    files.push(link);
    assert!(world.tree.is_still("one", Fingerprint::of(files), world.now()));
    assert_eq!(world.tree.is_directory("one"), Some(true));
}

#[test]
fn a_root_that_is_not_mounted_at_the_start_is_no_deletion() {
    let before = with_published(files(), &["a.iso"]);
    let mut world = before.restarted();
    world.nodes.clear();
    world.is_mounted = Some(3);
    world.look("");
    world.pass(10 * GRACE_MS);
    assert_eq!(world.tree.hold(), Some(&Hold::Unmounted(1)));
    assert_eq!(world.published(), Vec::<&str>::new());
}

#[test]
fn the_newest_go_first_the_small_before_the_large_and_nothing_waits_for_ever() {
    let mut world = World::new(files());
    world.is_answered = false;
    for (path, size) in [("old-1", 1), ("old-2", 2), ("old-3", 3), ("old-9", 9)] {
        world.write(path, size);
    }
    world.now_ms += SETTLE_MS;
    world.look("");
    let mut order = Vec::new();
    for turn in 0..7 {
        let actions = world.tree.poll(world.now());
        let path = publish_of(&actions)[0].to_owned();
        world.tree.handle_outcome(&path, Outcome::Published, world.now());
        order.push(path);
        if turn == 0 {
            world.now_ms += 60_000;
            for (path, size) in [("new-7", 7), ("new-5", 5), ("new-6", 6)] {
                world.write(path, size);
            }
            world.now_ms += 60_000;
            world.look("");
        }
    }
    assert_eq!(order, ["old-1", "new-5", "new-6", "old-2", "new-7", "old-3", "old-9"]);
}

#[test]
fn what_came_into_a_new_directory_before_it_was_watched_is_found() {
    let mut world = empty(files());
    world.make_directory("new");
    world.pass(0);
    world.is_told = false;
    world.write("new/a.iso", 100);
    world.is_told = true;
    world.pass(10 * SETTLE_MS);
    assert_eq!(world.published(), ["new/a.iso"]);
}

#[test]
fn news_of_an_unknown_directory_leads_to_a_look_at_it() {
    let mut world = empty(files());
    world.is_told = false;
    world.write("new/deep/a.iso", 100);
    world.is_told = true;
    world.look("new/deep/a.iso");
    world.pass(10 * SETTLE_MS);
    assert_eq!(world.published(), ["new/deep/a.iso"]);
}

#[test]
fn a_look_that_was_cut_withdraws_nothing() {
    let mut world = with_published(directories(), &["one/a", "two/a"]);
    let mut look = world.seen("");
    look.entries.retain(|seen| !seen.path.starts_with("two"));
    look.is_cut = true;
    world.tree.handle_look(look);
    world.write("three/a", 10);
    world.pass(10 * GRACE_MS);
    assert_eq!(world.tree.state_of("three"), Some(State::Waiting(Waiting::TooManyEntries)));
    assert_eq!(world.published(), ["one", "two"]);
    world.look("");
    world.pass(10 * GRACE_MS);
    assert_eq!(world.published(), ["one", "three", "two"]);
}

#[test]
fn paths_that_lead_elsewhere_are_not_believed() {
    let mut world = empty(files());
    let mut look = world.seen("");
    look.entries =
        ["../a.iso", "/a.iso", "b//c.iso", "./d.iso", "", "e/../f.iso"].map(|path| Seen::file(path, 9)).into();
    world.tree.handle_look(look);
    world.pass(10 * SETTLE_MS);
    assert_eq!((world.tree.entry_count(), world.log.len()), (0, 0));
}
