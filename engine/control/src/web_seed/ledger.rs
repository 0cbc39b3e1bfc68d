//! What is known of one server, kept while its virtual peer comes and goes: what it delivered, what it lacks, how it failed.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metainfo::{BlockRange, Extent, FileIndex, FileLayout};
use swarm::RateEstimator;

use super::back_off::BackOff;
use super::client::WebSeedConfig;
use super::url::without_secrets;

/// Files that a server may lack before it is no longer asked for the others. Each costs a new connection to the shard, since
/// a peer cannot take back a piece that it said it has.
const MAX_MISSING_FILES: usize = 64;

/// What a web seed is doing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum WebSeedState {
    /// Nothing is asked for.
    #[default]
    Idle,
    /// Ranges are on their way.
    Fetching,
    /// The server failed and is left alone.
    BackedOff {
        /// Until when.
        until: Instant,
        /// In one line.
        why: String,
    },
    /// The server is of no use.
    Failed {
        /// In one line.
        why: String,
    },
}

/// A web seed, for people to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebSeedStatus {
    /// Where it is, without user, password and query.
    pub url: String,
    /// What it is doing.
    pub state: WebSeedState,
    /// Bytes of content that it delivered, right or wrong.
    pub fetched_bytes: u64,
    /// The same per second, of late.
    pub rate_bytes_per_s: u64,
    /// Files that it turned out not to have.
    pub missing_files: usize,
    /// What went wrong last, though it may be over.
    pub last_error: Option<String>,
}

impl WebSeedStatus {
    /// That of a web seed that cannot be tried.
    pub(super) fn of_refused(url: &str, why: String) -> WebSeedStatus {
        WebSeedStatus {
            url: without_secrets(url),
            state: WebSeedState::Failed { why: why.clone() },
            fetched_bytes: 0,
            rate_bytes_per_s: 0,
            missing_files: 0,
            last_error: Some(why),
        }
    }
}

/// The record of one server.
pub(super) struct Ledger {
    started: Instant,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    state: WebSeedState,
    fetched_bytes: u64,
    rate: RateEstimator,
    missing: BTreeSet<FileIndex>,
    back_off: BackOff,
    last_error: Option<String>,
}

impl Ledger {
    pub(super) fn new() -> Ledger {
        Ledger { started: Instant::now(), entries: Mutex::default() }
    }

    pub(super) fn status(&self, url: String) -> WebSeedStatus {
        let now = self.started.elapsed();
        let mut entries = self.entries();
        WebSeedStatus {
            url,
            state: entries.state.clone(),
            fetched_bytes: entries.fetched_bytes,
            rate_bytes_per_s: entries.rate.rate(now),
            missing_files: entries.missing.len(),
            last_error: entries.last_error.clone(),
        }
    }

    pub(super) fn add_fetched(&self, bytes: u32) {
        let now = self.started.elapsed();
        let mut entries = self.entries();
        entries.fetched_bytes += u64::from(bytes);
        entries.rate.add(now, bytes.into());
    }

    /// Ranges are on their way, or none are. What failed stays so.
    pub(super) fn set_fetching(&self, is_fetching: bool) {
        let mut entries = self.entries();
        if !matches!(entries.state, WebSeedState::Failed { .. }) {
            entries.state = if is_fetching { WebSeedState::Fetching } else { WebSeedState::Idle };
        }
    }

    pub(super) fn succeeded(&self) {
        self.entries().back_off.succeeded();
    }

    /// The server failed. Until when it is left alone.
    pub(super) fn back_off(&self, config: &WebSeedConfig, retry_after: Option<Duration>, why: String) -> Instant {
        // Without randomness the wait is the shortest.
        let random = getrandom::u64().unwrap_or(0);
        let range = (config.first_back_off, config.longest_back_off);
        let mut entries = self.entries();
        let until = Instant::now() + entries.back_off.failed(range, retry_after, random);
        entries.last_error = Some(why.clone());
        entries.state = WebSeedState::BackedOff { until, why };
        until
    }

    /// Until when the server is left alone, if it is.
    pub(super) fn backed_off_until(&self) -> Option<Instant> {
        match self.entries().state {
            WebSeedState::BackedOff { until, .. } => Some(until).filter(|until| *until > Instant::now()),
            _ => None,
        }
    }

    /// An error that others make good.
    pub(super) fn note(&self, why: String) {
        self.entries().last_error = Some(why);
    }

    pub(super) fn fail(&self, why: String) {
        let mut entries = self.entries();
        entries.last_error = Some(why.clone());
        entries.state = WebSeedState::Failed { why };
    }

    pub(super) fn failure(&self) -> Option<String> {
        match &self.entries().state {
            WebSeedState::Failed { why } => Some(why.clone()),
            _ => None,
        }
    }

    /// The server lacks a file. Whether it is still of use for others.
    pub(super) fn add_missing(&self, layout: &FileLayout, file: FileIndex, why: String) -> bool {
        {
            let mut entries = self.entries();
            entries.last_error = Some(why);
            entries.missing.insert(file);
            if entries.missing.len() > MAX_MISSING_FILES {
                return false;
            }
        }
        self.bitfield(layout).is_none_or(|bits| bits.iter().any(|byte| *byte != 0))
    }

    /// The pieces that the server has, as BITFIELD has them; `None` for all.
    pub(super) fn bitfield(&self, layout: &FileLayout) -> Option<Vec<u8>> {
        let entries = self.entries();
        if entries.missing.is_empty() {
            return None;
        }
        let count = layout.piece_count() as usize;
        let mut bits = vec![0xff; count.div_ceil(8)];
        if let Some(last) = bits.last_mut() {
            // The spare bits at the end are zero (BEP 3).
            *last <<= bits_to_spare(count);
        }
        for file in &entries.missing {
            for piece in layout.file_pieces(*file) {
                bits[piece.get() as usize / 8] &= !(0x80 >> (piece.get() % 8));
            }
        }
        Some(bits)
    }

    /// Whether the server lacks a byte of the block.
    pub(super) fn lacks(&self, layout: &FileLayout, block: BlockRange) -> bool {
        let entries = self.entries();
        !entries.missing.is_empty()
            && layout
                .extents(block)
                .any(|extent| matches!(extent, Extent::File { file, .. } if entries.missing.contains(&file)))
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bits_to_spare(count: usize) -> u32 {
    (count.next_multiple_of(8) - count) as u32
}
