//! Whole pieces: checked and written on the blocking pool, several at once, and what follows from it. Also the record of what
//! was verified, and the waits of a disk that takes nothing.

use crate::event_loop::Shard;
use crate::limits::{CHECK_DELAY, CHECKED_AT_ONCE, RECORD_INTERVAL, WRITE_RETRY};
use crate::torrents::Slot;
use mesh::{Event, TorrentId};
use metainfo::PieceIndex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use storage::{BlockBuffer, Checked, PieceBuffers, StorageError, Verdict};
use swarm::PieceVerdict;

/// How the disk is used for one torrent that is fetched.
#[derive(Default)]
pub(super) struct Writing {
    /// Pieces that are being checked and written.
    in_check: usize,
    /// Blocks of a piece too large for the buffers are being written before it is whole.
    is_spilling: bool,
    /// The record is being written.
    is_recording: bool,
    /// Something was verified that no record says.
    is_unrecorded: bool,
    recorded_at: Duration,
    /// The last record of the session is being written, or was.
    is_closed: bool,
    /// The disk takes nothing; when it is tried again.
    paused_until: Option<Duration>,
    /// Control knows that everything is there.
    is_reported: bool,
}

impl Writing {
    fn is_idle(&self) -> bool {
        self.in_check == 0 && !self.is_spilling
    }

    /// Whether the disk takes nothing.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// Whether blocks may be written now before their piece is whole.
    pub(super) fn may_spill(&self, now: Duration) -> bool {
        self.is_idle() && !self.is_closed && self.paused_until.is_none_or(|until| until <= now)
    }
}

/// What a job of a torrent that is fetched brought back.
pub(crate) enum Written {
    /// Pieces were checked, and the good ones written.
    Checked(Vec<Checked>),
    /// Blocks were written before their piece was whole, or not.
    Spilled { piece: PieceIndex, blocks: Vec<(u32, BlockBuffer)>, result: Result<(), StorageError> },
    /// What was verified is durable, and the record says so.
    Recorded(Result<(), StorageError>),
}

impl Shard {
    /// Begins what is due for the torrents that are fetched here: checks, records, and their end.
    pub(crate) fn work_on_pieces(&mut self) {
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        slots.extend(self.torrents.leeching());
        self.piece_work_at = None;
        for slot in &slots {
            self.check_pieces(*slot);
            self.record_if_due(*slot);
            self.report_if_fetched(*slot);
        }
        self.slots = slots;
    }

    /// Checks the pieces that are whole, as soon as there are enough of them to fill the lanes, or the first of them has
    /// waited, or no more are to come.
    fn check_pieces(&mut self, slot: Slot) {
        let (now, may_write) = (self.now, self.disk.may_write());
        let Some(served) = self.torrents.get_mut(slot) else { return };
        let (id, Some(leech)) = (served.id, &mut served.leech) else { return };
        if !leech.writing.is_idle() || !may_write {
            // The end of what is under way brings us back here.
            return;
        }
        let paused_until = leech.writing.paused_until;
        if let Some(until) = paused_until.filter(|until| now < *until) {
            return self.wake_for_pieces(until);
        }
        if leech.assembly.whole.is_empty() {
            if paused_until.is_some() && !self.spill(slot) {
                // What the disk refused is no more: only new blocks tell what it takes.
                self.handle_disk_takes(slot);
            }
            return;
        }
        let due = leech.assembly.whole_since + CHECK_DELAY;
        let is_last = leech.download.blocks_under_way() == 0;
        // While others hold all buffers, nothing comes that would be worth the wait.
        let is_short = !self.starved.is_empty();
        if leech.assembly.whole.len() < CHECKED_AT_ONCE && !is_last && !is_short && now < due {
            return self.wake_for_pieces(due);
        }
        let pieces = leech.assembly.take_whole(CHECKED_AT_ONCE, |piece| leech.download.wants_fingerprints(piece));
        leech.writing.in_check = pieces.len();
        let partial = leech.partial.clone();
        self.disk.write(slot, id, move || Written::Checked(partial.check_and_write(pieces, unix_ns())));
    }

    /// Writes what there is of a piece that does not fit the buffers.
    /// False if nothing is begun.
    pub(super) fn spill(&mut self, slot: Slot) -> bool {
        let now = self.now;
        // Behind the last record nothing is written.
        let may_write = self.disk.may_write() && self.stopping.is_none();
        let Some(served) = self.torrents.get_mut(slot) else { return false };
        let (id, Some(leech)) = (served.id, &mut served.leech) else { return false };
        if !may_write || !leech.writing.may_spill(now) {
            return false;
        }
        let Some((piece, blocks)) = leech.assembly.take_fullest() else { return false };
        leech.writing.is_spilling = true;
        let partial = leech.partial.clone();
        self.disk.write(slot, id, move || {
            let result = partial.write_blocks(piece, &blocks, unix_ns());
            Written::Spilled { piece, blocks, result }
        });
        true
    }

    fn record_if_due(&mut self, slot: Slot) {
        let (now, may_write) = (self.now, self.disk.may_write());
        let Some(leech) = self.torrents.leech_mut(slot) else { return };
        if !leech.writing.is_unrecorded || leech.writing.is_recording || !may_write {
            return;
        }
        let due = leech.writing.recorded_at + RECORD_INTERVAL;
        match now < due {
            true => self.wake_for_pieces(due),
            false => self.record(slot, false),
        }
    }

    /// Has what was verified made durable, and a record written that says so.
    pub(crate) fn record(&mut self, slot: Slot, is_clean: bool) {
        let now = self.now;
        let Some(served) = self.torrents.get_mut(slot) else { return };
        let (id, Some(leech)) = (served.id, &mut served.leech) else { return };
        let writing = &mut leech.writing;
        (writing.is_recording, writing.is_unrecorded, writing.recorded_at) = (true, false, now);
        writing.is_closed = is_clean;
        let partial = leech.partial.clone();
        self.disk.write(slot, id, move || Written::Recorded(partial.checkpoint(unix_ns(), is_clean)));
    }

    fn report_if_fetched(&mut self, slot: Slot) {
        let Some(served) = self.torrents.get_mut(slot) else { return };
        let (id, Some(leech)) = (served.id, &mut served.leech) else { return };
        let is_done = leech.download.is_complete() && leech.writing.is_idle() && leech.assembly.whole.is_empty();
        if is_done && !std::mem::replace(&mut leech.writing.is_reported, true) {
            tracing::debug!(torrent = served.torrent().layout().name(), "all that was wanted is verified and written");
            self.report(Event::Fetched { id });
        }
    }

    /// The shard stops: what was verified is recorded for the next start, once nothing is written any more.
    pub(crate) fn end_writing(&mut self, slot: Slot) {
        let may_end = |writing: &Writing| writing.is_idle() && !writing.is_recording && !writing.is_closed;
        if self.torrents.leech_mut(slot).is_some_and(|leech| may_end(&leech.writing)) {
            self.record(slot, true);
        }
    }

    /// Takes what a job brought back.
    pub(crate) fn handle_written(&mut self, slot: Slot, id: TorrentId, written: Written) {
        self.note_written(slot, id, written);
        if self.stopping.is_some() {
            self.end_writing(slot);
        }
    }

    fn note_written(&mut self, slot: Slot, id: TorrentId, written: Written) {
        let is_known = self.torrents.get(slot).is_some_and(|served| served.id == id && served.leech.is_some());
        match written {
            Written::Checked(checked) if is_known => self.handle_all_checked(slot, checked),
            Written::Checked(checked) => checked.into_iter().for_each(|checked| self.give_back(checked.buffers)),
            Written::Spilled { piece, blocks, result } => self.handle_spilled(slot, is_known, (piece, blocks), result),
            Written::Recorded(result) => {
                let Some(leech) = self.torrents.leech_mut(slot).filter(|_| is_known) else { return };
                leech.writing.is_recording = false;
                if let Err(error) = result {
                    leech.writing.is_unrecorded = true;
                    tracing::warn!(%error, "cannot remember what was verified; trying again");
                }
            }
        }
    }

    fn handle_all_checked(&mut self, slot: Slot, checked: Vec<Checked>) {
        if let Some(leech) = self.torrents.leech_mut(slot) {
            leech.writing.in_check = 0;
        }
        let refused = checked.iter().find_map(|checked| match &checked.verdict {
            Verdict::Failed(error) => Some(error.clone()),
            Verdict::Good | Verdict::Bad => None,
        });
        let is_written = checked.iter().any(|checked| matches!(checked.verdict, Verdict::Good));
        checked.into_iter().for_each(|checked| self.handle_checked(slot, checked));
        match refused {
            // One of several places that takes nothing is enough: what goes there would fill the buffers.
            Some(error) => self.handle_disk_refuses(slot, &error),
            None if is_written => self.handle_disk_takes(slot),
            None => {}
        }
    }

    fn handle_checked(&mut self, slot: Slot, checked: Checked) {
        let now = self.now;
        let Some(served) = self.torrents.get_mut(slot) else { return };
        let (torrent, Some(leech)) = (served.task.seeded.torrent().clone(), &mut served.leech) else { return };
        let piece = checked.buffers.piece;
        let size = u64::from(torrent.layout().piece_size(piece));
        let fingerprints: Vec<u64> = checked.block_hashes.iter().map(fingerprint).collect();
        match checked.verdict {
            Verdict::Good => {
                leech.download.handle_verified(now, piece, PieceVerdict::Good { fingerprints: &fingerprints });
                leech.failed_leaves.forget(piece);
                leech.verified.insert(piece);
                leech.news.push(piece);
                leech.writing.is_unrecorded = true;
                self.counters_of(slot, |counters| {
                    counters.verified_pieces.add(1);
                    counters.verified_bytes.add(size);
                    counters.left_bytes.subtract(size);
                });
                self.give_back(checked.buffers);
            }
            Verdict::Bad => {
                tracing::debug!(torrent = torrent.layout().name(), piece = piece.get(), "a piece failed its hash");
                let bad = PieceVerdict::Bad { bad_blocks: None, fingerprints: &fingerprints };
                leech.download.handle_verified(now, piece, bad);
                if torrent.info_hash_v2().is_some() {
                    // Its good blocks stay, once it is known which those are.
                    leech.failed_leaves.keep(piece, checked.block_hashes);
                    leech.assembly.put_back(checked.buffers);
                } else {
                    self.give_back(checked.buffers);
                }
                self.counters_of(slot, |counters| {
                    counters.failed_pieces.add(1);
                    counters.wasted_bytes.add(size);
                });
            }
            Verdict::Failed(_) => leech.assembly.try_again(checked.buffers, now),
        }
    }

    fn handle_spilled(
        &mut self,
        slot: Slot,
        is_known: bool,
        (piece, blocks): (PieceIndex, Vec<(u32, BlockBuffer)>),
        result: Result<(), StorageError>,
    ) {
        if let Some(leech) = self.torrents.leech_mut(slot).filter(|_| is_known) {
            leech.writing.is_spilling = false;
            match result {
                Ok(()) => {
                    leech.download.handle_written(piece, blocks.len() as u32);
                    self.handle_disk_takes(slot);
                }
                Err(error) => {
                    leech.assembly.unspill(piece, blocks);
                    return self.handle_disk_refuses(slot, &error);
                }
            }
        }
        blocks.into_iter().for_each(|(_, buffer)| self.buffers.give_back(buffer));
    }

    /// The disk does not take what came: nothing more is asked for until it does, and nothing else stops.
    fn handle_disk_refuses(&mut self, slot: Slot, error: &StorageError) {
        let until = self.now + WRITE_RETRY;
        let Some(served) = self.torrents.get_mut(slot) else { return };
        let (id, Some(leech)) = (served.id, &mut served.leech) else { return };
        let was_paused = leech.writing.paused_until.replace(until).is_some();
        leech.download.pause();
        if !was_paused {
            self.report(Event::FetchPaused { id, reason: error.to_string() });
        }
    }

    fn handle_disk_takes(&mut self, slot: Slot) {
        let Some(served) = self.torrents.get_mut(slot) else { return };
        let (id, Some(leech)) = (served.id, &mut served.leech) else { return };
        if leech.writing.paused_until.take().is_some() {
            leech.download.resume();
            self.report(Event::FetchResumed { id });
        }
    }

    fn give_back(&mut self, pieces: PieceBuffers) {
        pieces.blocks.into_iter().flatten().for_each(|buffer| self.buffers.give_back(buffer));
    }

    fn wake_for_pieces(&mut self, at: Duration) {
        self.piece_work_at = Some(self.piece_work_at.map_or(at, |before| before.min(at)));
    }
}

/// The time that files carry.
fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

fn fingerprint(digest: &hash::Sha256Digest) -> u64 {
    digest.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
