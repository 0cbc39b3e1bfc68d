//! How torrents are, for whoever asks: what the desk has, and what the engine says of those at work.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::operator::types;
use catalogue::{Origin, TorrentNumber};
use mesh::TorrentId;
use seedbox::{Status, TorrentState, TorrentStatus};

use super::entry::{Entry, Live};
use super::task::Desk;
use super::{Answer, DeskError, Page, Sums, TorrentLine};

/// What the engine says of all torrents, for as long as a list is read page by page.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// The engine's torrents at one moment.
pub(crate) struct Snapshot {
    taken_at: Duration,
    live: HashMap<TorrentId, Live>,
}

impl Desk {
    pub(crate) fn tell_line(&mut self, number: TorrentNumber, answer: Answer<TorrentLine>) {
        let Some(id) = self.table.get(number).and_then(|entry| entry.engine) else {
            return self.answer_line(number, &Live::default(), answer);
        };
        let engine = self.world.engine.clone();
        self.work_apart(async move { engine.status_of(id).await }, move |desk, status| {
            let live = status.as_ref().ok().map(Live::of).unwrap_or_default();
            desk.answer_line(number, &live, answer);
        });
    }

    fn answer_line(&self, number: TorrentNumber, live: &Live, answer: Answer<TorrentLine>) {
        let unknown = || DeskError::Unknown { asked: number.0.to_string() };
        let line = self.table.get(number).map(|entry| entry.line(live, self.now()));
        let _ = answer.send(line.ok_or_else(unknown));
    }

    pub(crate) fn tell_page(&mut self, after: Option<TorrentNumber>, limit: usize, answer: Answer<Page>) {
        if let Some(snapshot) = self.snapshot.clone().filter(|known| self.now() < known.taken_at + SHARED_FOR) {
            return self.answer_page(&snapshot, after, limit, answer);
        }
        let engine = self.world.engine.clone();
        self.work_apart(async move { engine.status().await }, move |desk, status| match status {
            Ok(status) => {
                let snapshot = Arc::new(Snapshot::of(&status, desk.now()));
                desk.snapshot = Some(snapshot.clone());
                desk.answer_page(&snapshot, after, limit, answer);
            }
            Err(error) => drop(answer.send(Err(error.into()))),
        });
    }

    /// Nobody reads on in one that is old, and it is as large as there are torrents.
    pub(crate) fn drop_old_snapshot(&mut self) {
        let now = self.now();
        self.snapshot = self.snapshot.take().filter(|known| now < known.taken_at + SHARED_FOR);
    }

    fn answer_page(&self, snapshot: &Snapshot, after: Option<TorrentNumber>, limit: usize, answer: Answer<Page>) {
        let (now, rest) = (self.now(), Live::default());
        let mut torrents = self.table.after(after).map(|entry| {
            let live = entry.engine.and_then(|id| snapshot.live.get(&id));
            entry.line(live.unwrap_or(&rest), now)
        });
        let page = torrents.by_ref().take(limit).collect();
        let has_more = torrents.next().is_some();
        let _ = answer.send(Ok(Page { torrents: page, has_more }));
    }

    /// Those that have not moved are known here: no line is made of them.
    pub(crate) fn tell_sums(&mut self, answer: Answer<Sums>) {
        self.look(move |desk, torrents| {
            let live: HashMap<TorrentId, Live> =
                torrents.iter().map(|torrent| (torrent.id, Live::of(torrent))).collect();
            let (mut sums, now) = (Sums::default(), desk.now());
            for entry in desk.table.iter() {
                match entry.engine.map(|id| live.get(&id).cloned().unwrap_or_else(|| desk.books.at_rest(id))) {
                    Some(live) => sums.count(entry, &live, now),
                    None => sums.count(entry, &Live::default(), now),
                }
            }
            let _ = answer.send(Ok(sums));
        });
    }

    pub(crate) fn tell_engine_number(&self, number: TorrentNumber, answer: Answer<Option<TorrentId>>) {
        let _ = answer.send(Ok(self.table.get(number).and_then(|entry| entry.engine)));
    }
}

impl Sums {
    fn count(&mut self, entry: &Entry, live: &Live, now: Duration) {
        let totals = entry.totals(live, now);
        *self.by_state.entry(entry.state(live)).or_default() += 1;
        self.published_count += u64::from(matches!(entry.row.origin, Origin::Published { .. }));
        self.uploaded_bytes += totals.uploaded_bytes;
        self.downloaded_bytes += totals.downloaded_bytes;
        self.download_bytes_per_s += live.download_bytes_per_s;
    }
}

impl Snapshot {
    fn of(status: &Status, taken_at: Duration) -> Snapshot {
        Snapshot { taken_at, live: status.torrents.iter().map(|torrent| (torrent.id, Live::of(torrent))).collect() }
    }
}

impl Live {
    /// What the engine says, in the operator's words.
    pub(crate) fn of(torrent: &TorrentStatus) -> Live {
        use types::TorrentState as Told;
        let (state, note) = match &torrent.state {
            TorrentState::Resolving { .. } => (Told::Resolving, None),
            TorrentState::Preparing { .. } => (Told::Checking, None),
            TorrentState::Fetching => (Told::Fetching, None),
            TorrentState::Paused { reason } => (Told::Paused, Some(reason.clone())),
            TorrentState::Finishing => (Told::Finishing, None),
            TorrentState::HasWanted => (Told::Partial, None),
            TorrentState::Complete => (Told::Seeding, None),
            TorrentState::AtRest => (Told::Resting, None),
            TorrentState::Loading => (Told::Seeding, None),
            TorrentState::Checking { .. } => (Told::Checking, None),
        };
        let fetch = torrent.fetch.as_ref();
        Live {
            state: Some(state),
            has_failed: torrent.error.is_some(),
            note: torrent.error.clone().or(note),
            wanted_bytes: fetch.map(|fetch| fetch.wanted_bytes),
            verified_bytes: fetch.map(|fetch| fetch.wanted_bytes.saturating_sub(fetch.left_bytes)),
            uploaded_bytes: torrent.payload_sent_bytes,
            downloaded_bytes: torrent.payload_received_bytes,
            upload_bytes_per_s: torrent.upload_bytes_per_s,
            download_bytes_per_s: fetch.map_or(0, |fetch| fetch.download_bytes_per_s),
            peer_count: torrent.peers,
        }
    }
}
