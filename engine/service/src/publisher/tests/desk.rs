//! A desk that keeps what it is told in the catalogue, serves nothing and takes notes. What it opens has to be whole.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::operator::types::TorrentState;
use catalogue::{
    Catalogue, Change, ContentPlace, NewTorrent, Origin, Release, ReleaseState, StopCause, TorrentChange,
    TorrentNumber, TorrentRow, Wanted,
};
use seedbox::CreatedTorrent;
use tokio::sync::{Notify, broadcast, mpsc, watch};

use crate::desk::{DeskError, DeskEvent, DeskHandle, Happened, NewRelease, Recorded, Request, TorrentLine};

/// Longer than anything takes on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was done, and what is to go wrong.
#[derive(Clone)]
pub(super) struct NoteDesk {
    notes: Arc<watch::Sender<Vec<String>>>,
    asked: Arc<watch::Sender<Vec<String>>>,
    mischief: Arc<Mutex<Mischief>>,
    hung: Arc<Notify>,
    info_hashes: Arc<Mutex<Vec<String>>>,
    events: broadcast::Sender<DeskEvent>,
}

#[derive(Default, PartialEq)]
enum Mischief {
    #[default]
    None,
    FailOpen,
    HangOpen,
}

struct Task {
    desk: NoteDesk,
    catalogue: Catalogue,
}

impl NoteDesk {
    pub(super) fn start(catalogue: Catalogue) -> (DeskHandle, NoteDesk) {
        let (handle, inbox, events) = DeskHandle::new();
        let notes = Arc::new(watch::Sender::new(Vec::new()));
        let asked = Arc::new(watch::Sender::new(Vec::new()));
        let (mischief, hung, info_hashes) = (Arc::default(), Arc::default(), Arc::default());
        let desk = NoteDesk { notes, asked, mischief, hung, info_hashes, events };
        let task = Task { desk: desk.clone(), catalogue };
        tokio::spawn(task.run(inbox));
        (handle, desk)
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.borrow().clone()
    }

    pub(super) fn clear(&self) {
        self.notes.send_replace(Vec::new());
        self.info_hashes.lock().unwrap().clear();
    }

    /// The info-hashes of what was opened, in order.
    pub(super) fn info_hashes(&self) -> Vec<String> {
        self.info_hashes.lock().unwrap().clone()
    }

    /// The engine has found that a release's content is not what it was.
    pub(super) fn fail(&self, catalogue: &Catalogue, path: &str) {
        let releases = catalogue.releases().unwrap();
        let release = releases.into_iter().find(|release| release.path == Path::new(path)).unwrap();
        let row = catalogue.row(release.torrent.unwrap()).unwrap().unwrap();
        let what = Happened::Failed { reason: "changed while in use".to_owned() };
        self.events.send(DeskEvent { torrent: Arc::new(line(&row)), what }).unwrap();
    }

    pub(super) fn fail_next_open(&self) {
        *self.mischief.lock().unwrap() = Mischief::FailOpen;
    }

    pub(super) fn hang_next_open(&self) {
        *self.mischief.lock().unwrap() = Mischief::HangOpen;
    }

    pub(super) async fn until_hung(&self) {
        tokio::time::timeout(PATIENCE, self.hung.notified()).await.unwrap();
    }

    pub(super) async fn until(&self, is_enough: impl Fn(&Vec<String>) -> bool) {
        wait(&self.notes, is_enough).await;
    }

    pub(super) async fn until_asked(&self, what: &str) {
        wait(&self.asked, |asked| asked.iter().any(|asked| asked == what)).await;
    }

    /// Waits until the notes are these.
    pub(super) async fn noted(&self, notes: &[&str]) {
        self.until(|noted| noted.iter().map(String::as_str).eq(notes.iter().copied())).await;
    }

    /// Waits for so many notes.
    pub(super) async fn count(&self, count: usize) {
        self.until(|notes| notes.len() >= count).await;
    }

    fn note(&self, note: String) {
        self.notes.send_modify(|notes| notes.push(note));
    }
}

async fn wait(notes: &watch::Sender<Vec<String>>, is_enough: impl Fn(&Vec<String>) -> bool) {
    let mut told = notes.subscribe();
    let waited = tokio::time::timeout(PATIENCE, told.wait_for(|notes| is_enough(notes))).await.is_ok();
    assert!(waited, "only these came: {:?}", notes.borrow());
}

impl Task {
    async fn run(self, mut inbox: mpsc::Receiver<Request>) {
        while let Some(request) = inbox.recv().await {
            match request {
                Request::Record { release, answer } => drop(answer.send(self.record(*release).await)),
                Request::Open { number, answer } => {
                    let mischief = std::mem::take(&mut *self.desk.mischief.lock().unwrap());
                    match mischief {
                        Mischief::None => drop(answer.send(self.open(number).await)),
                        Mischief::FailOpen => {
                            let reason = "the engine is not well".to_owned();
                            drop(answer.send(Err(DeskError::Engine { reason })));
                        }
                        Mischief::HangOpen => {
                            self.desk.hung.notify_one();
                            // The answer never comes, as after a kill.
                            std::mem::forget(answer);
                        }
                    }
                }
                Request::Withdraw { number, answer, .. } => {
                    let release = self.release(number);
                    let row = Release { state: ReleaseState::Withdrawn, ..release };
                    self.apply(vec![Change::PutRelease(row)], number, "withdraw").await;
                    let _ = answer.send(Ok(()));
                }
                Request::Forget { number, answer } => {
                    let release = self.release(number);
                    let mut changes = vec![Change::RemoveTorrent(number)];
                    if release.state == ReleaseState::Preparing {
                        changes.push(Change::RemoveRelease(release.number));
                    }
                    let row = self.row(number);
                    self.apply(changes, number, "forget").await;
                    let torrent = Arc::new(line(&row));
                    let _ = self.desk.events.send(DeskEvent { torrent, what: Happened::Removed });
                    let _ = answer.send(Ok(()));
                }
                Request::SetEmbargo { number, opens_at_s, answer } => {
                    let change = Change::Torrent(number, TorrentChange::ReleaseAt(opens_at_s));
                    let until = opens_at_s.map_or(String::new(), |opens_at_s| format!(" until {opens_at_s}"));
                    self.catalogue.apply(vec![change]).await.unwrap();
                    self.desk.note(format!("embargo {}{until}", self.path(number)));
                    let _ = answer.send(Ok(()));
                }
                Request::Start { number, answer } => {
                    let change = Change::Torrent(number, TorrentChange::Wanted(Wanted::Running));
                    self.apply(vec![change], number, "start").await;
                    let _ = answer.send(Ok(()));
                }
                Request::Stop { number, answer } => {
                    let stopped = Wanted::Stopped(StopCause::Operator);
                    let change = Change::Torrent(number, TorrentChange::Wanted(stopped));
                    self.apply(vec![change], number, "stop").await;
                    let _ = answer.send(Ok(()));
                }
                Request::Line { number, answer } => drop(answer.send(Ok(line(&self.row(number))))),
                other => panic!("nobody should ask for {other:?}"),
            }
        }
    }

    async fn record(&self, new: NewRelease) -> Result<Recorded, DeskError> {
        for info_hash in new.torrent.info_hashes() {
            if let Some(number) = self.catalogue.find(info_hash).unwrap() {
                self.desk.asked.send_modify(|asked| asked.push(format!("duplicate {}", new.path.display())));
                return Err(DeskError::Duplicate { name: new.torrent.layout().name().to_owned(), number });
            }
        }
        let (number, release) = (self.catalogue.next_torrent(), self.catalogue.next_release());
        let origin = Origin::Published { label: new.label.clone(), path: new.path.clone() };
        let mut torrent = NewTorrent::of_file(number, &new.torrent, new.metainfo, new.content, origin, 0);
        torrent.verified = Some(new.record.encode());
        torrent.row.release_at_s = new.opens_at_s;
        let row = Release {
            number: release,
            label: new.label,
            path: new.path,
            torrent: Some(number),
            state: ReleaseState::Preparing,
            published_at_s: None,
            gone_since_s: None,
            withdrawn_at_s: None,
        };
        let sums = Change::ReleaseSums(release, new.file_sha256);
        let changes = vec![Change::AddTorrent(Box::new(torrent)), Change::PutRelease(row), sums];
        self.catalogue.apply(changes).await.unwrap();
        Ok(Recorded { torrent: number, release })
    }

    /// Only what is whole, and handed out, may be opened.
    async fn open(&self, number: TorrentNumber) -> Result<(), DeskError> {
        let release = self.release(number);
        let (row, torrent) = (self.row(number), self.catalogue.torrent(number).unwrap().unwrap());
        let report = seedbox::verify(&torrent, &row.content.place(), None, &Arc::default()).unwrap();
        assert!(report.is_complete(), "{} is not whole", release.path.display());
        let outputs = self.catalogue.release_outputs(release.number).unwrap();
        assert!(outputs.len() >= 3 && outputs.iter().all(|output| output.path.exists()));
        let info_hash = torrent.info_hashes().next().unwrap();
        self.desk.info_hashes.lock().unwrap().push(info_hash.to_string());
        let published = Release { state: ReleaseState::Published, published_at_s: Some(0), ..release };
        self.catalogue.apply(vec![Change::PutRelease(published)]).await.unwrap();
        let until = row.release_at_s.map_or(String::new(), |opens_at_s| format!(" until {opens_at_s}"));
        self.desk.note(format!("open {}{until}", self.path(number)));
        Ok(())
    }

    async fn apply(&self, changes: Vec<Change>, number: TorrentNumber, what: &str) {
        let path = self.path(number);
        self.catalogue.apply(changes).await.unwrap();
        self.desk.note(format!("{what} {path}"));
    }

    fn release(&self, number: TorrentNumber) -> Release {
        let releases = self.catalogue.releases().unwrap();
        releases.into_iter().find(|release| release.torrent == Some(number)).unwrap()
    }

    fn path(&self, number: TorrentNumber) -> String {
        self.release(number).path.display().to_string()
    }

    fn row(&self, number: TorrentNumber) -> TorrentRow {
        self.catalogue.row(number).unwrap().unwrap()
    }
}

/// What the catalogue would have of a release that was published.
pub(super) fn published(catalogue: &Catalogue, path: &str, created: &CreatedTorrent, root: &Path) -> [Change; 2] {
    let (number, release) = (catalogue.next_torrent(), catalogue.next_release());
    let label: Arc<str> = "images".into();
    let origin = Origin::Published { label: label.clone(), path: path.into() };
    let content = ContentPlace::under(root);
    let mut torrent = NewTorrent::of_file(number, &created.torrent, created.bytes.clone(), content, origin, 0);
    torrent.verified = created.record().map(|record| record.encode());
    let row = Release {
        number: release,
        label,
        path: path.into(),
        torrent: Some(number),
        state: ReleaseState::Published,
        published_at_s: Some(0),
        gone_since_s: None,
        withdrawn_at_s: None,
    };
    [Change::AddTorrent(Box::new(torrent)), Change::PutRelease(row)]
}

fn line(row: &TorrentRow) -> TorrentLine {
    let stopped = match row.wanted {
        Wanted::Running => None,
        Wanted::Stopped(cause) => Some(cause),
    };
    TorrentLine {
        number: row.number,
        name: row.name.clone(),
        info_hash_v1: row.info_hash_v1,
        info_hash_v2: row.info_hash_v2,
        state: TorrentState::Seeding,
        error: None,
        size_bytes: 0,
        piece_count: 0,
        is_private: false,
        wanted_bytes: 0,
        verified_bytes: 0,
        uploaded_bytes: 0,
        downloaded_bytes: 0,
        upload_bytes_per_s: 0,
        download_bytes_per_s: 0,
        peer_count: 0,
        seeded_s: 0,
        origin: row.origin.clone(),
        content_path: row.content.path(&row.name),
        group: None,
        limits: row.limits,
        stopped,
        tiers: row.tiers.clone(),
        added_at_s: 0,
        completed_at_s: None,
        first_copy_at_s: None,
        opens_at_s: row.release_at_s,
    }
}
