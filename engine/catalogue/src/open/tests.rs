use super::*;
use crate::change::Change;
use crate::content_place::ContentPlace;
use crate::kept::form;
use crate::metainfo_row::Metainfo;
use crate::read;
use crate::release::{Release, ReleaseNumber, ReleaseState};
use crate::torrent::{NewTorrent, Origin, TorrentNumber};
use crate::write::{Counts, apply};
use hash::InfoHash;
use metainfo::Magnet;
use proptest::prelude::*;

fn database(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// A database that somebody made with other means.
fn made_by_hand(dir: &Path, sql: &str) {
    let connection = Connection::open(database(dir)).unwrap();
    connection.execute_batch(sql).unwrap();
}

fn link(number: i64) -> NewTorrent {
    let mut info_hash = InfoHash([7; 20]);
    info_hash.0[..8].copy_from_slice(&number.to_be_bytes());
    let magnet: Magnet = format!("magnet:?xt=urn:btih:{info_hash}&dn=torrent-{number}").parse().unwrap();
    let place = ContentPlace::under(format!("/srv/{}", number % 5));
    NewTorrent::of_magnet(TorrentNumber(number), &magnet, place, Origin::Added, 5)
}

/// A state directory with some torrents and their second copies, closed in order.
fn filled(count: i64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(dir.path()).unwrap();
    let mut counts = Counts::default();
    opened.writer.execute_batch("BEGIN").unwrap();
    for number in 1..=count {
        apply(&opened.writer, &mut counts, &Change::AddTorrent(Box::new(link(number)))).unwrap();
    }
    opened.writer.execute_batch("COMMIT").unwrap();
    for number in 1..=count {
        let name = link(number).row.info_hashes().next().unwrap();
        opened.kept.follow(&opened.writer, &opened.path, name).unwrap();
    }
    opened.writer.execute_batch("DELETE FROM unkept; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    dir
}

fn numbers(connection: &Connection) -> Vec<i64> {
    let mut numbers = Vec::new();
    each_torrent(connection, |torrent| numbers.push(torrent.number.0)).unwrap();
    numbers
}

#[test]
fn a_newer_versions_database_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let newer = STEPS.len() as i64 + 1;
    made_by_hand(dir.path(), &format!("PRAGMA user_version = {newer}; PRAGMA wal_checkpoint(TRUNCATE)"));
    let before = std::fs::read(database(dir.path())).unwrap();
    let Err(error) = open(dir.path()) else { panic!("it was opened") };
    assert!(matches!(error, CatalogueError::Newer { found, .. } if found == newer), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
    assert_eq!(std::fs::read(database(dir.path())).unwrap(), before);
}

#[test]
fn every_older_version_is_brought_to_this_one_with_what_it_holds() {
    for version in 0..=STEPS.len() {
        let dir = tempfile::tempdir().unwrap();
        let mut old = Connection::open(database(dir.path())).unwrap();
        migrate(&mut old, &STEPS[..version]).unwrap();
        drop(old);
        let opened = open(dir.path()).unwrap();
        assert_eq!(opened.rebuilt, None, "version {version} is no damage");
        assert_eq!(schema::version(&opened.writer).unwrap(), STEPS.len() as i64);
    }
}

#[test]
fn a_step_that_fails_leaves_the_version_before_it() {
    let mut connection = Connection::open_in_memory().unwrap();
    let first = "CREATE TABLE a (b)";
    migrate(&mut connection, &[first]).unwrap();
    connection.execute("INSERT INTO a VALUES (1)", []).unwrap();
    let broken = [first, "ALTER TABLE a ADD COLUMN c", "no SQL at all"];
    assert!(migrate(&mut connection, &broken).is_err());
    assert_eq!(schema::version(&connection).unwrap(), 1);
    assert_eq!(schema::statements(&connection).unwrap(), [first]);
    migrate(&mut connection, &broken[..2]).unwrap();
    assert_eq!(schema::version(&connection).unwrap(), 2);
    connection.query_row("SELECT b, c FROM a", [], |_| Ok(())).unwrap();
}

#[test]
fn another_programs_database_is_set_aside_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    made_by_hand(dir.path(), "PRAGMA application_id = 7; CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)");
    let opened = open(dir.path()).unwrap();
    let aside = opened.rebuilt.unwrap().set_aside.unwrap();
    assert!(aside.why.contains("another program"), "{aside}");
    let theirs = Connection::open(aside.path).unwrap();
    theirs.query_row("SELECT a FROM theirs", [], |_| Ok(())).unwrap();
}

#[test]
fn what_is_no_database_is_set_aside_and_the_torrents_come_back() {
    for rubbish in [
        &b"short"[..],
        &[0; 4096],
        b"SQLite format 3\0 and then rubbish, long enough for a header of one hundred bytes, so to say, and more",
    ] {
        let dir = filled(20);
        std::fs::write(database(dir.path()), rubbish).unwrap();
        let opened = open(dir.path()).unwrap();
        let rebuilt = opened.rebuilt.unwrap();
        assert_eq!((rebuilt.torrents, &rebuilt.unreadable[..]), (20, &[][..]));
        assert_eq!(rebuilt.to_string().lines().count(), 1, "{rebuilt}");
        assert_eq!(std::fs::read(rebuilt.set_aside.unwrap().path).unwrap(), rubbish);
        assert_eq!(numbers(&opened.writer), (1..=20).collect::<Vec<_>>());
    }
}

#[test]
fn a_database_that_was_deleted_is_made_anew_from_the_copies() {
    let dir = filled(3);
    std::fs::remove_file(database(dir.path())).unwrap();
    let opened = open(dir.path()).unwrap();
    let rebuilt = opened.rebuilt.unwrap();
    assert_eq!((rebuilt.set_aside.as_ref(), rebuilt.torrents), (None, 3));
    let first = read::one_torrent(&opened.writer, TorrentNumber(1)).unwrap().unwrap();
    assert_eq!(first, link(1).row);
    assert!(matches!(read::metainfo(&opened.writer, TorrentNumber(1)).unwrap(), Some(Metainfo::Magnet(_))));
}

#[test]
fn a_log_that_was_damaged_or_lost_takes_no_torrent_with_it() {
    for rubbish in [None, Some(&b"rubbish, and more of it than fits a head"[..]), Some(&[][..])] {
        let dir = filled(3);
        let opened = open(dir.path()).unwrap();
        let mut counts = Counts::default();
        apply(&opened.writer, &mut counts, &Change::AddTorrent(Box::new(link(4)))).unwrap();
        opened.kept.follow(&opened.writer, &opened.path, link(4).row.info_hashes().next().unwrap()).unwrap();
        opened.writer.execute_batch("DELETE FROM unkept").unwrap();
        let log = dir.path().join(format!("{NAME}-wal"));
        assert!(log.metadata().unwrap().len() > 0, "the fourth is in the log alone");
        // As it is on a disk: an orderly end of the connections would write the log into the database.
        let crashed = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            std::fs::copy(entry.path(), crashed.path().join(entry.file_name())).unwrap();
        }
        std::fs::rename(dir.path().join("torrents"), crashed.path().join("torrents")).unwrap();
        drop(opened);
        let log = crashed.path().join(format!("{NAME}-wal"));
        match rubbish {
            Some(rubbish) => std::fs::write(&log, rubbish).unwrap(),
            None => std::fs::remove_file(&log).unwrap(),
        }
        let opened = open(crashed.path()).unwrap();
        assert_eq!(numbers(&opened.writer), [1, 2, 3, 4], "{rubbish:?}");
        let rebuilt = opened.rebuilt.unwrap();
        assert_eq!(rebuilt.to_string().lines().count(), 1, "{rebuilt}");
        drop(opened.writer);
        assert!(open(crashed.path()).is_err_and(|error| matches!(error, CatalogueError::InUse { .. })));
        drop((opened.reader, opened.lock));
        assert_eq!(open(crashed.path()).unwrap().rebuilt, None, "once is enough");
    }
}

#[test]
fn what_is_being_removed_is_not_lost() {
    let dir = filled(3);
    let opened = open(dir.path()).unwrap();
    apply(&opened.writer, &mut Counts::default(), &Change::RemoveTorrent(TorrentNumber(2))).unwrap();
    // Its copy is still there, and a copy that nobody can read.
    let kept = KeptFolder::of(dir.path());
    std::fs::write(kept.path().join(format!("{}.state", InfoHash([9; 20]))), "rubbish").unwrap();
    drop(opened);
    let opened = open(dir.path()).unwrap();
    assert_eq!((opened.rebuilt, numbers(&opened.writer)), (None, vec![1, 3]));
}

#[test]
fn a_copy_that_was_damaged_is_named_and_left_and_the_others_come_back() {
    let dir = filled(3);
    std::fs::remove_file(database(dir.path())).unwrap();
    let kept = KeptFolder::of(dir.path());
    let state = kept.states().unwrap().remove(1);
    let mut bytes = std::fs::read(&state).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&state, bytes).unwrap();
    let opened = open(dir.path()).unwrap();
    let rebuilt = opened.rebuilt.unwrap();
    assert_eq!(rebuilt.torrents, 2);
    assert_eq!(rebuilt.unreadable[0].0, state);
    assert!(rebuilt.to_string().contains("1 could not be read"), "{rebuilt}");
    assert!(state.exists());
}

#[test]
fn a_copy_whose_release_is_refused_comes_back_not_even_by_half() {
    let dir = filled(2);
    std::fs::remove_file(database(dir.path())).unwrap();
    let kept = KeptFolder::of(dir.path());
    for number in [1, 2] {
        let row = link(number).row;
        // Both are the release of one path.
        let release = Release {
            number: ReleaseNumber(number),
            label: "iso".into(),
            path: "live".into(),
            torrent: Some(row.number),
            state: ReleaseState::Published,
            published_at_s: Some(1),
            gone_since_s: None,
            withdrawn_at_s: None,
        };
        let release = Some(form::KeptRelease { release, sums: Vec::new(), outputs: Vec::new() });
        let path = kept.path().join(format!("{}.state", row.info_hashes().next().unwrap()));
        std::fs::write(path, form::encode(&form::Kept { row, verified: None, release })).unwrap();
    }
    let opened = open(dir.path()).unwrap();
    let rebuilt = opened.rebuilt.unwrap();
    assert_eq!((rebuilt.torrents, rebuilt.unreadable.len()), (1, 1), "{rebuilt}");
    assert_eq!(numbers(&opened.writer), [1]);
}

#[test]
fn a_removed_copy_is_noted_only_once_its_folder_is_on_the_disk() {
    let dir = filled(1);
    let (catalogue, _) = crate::Catalogue::open(dir.path()).unwrap();
    // It cannot be synced.
    std::fs::remove_dir_all(KeptFolder::of(dir.path()).path()).unwrap();
    catalogue.apply_blocking(vec![Change::RemoveTorrent(TorrentNumber(1))]).unwrap();
    catalogue.close();
    let unkept = || -> i64 {
        let connection = Connection::open(database(dir.path())).unwrap();
        connection.query_row("SELECT count(*) FROM unkept", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(unkept(), 1);
    crate::Catalogue::open(dir.path()).unwrap().0.close();
    assert_eq!(unkept(), 0);
}

#[test]
fn a_table_that_was_dropped_by_hand_is_damage() {
    let dir = filled(2);
    made_by_hand(dir.path(), "DROP TABLE setting; PRAGMA wal_checkpoint(TRUNCATE)");
    let rebuilt = open(dir.path()).unwrap().rebuilt.unwrap();
    assert!(rebuilt.set_aside.unwrap().why.contains("tables"));
    assert_eq!(rebuilt.torrents, 2);
}

#[test]
fn a_row_that_points_nowhere_is_damage() {
    let dir = filled(2);
    made_by_hand(dir.path(), "PRAGMA foreign_keys = off; DELETE FROM folder; PRAGMA wal_checkpoint(TRUNCATE)");
    assert_eq!(open(dir.path()).unwrap().rebuilt.unwrap().torrents, 2);
}

#[test]
fn folders_that_nothing_lies_in_any_more_are_forgotten() {
    let dir = filled(5);
    let opened = open(dir.path()).unwrap();
    for number in 2..=5 {
        apply(&opened.writer, &mut Counts::default(), &Change::RemoveTorrent(TorrentNumber(number))).unwrap();
    }
    drop(opened);
    let opened = open(dir.path()).unwrap();
    assert_eq!(read::row_count(&opened.writer, "folder").unwrap(), 1);
}

#[test]
fn only_its_owner_reads_the_database() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let _opened = open(&state).unwrap();
    for (path, mode) in [(state.clone(), 0o700), (database(&state), 0o600), (state.join("catalogue.sqlite-wal"), 0o600)]
    {
        assert_eq!(path.metadata().unwrap().mode() & 0o777, mode, "{}", path.display());
    }
}

/// Bytes flipped anywhere in the database: whatever is opened then has every torrent, and either as it was or out of its
/// second copy. What no check can know, a bit of a text or a number that is in no index, is not held against it.
#[test]
fn flipped_bytes_are_seen_or_harmless() {
    let dir = filled(40);
    let original = std::fs::read(database(dir.path())).unwrap();
    let flips = proptest::collection::vec((0..original.len(), 1..=255u8), 1..6);
    let mut set_aside = 0;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(150));
    let seen = std::cell::Cell::new(0);
    runner
        .run(&flips, |flips| {
            let mut bytes = original.clone();
            for (at, by) in flips {
                bytes[at] ^= by;
            }
            std::fs::write(database(dir.path()), &bytes).unwrap();
            for suffix in ["-wal", "-shm"] {
                let _ = std::fs::remove_file(dir.path().join(format!("{NAME}{suffix}")));
            }
            let opened = match open(dir.path()) {
                Ok(opened) => opened,
                // The version's own bytes.
                Err(CatalogueError::Newer { .. }) => return Ok(()),
                Err(error) => panic!("{error}"),
            };
            if let Some(rebuilt) = opened.rebuilt {
                seen.set(seen.get() + 1);
                std::fs::remove_file(rebuilt.set_aside.unwrap().path).unwrap();
            }
            for number in 1..=40 {
                let row = read::one_torrent(&opened.writer, TorrentNumber(number)).unwrap().unwrap();
                assert!(row.info_hashes().eq(link(number).row.info_hashes()));
                let found = read::find(&opened.writer, row.info_hashes().next().unwrap()).unwrap();
                assert_eq!(found, Some(TorrentNumber(number)));
            }
            let _ =
                (read::releases(&opened.writer), read::settings(&opened.writer), read::delivery_counts(&opened.writer));
            Ok(())
        })
        .unwrap();
    set_aside += seen.get();
    println!("{set_aside} of 150 were set aside");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_bytes_of_a_second_copy_panic(bytes: Vec<u8>, at: prop::sample::Index, by: u8) {
        use crate::kept::form::{Kept, decode, encode};
        let _ = decode(&bytes);
        let kept = Kept { row: link(1).row, verified: Some(bytes), release: None };
        let mut encoded = encode(&kept);
        prop_assert_eq!(decode(&encoded), Ok(kept));
        let at = at.index(encoded.len());
        encoded[at] ^= by;
        let _ = decode(&encoded);
    }
}
