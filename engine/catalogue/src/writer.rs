//! The one thread that writes. What waits while a transaction is being synced goes into the next one together, so that the
//! disk is waited for once for all of it, and nobody waits longer than for the transaction before and their own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hash::InfoHash;
use rusqlite::{Connection, TransactionBehavior};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use crate::change::Change;
use crate::error::CatalogueError;
use crate::kept::KeptFolder;
use crate::limits::{COPY_AFTER_MS, COPY_BEFORE_MS, GROUP_MAX, KEPT_AT_ONCE, LAST_COPIES_MS};
use crate::lock::Lock;
use crate::write::{Counts, WriteError, apply};

/// Changes that are made together or not at all, and who wants to know.
pub(crate) struct Submission {
    pub(crate) changes: Vec<Change>,
    pub(crate) done: oneshot::Sender<Result<(), CatalogueError>>,
}

/// What the writer is told.
pub(crate) enum Order {
    Submit(Submission),
    Close,
}

/// What the writer did since it was started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) transactions: AtomicU64,
    pub(crate) submissions: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) full_queues: AtomicU64,
    pub(crate) unkept: AtomicU64,
}

/// The writer's thread.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) path: PathBuf,
    pub(crate) kept: KeptFolder,
    pub(crate) lock: Lock,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) counts: Counts,
    pub(crate) copies: Copies,
    /// What the thread waits in.
    pub(crate) waiting: Runtime,
}

/// How far the second copies have followed.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// Some may be behind.
    is_behind: bool,
    /// The first change since they began to follow; nothing while they do.
    waits_since: Option<Instant>,
    /// Those up to this name were seen to in this round.
    seen_to: String,
    /// The last one failed, which was said.
    is_failing: bool,
}

impl Copies {
    /// Some may be behind from an earlier run.
    pub(crate) fn at_start() -> Copies {
        Copies { is_behind: true, ..Copies::default() }
    }

    /// How long nothing must be to be done before they follow.
    fn pause(&self) -> Duration {
        let Some(since) = self.waits_since else { return Duration::ZERO };
        let left = Duration::from_millis(COPY_BEFORE_MS).saturating_sub(since.elapsed());
        left.min(Duration::from_millis(COPY_AFTER_MS))
    }
}

impl Writer {
    /// Works until the catalogue is closed or gone.
    pub(crate) fn run(mut self) {
        while let Some(order) = self.next_order() {
            let Order::Submit(first) = order else { break };
            let mut group = vec![first];
            let mut is_closing = false;
            while group.len() < GROUP_MAX {
                match self.orders.try_recv() {
                    Ok(Order::Submit(submission)) => group.push(submission),
                    Ok(Order::Close) => is_closing = true,
                    Err(_) => break,
                }
            }
            self.commit_group(group);
            if is_closing {
                break;
            }
        }
        self.close();
    }

    /// The next order. When there is none for a while, second copies are brought in line.
    fn next_order(&mut self) -> Option<Order> {
        loop {
            match self.orders.try_recv() {
                Ok(order) => return Some(order),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) if !self.copies.is_behind => return self.orders.blocking_recv(),
                Err(TryRecvError::Empty) => {
                    let orders = &mut self.orders;
                    let pause = self.copies.pause();
                    // The timer belongs to the runtime, and is made inside it.
                    match self.waiting.block_on(async { tokio::time::timeout(pause, orders.recv()).await }) {
                        Ok(order) => return order,
                        Err(_) => self.follow(),
                    }
                }
            }
        }
    }

    /// One transaction for all; if that fails, one for each, so that only what is at fault fails.
    fn commit_group(&mut self, group: Vec<Submission>) {
        self.counters.submissions.fetch_add(group.len() as u64, Relaxed);
        let is_single = group.len() == 1;
        let together = self.transact(group.iter().flat_map(|submission| &submission.changes));
        match together {
            Err(_) if !is_single => {
                for Submission { changes, done } in group {
                    let result = self.transact(&changes);
                    self.answer(done, result);
                }
            }
            Ok(()) => group.into_iter().for_each(|submission| self.answer(submission.done, Ok(()))),
            Err(error) => {
                if let Some(submission) = group.into_iter().next() {
                    self.answer(submission.done, Err(error));
                }
            }
        }
        self.copies.is_behind = true;
        self.copies.waits_since.get_or_insert_with(Instant::now);
    }

    fn answer(&self, done: oneshot::Sender<Result<(), CatalogueError>>, result: Result<(), CatalogueError>) {
        if let Err(error) = &result {
            self.counters.failures.fetch_add(1, Relaxed);
            tracing::debug!(%error, "a change was not made");
        }
        // Who does not wait does not want to know.
        let _ = done.send(result);
    }

    fn transact<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>) -> Result<(), CatalogueError> {
        let mut changes = changes.into_iter().peekable();
        if changes.peek().is_none() {
            return Ok(());
        }
        let mut counts = self.counts;
        let asked = CatalogueError::sqlite(&self.path);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&asked)?;
        for change in changes {
            apply(&transaction, &mut counts, change).map_err(|error| match error {
                WriteError::Refused(why) => CatalogueError::Refused(why),
                WriteError::Sqlite(error) => asked(error),
            })?;
        }
        transaction.commit().map_err(&asked)?;
        self.counts = counts;
        self.counters.transactions.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Brings some second copies in line, and stops early if there is other work.
    fn follow(&mut self) {
        self.copies.waits_since = None;
        match self.follow_some() {
            Ok(()) => self.copies.is_failing = false,
            Err(error) => {
                // Tried again after the next change.
                self.copies.is_behind = false;
                self.counters.unkept.fetch_add(1, Relaxed);
                if !std::mem::replace(&mut self.copies.is_failing, true) {
                    tracing::warn!(%error, "second copies of torrents cannot be written; the database is not affected");
                }
            }
        }
    }

    fn follow_some(&mut self) -> Result<(), CatalogueError> {
        let path = self.path.clone();
        let asked = CatalogueError::sqlite(&path);
        let names = self.unkept().map_err(&asked)?;
        if names.is_empty() {
            // A new round, if this one did not begin with the first and something was noted behind its back.
            let began_later = !std::mem::take(&mut self.copies.seen_to).is_empty();
            self.copies.is_behind = began_later && self.any_unkept().map_err(&asked)?;
            return Ok(());
        }
        let mut done = Vec::new();
        let mut result = Ok(());
        for name in names {
            // A name that is none was damaged, and goes.
            if let Some(info_hash) = parse_name(&name)
                && let Err(error) = self.kept.follow(&self.connection, &self.path, info_hash)
            {
                result = Err(error);
                self.copies.seen_to = name;
                break;
            }
            self.copies.seen_to.clone_from(&name);
            done.push(name);
            if !self.orders.is_empty() {
                break;
            }
        }
        if !done.is_empty() {
            // What was removed stays so, whatever happens to the power: a copy that came back would be one that the
            // database has never heard of.
            self.kept.sync()?;
            self.note_kept(&done).map_err(&asked)?;
        }
        result
    }

    fn unkept(&self) -> rusqlite::Result<Vec<String>> {
        let mut query =
            self.connection.prepare_cached("SELECT name FROM unkept WHERE name > ?1 ORDER BY name LIMIT ?2")?;
        query.query_map((&self.copies.seen_to, KEPT_AT_ONCE as i64), |row| row.get(0))?.collect()
    }

    fn any_unkept(&self) -> rusqlite::Result<bool> {
        self.connection.prepare_cached("SELECT 1 FROM unkept")?.exists([])
    }

    fn note_kept(&mut self, names: &[String]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for name in names {
            transaction.prepare_cached("DELETE FROM unkept WHERE name = ?1")?.execute([name])?;
        }
        transaction.commit()
    }

    /// An orderly end: everything in the database itself, and a note that it is.
    fn close(mut self) {
        let deadline = Instant::now() + Duration::from_millis(LAST_COPIES_MS);
        while self.copies.is_behind && Instant::now() < deadline {
            self.follow();
        }
        let written = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        match written.and_then(|()| self.connection.close().map_err(|(_, error)| error)) {
            Ok(()) => self.lock.close(),
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "the database was not closed in order"),
        }
    }
}

fn parse_name(name: &str) -> Option<InfoHash> {
    let mut info_hash = InfoHash::default();
    if name.len() != 2 * info_hash.0.len() || !name.is_ascii() {
        return None;
    }
    for (byte, digits) in info_hash.0.iter_mut().zip(name.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(info_hash)
}
