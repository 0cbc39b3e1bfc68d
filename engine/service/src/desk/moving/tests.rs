use super::*;
use catalogue::{NewTorrent, Origin};
use metainfo::Torrent;
use std::fs;
use tempfile::TempDir;

const SIZE: usize = 40_000;

/// A catalogue with one torrent of one file, and a folder that it lies in and one that it may go to.
struct Stand {
    dir: TempDir,
    catalogue: Catalogue,
    number: TorrentNumber,
}

impl Stand {
    fn new() -> Stand {
        let dir = TempDir::new().unwrap();
        for folder in ["old", "new", "state"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let content = vec![7; SIZE];
        fs::write(dir.path().join("old/image.iso"), &content).unwrap();
        let pieces: Vec<u8> = content.chunks(16384).flat_map(|piece| hash::sha1(piece).0).collect();
        let head = format!("d4:infod6:lengthi{SIZE}e4:name9:image.iso12:piece lengthi16384e6:pieces{}:", pieces.len());
        let file = [head.as_bytes(), &pieces, b"ee"].concat();
        let torrent = Torrent::parse(&file).unwrap();
        let (catalogue, _) = Catalogue::open(&dir.path().join("state")).unwrap();
        let number = catalogue.next_torrent();
        let place = ContentPlace::under(dir.path().join("old"));
        let mut new = NewTorrent::of_file(number, &torrent, file, place.clone(), Origin::Added, 1);
        new.row.completed_at_s = Some(1);
        new.verified = Some(record_of(&torrent, &place).unwrap().encode());
        catalogue.apply_blocking(vec![Change::AddTorrent(Box::new(new))]).unwrap();
        Stand { dir, catalogue, number }
    }

    fn place(&self, folder: &str) -> ContentPlace {
        ContentPlace::under(self.dir.path().join(folder))
    }

    fn has(&self, folder: &str) -> bool {
        fs::read(self.dir.path().join(folder).join("image.iso")).is_ok_and(|bytes| bytes == vec![7; SIZE])
    }

    fn row(&self) -> TorrentRow {
        self.catalogue.row(self.number).unwrap().unwrap()
    }

    /// The note that a move has begun.
    fn begin(&self) -> TorrentRow {
        self.catalogue.apply_blocking(beginning(self.number, self.place("new"))).unwrap();
        self.row()
    }

    fn relocation(&self) -> Relocation {
        let path = |folder: &str| self.dir.path().join(folder).join("image.iso");
        Relocation::between(path("old"), path("new"))
    }

    /// What the next start makes of it.
    fn recover(&self) -> TorrentRow {
        let notes = self.catalogue.settings().unwrap();
        let note = notes.iter().find(|(known, _)| *known == key(self.number)).map(|(_, value)| value.clone());
        let row = recover(&self.catalogue, self.row(), note.as_deref());
        assert_eq!(row.content, self.row().content, "what the desk has is what the catalogue has");
        row
    }

    /// The content is in this folder alone, known to be verified, and nothing is noted any more.
    fn assert_settled(&self, folder: &str) {
        let other = if folder == "old" { "new" } else { "old" };
        assert!(self.has(folder), "the content is in {folder}");
        assert!(!self.has(other) && !self.relocation().has_copy(), "no copy is left");
        let row = self.row();
        assert_eq!((row.content, row.moving_to), (self.place(folder), None));
        assert_eq!(self.catalogue.settings().unwrap(), []);
        let torrent = self.catalogue.torrent(self.number).unwrap().unwrap();
        let record = self.catalogue.verified(self.number).unwrap().unwrap();
        assert_eq!(record.encode(), record_of(&torrent, &self.place(folder)).unwrap().encode());
    }
}

#[test]
fn a_move_renames_where_it_can() {
    let stand = Stand::new();
    let moved = move_content(&stand.catalogue, &stand.begin(), &Arc::default()).unwrap();
    assert_eq!(moved, Moved { content_path: stand.dir.path().join("new/image.iso"), copied_bytes: 0 });
    stand.assert_settled("new");
}

#[test]
fn a_copy_is_compared_and_takes_the_place_of_the_original() {
    let stand = Stand::new();
    let row = stand.begin();
    let copied = copy(&stand.catalogue, &row, &stand.place("new"), &stand.relocation(), &Arc::default()).unwrap();
    assert_eq!(copied, SIZE as u64);
    stand.catalogue.apply_blocking(Vec::new()).unwrap();
    stand.assert_settled("new");
}

#[test]
fn a_copy_of_content_that_is_not_right_is_dropped_and_the_original_stays() {
    let stand = Stand::new();
    let row = stand.begin();
    fs::write(stand.dir.path().join("old/image.iso"), vec![8; SIZE]).unwrap();
    let error = copy(&stand.catalogue, &row, &stand.place("new"), &stand.relocation(), &Arc::default()).unwrap_err();
    assert!(error.to_string().contains("not what it should be"), "{error}");
    assert!(!stand.relocation().has_copy() && !stand.relocation().has_arrived() && stand.relocation().has_original());
}

#[test]
fn something_in_the_way_refuses_a_move_and_nothing_is_noted() {
    let stand = Stand::new();
    fs::write(stand.dir.path().join("new/image.iso"), b"somebody else's").unwrap();
    let error = move_content(&stand.catalogue, &stand.begin(), &Arc::default()).unwrap_err().to_string();
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(fs::read(stand.dir.path().join("new/image.iso")).unwrap(), b"somebody else's");
    assert!(stand.has("old"));
    assert_eq!(stand.row().moving_to, None);
}

#[test]
fn a_crash_before_anything_was_done_takes_the_move_back() {
    let stand = Stand::new();
    stand.begin();
    stand.recover();
    stand.assert_settled("old");
}

#[test]
fn a_crash_while_it_was_copied_drops_the_copy() {
    let stand = Stand::new();
    stand.begin();
    stand.relocation().copy(&Meter::new()).unwrap();
    stand.recover();
    stand.assert_settled("old");
}

#[test]
fn a_crash_right_after_the_rename_goes_on_with_it() {
    let stand = Stand::new();
    stand.begin();
    assert!(stand.relocation().rename().unwrap());
    stand.recover();
    stand.assert_settled("new");
}

#[test]
fn a_crash_when_the_copy_was_whole_but_not_in_its_place_takes_the_move_back() {
    let stand = Stand::new();
    stand.begin();
    stand.relocation().copy(&Meter::new()).unwrap();
    note(&stand.catalogue, stand.number, Some(WHOLE)).unwrap();
    stand.recover();
    stand.assert_settled("old");
}

#[test]
fn a_crash_when_the_copy_was_in_its_place_goes_on() {
    let stand = Stand::new();
    stand.begin();
    stand.relocation().copy(&Meter::new()).unwrap();
    note(&stand.catalogue, stand.number, Some(WHOLE)).unwrap();
    stand.relocation().place_copy().unwrap();
    stand.recover();
    stand.assert_settled("new");
}

#[test]
fn a_crash_before_the_original_was_deleted_deletes_it() {
    let stand = Stand::new();
    let row = stand.begin();
    stand.relocation().copy(&Meter::new()).unwrap();
    stand.relocation().place_copy().unwrap();
    settle_copy(&stand.catalogue, &row, &stand.place("new"), &stand.relocation()).unwrap();
    assert!(stand.relocation().is_aside() && stand.has("new"));
    stand.recover();
    stand.assert_settled("new");
    assert!(!stand.relocation().is_aside());
}

/// A release process may fill the old place again before the next start.
#[test]
fn what_has_the_originals_name_since_it_was_moved_is_never_deleted() {
    let stand = Stand::new();
    let row = stand.begin();
    stand.relocation().copy(&Meter::new()).unwrap();
    stand.relocation().place_copy().unwrap();
    settle_copy(&stand.catalogue, &row, &stand.place("new"), &stand.relocation()).unwrap();
    fs::write(stand.dir.path().join("old/image.iso"), b"somebody else's").unwrap();
    stand.recover();
    assert_eq!(fs::read(stand.dir.path().join("old/image.iso")).unwrap(), b"somebody else's");
    assert!(stand.has("new") && !stand.relocation().is_aside());
    assert_eq!((stand.row().content, stand.row().moving_to), (stand.place("new"), None));
}

#[test]
fn a_move_begins_without_what_an_earlier_one_noted() {
    let stand = Stand::new();
    note(&stand.catalogue, stand.number, Some(LEFT)).unwrap();
    stand.begin();
    fs::write(stand.dir.path().join("new/image.iso"), b"somebody else's").unwrap();
    stand.recover();
    assert!(stand.has("old"));
    assert_eq!(fs::read(stand.dir.path().join("new/image.iso")).unwrap(), b"somebody else's");
}

#[test]
fn a_copy_that_cannot_be_recorded_costs_no_original() {
    let stand = Stand::new();
    let row = stand.begin();
    settle_copy(&stand.catalogue, &row, &stand.place("new"), &stand.relocation()).unwrap_err();
    assert!(stand.has("old") && !stand.relocation().is_aside());
    assert_eq!(stand.row().content, stand.place("old"));
}

#[test]
fn what_came_into_the_old_folder_while_it_was_copied_stays() {
    let stand = Stand::new();
    let info = b"d5:filesld6:lengthi1e4:pathl1:aeee4:name4:tree12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    let file = [b"d4:info".as_slice(), info, b"e"].concat();
    let torrent = Torrent::parse(&file).unwrap();
    let number = stand.catalogue.next_torrent();
    let new = NewTorrent::of_file(number, &torrent, file, stand.place("new"), Origin::Added, 1);
    stand.catalogue.apply_blocking(vec![Change::AddTorrent(Box::new(new))]).unwrap();
    let old = stand.dir.path().join("old/tree");
    fs::create_dir(&old).unwrap();
    for name in ["a", "late"] {
        fs::write(old.join(name), b"x").unwrap();
    }
    let relocation = Relocation::between(old.clone(), stand.dir.path().join("new/tree"));
    relocation.set_aside().unwrap();
    drop_original(&stand.catalogue, number, &relocation);
    assert!(old.join("late").exists() && !old.join("a").exists() && !relocation.is_aside());
}

/// A place that somebody else took while nothing was noted is his.
#[test]
fn a_crash_never_takes_somebody_elses_file_for_our_copy() {
    let stand = Stand::new();
    stand.begin();
    fs::write(stand.dir.path().join("new/image.iso"), b"somebody else's").unwrap();
    stand.recover();
    assert!(stand.has("old"));
    assert_eq!(fs::read(stand.dir.path().join("new/image.iso")).unwrap(), b"somebody else's");
    assert_eq!((stand.row().content, stand.row().moving_to), (stand.place("old"), None));
}
