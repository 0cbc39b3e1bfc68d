//! What the desk looks at by itself: what the engine tells, embargoes that end, totals that are to be kept, torrents that
//! were seeded enough.

use std::collections::VecDeque;

use catalogue::{Change, StopCause, TorrentChange, TorrentNumber, TorrentTotals};
use mesh::TorrentId;
use seedbox::{EngineError, EngineHandle, TorrentState, TorrentStatus};

use super::Happened;
use super::entry::Entry;
use super::task::Desk;
use crate::clock::unix_s;
use control::EngineEvent;

/// Events of torrents that are not in the table yet; older ones are dropped. Between an order and its answer there are few.
const UNHEARD_EVENTS: usize = 256;

/// What the engine said of torrents that are on their way into the table.
#[derive(Default)]
pub(crate) struct Unheard {
    events: VecDeque<(TorrentId, EngineEvent)>,
}

impl Unheard {
    fn keep(&mut self, id: TorrentId, event: EngineEvent) {
        if self.events.len() == UNHEARD_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back((id, event));
    }

    fn take(&mut self, id: TorrentId) -> Vec<EngineEvent> {
        let (taken, kept) = std::mem::take(&mut self.events).into_iter().partition(|(of, _)| *of == id);
        self.events = kept;
        VecDeque::into_iter(taken).map(|(_, event)| event).collect()
    }
}

impl Desk {
    pub(crate) fn handle_engine_event(&mut self, event: EngineEvent) {
        let Some(id) = torrent_of(&event) else { return self.look_at_all() };
        match self.table.of_engine(id) {
            Some(number) => self.handle_event_of(number, id, event),
            None => self.unheard.keep(id, event),
        }
    }

    /// The torrent that the engine calls this is in the table now.
    pub(crate) fn hear_again(&mut self, id: TorrentId) {
        for event in self.unheard.take(id) {
            self.handle_engine_event(event);
        }
    }

    fn handle_event_of(&mut self, number: TorrentNumber, id: TorrentId, event: EngineEvent) {
        match event {
            EngineEvent::Completed { .. } => self.when_idle(number, move |desk| desk.handle_completed(number, id)),
            EngineEvent::Prepared { .. } => self.when_idle(number, move |desk| desk.handle_resolved(number)),
            EngineEvent::Failed { reason, .. } => {
                self.when_idle(number, move |desk| desk.handle_failed(number, id, reason));
            }
            EngineEvent::FirstCopy { .. } => self.handle_first_copy(number),
            EngineEvent::Opened { .. } => self.handle_second(),
            EngineEvent::FetchPaused { .. }
            | EngineEvent::FetchResumed { .. }
            | EngineEvent::Rechecked { .. }
            | EngineEvent::Removed { .. }
            | EngineEvent::Missed { .. } => {}
        }
    }

    /// The engine serves or fetches it no longer. If only nobody remembers that its content was verified, it is.
    fn handle_failed(&mut self, number: TorrentNumber, id: TorrentId, reason: String) {
        let Some(entry) = self.table.get(number).filter(|entry| entry.engine == Some(id)) else { return };
        if entry.row.completed_at_s.is_none() {
            return self.fail(number, reason);
        }
        let catalogue = self.world.catalogue.clone();
        let verified = tokio::task::spawn_blocking(move || catalogue.verified(number));
        self.work(number, verified, move |desk, verified| match verified {
            Ok(Ok(None)) => desk.leave_and_check(number),
            _ => desk.fail(number, reason),
        });
    }

    /// One at rest that could not be loaded is tried again whenever somebody asks for it: what helps is to verify it, if nobody
    /// remembers that it was.
    fn handle_error(&mut self, number: TorrentNumber, id: TorrentId, reason: String, state: &TorrentState) {
        if *state != TorrentState::AtRest {
            return self.handle_failed(number, id, reason);
        }
        if self.table.of_engine(id) == Some(number) && self.books.is_broken_now(id) {
            let catalogue = self.world.catalogue.clone();
            let verified = tokio::task::spawn_blocking(move || catalogue.verified(number));
            self.work(number, verified, move |desk, verified| match verified {
                Ok(Ok(None)) => desk.leave_and_check(number),
                _ => desk.tell(number, Happened::Failed { reason }),
            });
        }
    }

    fn handle_first_copy(&mut self, number: TorrentNumber) {
        let Some(entry) = self.table.get_mut(number).filter(|entry| entry.row.first_copy_at_s.is_none()) else {
            return;
        };
        entry.row.first_copy_at_s = Some(unix_s());
        let change = Change::Torrent(number, TorrentChange::FirstCopy(entry.row.first_copy_at_s));
        self.keep_apart(vec![change]);
        self.tell(number, Happened::FirstFullCopy);
    }

    /// Lets releases into the feeds whose gate control has opened, and what was known of all torrents go.
    pub(crate) fn handle_second(&mut self) {
        self.drop_old_snapshot();
        let due = (unix_s(), TorrentNumber(i64::MAX));
        // One that is checked or on its way to the engine is told of when it is there.
        let open = |number: &TorrentNumber| {
            let is_open =
                |entry: &Entry| entry.engine.is_some() && entry.gate.as_ref().is_none_or(|gate| gate.is_open());
            self.table.get(*number).is_none_or(is_open)
        };
        let opened: Vec<(i64, TorrentNumber)> =
            self.shut.range(..=due).filter(|(_, number)| open(number)).copied().collect();
        for (opens_at_s, number) in opened {
            self.shut.remove(&(opens_at_s, number));
            if self.table.get(number).is_none() {
                continue;
            }
            self.show(number);
            let shown = self.feeds_follow();
            self.work_apart(shown, move |desk, ()| desk.tell(number, Happened::Opened));
        }
    }

    pub(crate) fn handle_totals_tick(&mut self) {
        self.look(|desk, _| desk.keep_totals());
    }

    /// Asks how those torrents are that have moved, and goes on when that is in the books.
    pub(crate) fn look(&mut self, then: impl FnOnce(&mut Desk, &[TorrentStatus]) + Send + 'static) {
        let engine = self.world.engine.clone();
        self.work_apart(async move { recent(&engine).await }, |desk, torrents| match torrents {
            Ok(torrents) => {
                desk.handle_status(&torrents);
                then(desk, &torrents);
            }
            Err(error) => tracing::warn!(%error, "the engine does not say how torrents are"),
        });
    }

    /// Events were lost: any torrent may be otherwise than was heard.
    fn look_at_all(&mut self) {
        let engine = self.world.engine.clone();
        self.work_apart(async move { engine.status().await }, |desk, status| match status {
            Ok(status) => desk.handle_status(&status.torrents),
            Err(error) => tracing::warn!(%error, "the engine does not say how torrents are"),
        });
    }

    /// Compares the table with the engine: what they sent, which are complete or have failed.
    fn handle_status(&mut self, torrents: &[TorrentStatus]) {
        for torrent in torrents {
            let Some(number) = self.table.of_engine(torrent.id) else { continue };
            let (id, state) = (torrent.id, torrent.state.clone());
            self.books.see(id, (torrent.payload_sent_bytes, torrent.payload_received_bytes));
            if let Some(reason) = torrent.error.clone() {
                self.when_idle(number, move |desk| desk.handle_error(number, id, reason, &state));
                continue;
            }
            let Some(entry) = self.table.get(number) else { continue };
            let is_complete = match state {
                TorrentState::Complete => entry.row.completed_at_s.is_none(),
                TorrentState::HasWanted => entry.served_since.is_none(),
                _ => false,
            };
            let is_unknown = entry.row.shape.is_none();
            // One that is busy is at work, or has been heard of: the next look finds it.
            if self.books.is_well_again(id) || entry.is_busy {
                continue;
            }
            if is_complete {
                self.handle_completed(number, id);
            } else if is_unknown {
                self.handle_resolved(number);
            }
        }
        self.books.retain(|id| self.table.of_engine(id).is_some());
    }

    /// Goes through the table: totals that are to be kept, and what was seeded enough.
    fn keep_totals(&mut self) {
        self.books.begin_round();
        let now = self.now();
        let (mut totals, mut kept, mut enough) = (Vec::new(), Vec::new(), Vec::new());
        for entry in self.table.iter().filter(|entry| !entry.is_busy) {
            let (Some(id), number) = (entry.engine, entry.row.number) else { continue };
            let sum = entry.totals(&self.books.at_rest(id), now);
            if self.books.is_due(id, number) {
                kept.push(id);
                totals.push((number, sum));
            }
            if let Some(reached) = self.seeded_enough(entry, &sum) {
                enough.push((number, reached));
            }
        }
        kept.into_iter().for_each(|id| self.books.keep(id));
        if !totals.is_empty() {
            self.keep_apart(vec![Change::Totals(totals)]);
        }
        for (number, (cause, reason)) in enough {
            self.when_idle(number, move |desk| desk.stop_seeded(number, cause, reason));
        }
    }

    fn stop_seeded(&mut self, number: TorrentNumber, cause: StopCause, reason: String) {
        self.stop_because(number, cause, move |desk, stopped| match stopped {
            Ok(()) => {
                tracing::info!(torrent = number.0, "{reason}");
                desk.tell(number, Happened::LimitReached { reason });
            }
            Err(error) => tracing::error!(torrent = number.0, %error, "a torrent that was seeded enough goes on"),
        });
    }

    fn seeded_enough(&self, entry: &Entry, totals: &TorrentTotals) -> Option<(StopCause, String)> {
        // Of one that is not complete all that is wanted may be served.
        if entry.served_since.is_none() || entry.engine.is_none() {
            return None;
        }
        let limits = self.policy.seed_limits(&entry.row);
        let (name, size_bytes) = (&entry.row.name, entry.row.shape?.size_bytes.max(1));
        let permille = u128::from(totals.uploaded_bytes) * 1000 / u128::from(size_bytes);
        if let Some(limit) = limits.ratio_permille.filter(|limit| permille >= u128::from(*limit)) {
            let ratio = limit as f64 / 1000.0;
            return Some((StopCause::Ratio, format!("{name}: stopped, it was uploaded {ratio} times its size")));
        }
        let limit_s = limits.time_s.filter(|limit_s| totals.seeded_s >= *limit_s)?;
        Some((StopCause::Time, format!("{name}: stopped, it was seeded for {limit_s} s")))
    }

    /// Keeps the totals of all, whatever they are: the end of the service.
    pub(crate) async fn keep_all_totals(&mut self) {
        for torrent in recent(&self.world.engine).await.unwrap_or_default() {
            self.books.see(torrent.id, (torrent.payload_sent_bytes, torrent.payload_received_bytes));
        }
        let now = self.now();
        let running = self.table.iter().filter_map(|entry| Some((entry, entry.engine?)));
        let totals =
            running.map(|(entry, id)| (entry.row.number, entry.totals(&self.books.at_rest(id), now))).collect();
        if let Err(error) = self.world.catalogue.apply(vec![Change::Totals(totals)]).await {
            tracing::error!(%error, "the last totals are lost");
        }
    }

    /// Keeps what nobody waits for.
    fn keep_apart(&mut self, changes: Vec<Change>) {
        let catalogue = self.world.catalogue.clone();
        self.work_apart(async move { catalogue.apply(changes).await }, |_, kept| {
            if let Err(error) = kept {
                tracing::warn!(%error, "something is not kept, and will be lost in a crash");
            }
        });
    }
}

/// The torrents that have moved since this was asked last.
async fn recent(engine: &EngineHandle) -> Result<Vec<TorrentStatus>, EngineError> {
    let recent = engine.recent().await?;
    if recent.is_cut { Ok(engine.status().await?.torrents) } else { Ok(recent.torrents) }
}

/// Whom it is about; nobody, if events were lost. Then the status tells what they would have.
fn torrent_of(event: &EngineEvent) -> Option<TorrentId> {
    match event {
        EngineEvent::Failed { id, .. }
        | EngineEvent::Prepared { id }
        | EngineEvent::Completed { id }
        | EngineEvent::FetchPaused { id, .. }
        | EngineEvent::FetchResumed { id }
        | EngineEvent::FirstCopy { id }
        | EngineEvent::Opened { id }
        | EngineEvent::Rechecked { id, .. }
        | EngineEvent::Removed { id } => Some(*id),
        EngineEvent::Missed { .. } => None,
    }
}
