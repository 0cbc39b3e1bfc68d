//! What was told, as far as a restart needs it: of the last ten minutes each thing by its id, of what was before all.
//! Changes and their messages are two transactions, so that webhooks never hold up a release; this is what finds the
//! changes in between.

use std::collections::{HashMap, VecDeque};

use catalogue::{Change, Release, ReleaseState, TorrentNumber, TorrentRow};
use settings::WebhookEvent;

use super::message::{Happening, ID_BYTES};

/// Where it is kept.
pub(crate) const KEY: &str = "webhooks.told";

/// How far apart a thing's time and its telling may be: between them lie announces, feeds and a sync of the disk.
const WINDOW_S: i64 = 600;

/// Ids that are kept; with more in ten minutes, older ones may be told twice. They fit one setting, whatever their time.
const IDS_MAX: usize = 150;

/// A space, a time of up to 20 characters with its sign, a colon and an id.
const _: () = assert!((IDS_MAX + 1) * (1 + 20 + 1 + 2 * ID_BYTES) <= catalogue::limits::TEXT_BYTES_MAX);

/// What was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// All that happened before was told, or happened before there was anybody to tell.
    before_s: i64,
    /// What was told of what happened since, the oldest first.
    ids: VecDeque<(i64, String)>,
}

impl Told {
    /// At the very first start.
    pub(crate) fn all_before(now_s: i64) -> Told {
        // What stands in the catalogue with this very second was there before us.
        Told { before_s: now_s + 1, ids: VecDeque::new() }
    }

    /// As it was kept. What cannot be read was damaged: better to tell nothing twice than ten thousand things.
    pub(crate) fn read(kept: &str, now_s: i64) -> Told {
        let mut words = kept.split(' ');
        let Some(before_s) = words.next().and_then(|word| word.parse().ok()) else { return Told::all_before(now_s) };
        let id = |word: &str| word.split_once(':').and_then(|(at_s, id)| Some((at_s.parse().ok()?, id.to_owned())));
        Told { before_s, ids: words.filter_map(id).take(IDS_MAX).collect() }
    }

    /// The change that keeps it.
    pub(crate) fn keep(&self) -> Change {
        let ids = self.ids.iter().map(|(at_s, id)| format!(" {at_s}:{id}"));
        Change::Setting { key: KEY.to_owned(), value: Some(self.before_s.to_string() + &ids.collect::<String>()) }
    }

    /// Whether it was told a short while ago.
    pub(crate) fn has(&self, happening: &Happening) -> bool {
        self.ids.iter().any(|(_, id)| *id == happening.id)
    }

    /// Whether what was found in the catalogue is still to be told.
    pub(crate) fn lacks(&self, happening: &Happening) -> bool {
        happening.at_s >= self.before_s && !self.has(happening)
    }

    /// It is told now, at this time.
    pub(crate) fn note(&mut self, happening: &Happening, now_s: i64) {
        // Errors have no row by which they could be found again.
        if happening.event != WebhookEvent::Error {
            self.ids.push_back((now_s, happening.id.clone()));
        }
        while let Some((at_s, _)) = self.ids.front()
            && (*at_s < now_s - WINDOW_S || self.ids.len() > IDS_MAX)
        {
            self.ids.pop_front();
        }
        self.before_s = self.before_s.max(now_s - WINDOW_S);
    }
}

/// What happened to releases and torrents by the catalogue, as far as it was not told; withdrawals apart, whose messages are
/// kept. Who calls it has just started, or lost some of what the desk told.
pub(crate) fn untold(told: &Told, releases: &[Release], torrents: &[TorrentRow], now_s: i64) -> Vec<Happening> {
    let rows: HashMap<TorrentNumber, &TorrentRow> = torrents.iter().map(|row| (row.number, row)).collect();
    let mut found = Vec::new();
    for release in releases {
        let Some(row) = release.torrent.and_then(|number| rows.get(&number)) else { continue };
        let opens_at_s = row.release_at_s.unwrap_or(i64::MIN);
        if let (ReleaseState::Published, Some(at_s)) = (release.state, release.published_at_s)
            && opens_at_s <= now_s
        {
            found.push(Happening::of_row(WebhookEvent::Published, row, at_s.max(opens_at_s)));
        }
    }
    for row in torrents {
        let is_subscribed = matches!(row.origin, catalogue::Origin::Subscribed { .. });
        if let Some(at_s) = row.completed_at_s.filter(|_| is_subscribed) {
            found.push(Happening::of_row(WebhookEvent::Completed, row, at_s));
        }
        if let Some(at_s) = row.first_copy_at_s {
            found.push(Happening::of_row(WebhookEvent::FirstFullCopy, row, at_s));
        }
    }
    found.retain(|happening| told.lacks(happening));
    found.sort_by_key(|happening| happening.at_s);
    found
}
