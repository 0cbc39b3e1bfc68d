//! From the request queue to the socket: one gathered write a turn, as much as fairness, the upload limit and the page
//! cache allow.

use crate::connection::{Connection, Phase, Throttled};
use crate::event_loop::Shard;
use crate::gather::{Added, Source};
use crate::limits::{BATCH_BYTES, LIMITED_ROUND, SHORTAGE_PAUSE, THROTTLE_LEAST};
use crate::table::Key;
use crate::torrents::{Served, Slot};
use mesh::{DropReason, record_time};
use metainfo::BLOCK_SIZE;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use std::io::IoSlice;
use std::num::NonZeroU64;
use std::time::Duration;
use storage::StorageError;
use swarm::choker::LEAST_PROGRESS_BYTES;
use wire::PIECE_HEADER_SIZE;

impl Shard {
    /// Sends what is due, once.
    pub(crate) fn transmit(&mut self, key: Key, connection: &mut Connection) -> Result<(), DropReason> {
        if !connection.can_send() {
            return Ok(());
        }
        match &connection.phase {
            Phase::Peer(peer) => {
                let slot = peer.torrent;
                self.transmit_blocks(key, connection, slot)
            }
            Phase::Greeting | Phase::Draining => self.transmit_outbox(key, connection),
        }
    }

    /// Sends small messages only.
    fn transmit_outbox(&mut self, key: Key, connection: &mut Connection) -> Result<(), DropReason> {
        let pending = connection.outbox.pending();
        let (size, result) = (pending.len(), send_slices(&connection.socket, &[IoSlice::new(pending)]));
        if let Err(Errno::NOBUFS | Errno::NOMEM) = result {
            self.throttle(key, connection, SHORTAGE_PAUSE);
        }
        let sent = taken(connection, size, result)?;
        self.account(connection, None, sent);
        Ok(())
    }

    fn transmit_blocks(&mut self, key: Key, connection: &mut Connection, slot: Slot) -> Result<(), DropReason> {
        if self.torrents.get(slot).is_none_or(|served| served.task.seeded.error().is_some()) {
            // Another shard may have found it out; control's command to let go of all peers is on its way.
            return Err(DropReason::TorrentGone);
        }
        let Some(terms) = self.torrents.get(slot).map(|served| served.task.terms.clone()) else {
            return Err(DropReason::TorrentGone);
        };
        if connection.throttled == Throttled::Blocks || !connection.has_blocks() {
            // Words are few, and what they tell is what others wait for.
            return self.transmit_outbox(key, connection);
        }
        let global = self.config.upload.clone();
        let limits = terms.upload_limits(&global);
        let wanted = connection.wanted_bytes();
        let granted = limits.take(self.now, wanted);
        if granted < limits.least_grant(wanted.min(BLOCK_SIZE as usize)) {
            limits.give_back(granted);
            self.throttle(key, connection, limits.next_available(self.now));
            connection.throttled = Throttled::Blocks;
            self.note_limited(slot);
            return Ok(());
        }
        let rate = limits.rate();
        let used = if rate.is_some() { connection.whole_blocks(granted) } else { granted };
        let sent = self.write_blocks(key, connection, slot, used);
        limits.give_back(granted - sent.as_ref().map_or(0, |sent| *sent).min(granted));
        let sent = sent?;
        let limited_bytes = rate.filter(|_| granted < wanted).map(|rate| self.limited_turn(rate));
        connection.end_turn(sent, limited_bytes);
        self.account(connection, Some((key, slot)), sent);
        if rate.is_some() {
            connection.finish_block();
        }
        Ok(())
    }

    /// Bytes of one turn under an upload limit: as many as let all that wait have theirs in a round.
    fn limited_turn(&self, rate: NonZeroU64) -> usize {
        let round_bytes = u128::from(rate.get()) * LIMITED_ROUND.as_millis() / 1000;
        let waiting = self.throttled.len() + self.senders.len() + 1;
        let turn_bytes = round_bytes / waiting as u128;
        turn_bytes.clamp(BLOCK_SIZE as u128 + PIECE_HEADER_SIZE as u128, BATCH_BYTES as u128) as usize
    }

    /// Gathers and writes at most `limit` bytes; returns how many the kernel took.
    fn write_blocks(
        &mut self,
        key: Key,
        connection: &mut Connection,
        slot: Slot,
        limit: usize,
    ) -> Result<usize, DropReason> {
        let gathered = match self.gather_blocks(key, connection, slot) {
            Ok(0) => return Ok(0),
            Ok(gathered) => gathered,
            Err(error) => {
                self.handle_storage_error(slot, error)?;
                self.throttle(key, connection, SHORTAGE_PAUSE);
                return Ok(0);
            }
        };
        let Some(served) = self.torrents.get(slot) else { return Err(DropReason::TorrentGone) };
        let outbox = connection.outbox.pending();
        let result = match self.config.zero_copy {
            true => self.gather.send_by_reference(&connection.socket, served, outbox, limit),
            false => send_slices(&connection.socket, &self.gather.slices(Some(served), outbox, limit)),
        };
        if let Err(Errno::FAULT) = result {
            let error = self.explain_fault(slot);
            self.fail_torrent(slot, error);
            return Err(DropReason::TorrentGone);
        }
        if let Err(Errno::NOBUFS | Errno::NOMEM) = result {
            // The kernel is short of memory, and no event will tell when it is not.
            self.throttle(key, connection, SHORTAGE_PAUSE);
        }
        let sent = taken(connection, gathered.min(limit), result)?;
        connection.sends_cold = self.gather.is_cold();
        for (window, bytes) in self.gather.sent_windows(sent) {
            self.disk.handle_sent(window, bytes, self.now);
        }
        Ok(sent)
    }

    /// Plans the next write: the rest of a block under way, then the outbox, then blocks. Returns its bytes.
    fn gather_blocks(&mut self, key: Key, connection: &mut Connection, slot: Slot) -> Result<usize, StorageError> {
        self.gather.clear();
        let Some(served) = self.torrents.get_mut(slot) else { return Ok(0) };
        let Phase::Peer(peer) = &mut connection.phase else { return Ok(0) };
        let queue = peer.session.queue();
        let mut under_way = queue.front_sent_bytes() as usize;
        if under_way == 0 {
            self.gather.add_outbox(connection.outbox.len());
        }
        let mut source = Source { slot, served, disk: &mut self.disk, now: self.now, turn: self.turn };
        let mut lacks = None;
        for block in queue.iter() {
            match self.gather.add_block(&mut source, block, under_way)? {
                Added::Yes => {}
                Added::Full => break,
                Added::Lacks(needs) => {
                    lacks = Some(needs);
                    break;
                }
            }
            if std::mem::take(&mut under_way) > 0 {
                self.gather.add_outbox(connection.outbox.len());
            }
        }
        if let Some(needs) = lacks {
            self.link.counters.cold_blocks.add(u64::from(self.gather.len() == 0));
            if self.gather.len() == 0 {
                // Only a connection that has nothing else to send waits; what is hot goes first.
                self.disk.request(slot, served, &needs, key, self.now);
                connection.cold_since.get_or_insert(self.now);
                // Neither the choker nor the clock is to blame the peer for our disk.
                self.choker.handle_progress(key, LEAST_PROGRESS_BYTES);
            }
            self.disk.read_ahead(slot, served, peer.session.queue().iter(), self.now);
        }
        Ok(self.gather.len())
    }

    /// Books what the kernel took.
    fn account(&mut self, connection: &mut Connection, peer: Option<(Key, Slot)>, sent: usize) {
        if sent == 0 {
            return;
        }
        self.link.counters.sent_bytes.add(sent as u64);
        connection.progress_at = self.now;
        let mut rest = sent;
        let Phase::Peer(state) = &mut connection.phase else {
            connection.outbox.advance(rest);
            return;
        };
        state.session.handle_sent(self.now);
        if let Some((key, slot)) = peer {
            self.super_seeding.note_sent(
                &mut self.torrents,
                self.now,
                (key, slot),
                state.session.queue(),
                rest,
                connection.outbox.len(),
            );
        }
        let queue = state.session.queue_mut();
        let header_bytes = PIECE_HEADER_SIZE as u32;
        let accepted_at = self.config.start.elapsed();
        let service_us = &mut self.histograms.service_us;
        let mut served = |waited, blocks| record_time(service_us, waited, blocks);
        let mut advance = swarm::Advance::default();
        if queue.front_sent_bytes() > 0 {
            let first = rest.min(queue.front_left_bytes(header_bytes) as usize);
            advance = queue.advance(header_bytes, first as u64, accepted_at, &mut served);
            rest -= first;
        }
        let outbox = rest.min(connection.outbox.len());
        connection.outbox.advance(outbox);
        advance += queue.advance(header_bytes, (rest - outbox) as u64, accepted_at, &mut served);
        let Some((key, slot)) = peer else { return };
        if advance.blocks > 0 {
            self.histograms.batch_blocks.saturating_record(advance.blocks);
        }
        self.link.counters.gathered_writes.add(u64::from(advance.payload_bytes > 0));
        self.link.counters.blocks_sent.add(advance.blocks);
        self.link.counters.payload_sent_bytes.add(advance.payload_bytes);
        self.choker.handle_progress(key, advance.payload_bytes);
        connection.sent.add(advance.payload_bytes);
        if let Some(served) = self.torrents.get(slot) {
            served.task.counters.shard(self.config.shard).payload_sent_bytes.add(advance.payload_bytes);
        }
    }

    /// Lets the connection wait. That it gets nothing meanwhile is our doing, not the peer's.
    fn throttle(&mut self, key: Key, connection: &mut Connection, wait: Duration) {
        if std::mem::replace(&mut connection.throttled, Throttled::All) != Throttled::No {
            // The clock wakes it already.
            return;
        }
        connection.progress_at = self.now;
        self.choker.handle_progress(key, LEAST_PROGRESS_BYTES);
        let until = self.now + wait.max(THROTTLE_LEAST);
        self.throttled_until = if self.throttled.is_empty() { until } else { self.throttled_until.min(until) };
        self.throttled.push(key);
    }

    /// An error of the content ends its torrent; a shortage of ours passes.
    pub(crate) fn handle_storage_error(&mut self, slot: Slot, error: StorageError) -> Result<(), DropReason> {
        if error.is_transient() {
            tracing::warn!(%error, "a read has to wait");
            return Ok(());
        }
        self.fail_torrent(slot, error);
        Err(DropReason::TorrentGone)
    }

    /// The kernel met a page that a mapped file does not have any more, or that the disk did not give.
    fn explain_fault(&self, slot: Slot) -> StorageError {
        let files = self.gather.mapped_files();
        let open = files.filter_map(|file| self.torrents.get(slot)?.files.get(file));
        let mut path = std::path::PathBuf::new();
        for file in open {
            if let Err(error) = file.check_unchanged() {
                return error;
            }
            path = file.path().to_path_buf();
        }
        StorageError::Io { path, action: "read its mapped pages", source: Errno::IO.into() }
    }

    /// Puts the torrent into its error, which all shards and the operator see. Its connections end with the command
    /// that control sends in answer.
    pub(crate) fn fail_torrent(&mut self, slot: Slot, error: StorageError) {
        let Some(Served { id, task, .. }) = self.torrents.get(slot) else { return };
        let id = *id;
        if task.seeded.fail(error) {
            self.report(mesh::Event::TorrentFailed { id });
        }
    }
}

fn send_slices(socket: &rustix::fd::OwnedFd, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::net::sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags)
}

/// What the kernel took of `size` bytes.
fn taken(connection: &mut Connection, size: usize, result: Result<usize, Errno>) -> Result<usize, DropReason> {
    match result {
        Ok(sent) => {
            // It took less than it was given: the next word is its event.
            connection.writable = sent == size;
            Ok(sent)
        }
        Err(Errno::AGAIN) => {
            connection.writable = false;
            Ok(0)
        }
        Err(Errno::INTR | Errno::NOBUFS | Errno::NOMEM) => Ok(0),
        Err(Errno::PIPE | Errno::CONNRESET) => Err(DropReason::ClosedByPeer),
        Err(_) => Err(DropReason::Network),
    }
}
