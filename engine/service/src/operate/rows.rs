//! What the desk and the engine say, in the operator's words: rows, sums, errors with what to do about them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use api::operator::types::{
    Direction, Done, ErrorCode, LimitChange as ChangeAsked, OperatorError, PeerPage, PeerRow, ShardRow, Stats,
    SuperSeedingMode, TorrentDetail, TorrentRow, TorrentState, TrackerPage, TrackerRow, TrackerServed,
};
use api::server::HttpCounters;
use catalogue::{Origin, TorrentLimits, TorrentNumber};
use control::{PeerList, TrackerActivity, TrackerLine};
use hash::InfoHash;
use mesh::PeerReport;
use metainfo::Torrent;
use seedbox::{Status, SuperSeeding};
use settings::{Rates, Settings};
use tracker::Family;

use crate::desk::{DeskError, LimitChange, Sums, TorrentLine};
use crate::publisher::TreeStatus;

/// A torrent's number as operators write it.
pub(crate) fn id(number: TorrentNumber) -> u64 {
    number.0.unsigned_abs()
}

pub(crate) fn number(id: u64) -> TorrentNumber {
    TorrentNumber(i64::try_from(id).unwrap_or(i64::MAX))
}

pub(crate) fn done(line: &TorrentLine, note: Option<String>) -> Done {
    Done {
        id: id(line.number),
        name: line.name.to_string(),
        info_hash_v1: line.info_hash_v1.map(|hash| hash.to_string()),
        info_hash_v2: line.info_hash_v2.map(|hash| hash.to_string()),
        note,
    }
}

pub(crate) fn torrent(line: &TorrentLine) -> TorrentRow {
    TorrentRow {
        id: id(line.number),
        name: line.name.to_string(),
        info_hash_v1: line.info_hash_v1.map(|hash| hash.to_string()),
        info_hash_v2: line.info_hash_v2.map(|hash| hash.to_string()),
        state: line.state,
        error: line.error.clone(),
        size_bytes: line.size_bytes,
        wanted_bytes: line.wanted_bytes,
        verified_bytes: line.verified_bytes,
        uploaded_bytes: line.uploaded_bytes,
        downloaded_bytes: line.downloaded_bytes,
        upload_bytes_per_s: line.upload_bytes_per_s,
        download_bytes_per_s: line.download_bytes_per_s,
        peer_count: line.peer_count,
        group: line.group.as_deref().map(str::to_owned),
        origin: origin(&line.origin),
        added_at_s: line.added_at_s,
        completed_at_s: line.completed_at_s,
        opens_at_s: line.opens_at_s,
    }
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Added => "added".to_owned(),
        Origin::Published { label, .. } => format!("publish:{label}"),
        Origin::Subscribed { label, .. } => format!("subscribe:{label}"),
    }
}

pub(crate) fn detail(line: &TorrentLine, torrent_file: Option<&Torrent>, settings: &Settings) -> TorrentDetail {
    let layout = torrent_file.map(Torrent::layout);
    let group = line.group.as_deref().or(settings.torrents.group.as_deref());
    let group = group.and_then(|name| settings.limits.groups.get(name));
    let permille = line.limits.seed_ratio_permille.map(|permille| permille as f64 / 1000.0);
    let ratio = permille.or(group.and_then(|group| group.seed_ratio)).or(settings.torrents.seed_ratio);
    let all_s = group.and_then(|group| group.seed_time).or(settings.torrents.seed_time);
    let time_s = line.limits.seed_time_s.or(all_s.map(|period| period.duration().as_secs()));
    let is_own = |url: &&String| !is_keyed(url, settings);
    TorrentDetail {
        row: torrent(line),
        content_path: line.content_path.display().to_string(),
        is_private: line.is_private,
        piece_length_bytes: layout.map_or(0, metainfo::FileLayout::piece_length),
        piece_count: line.piece_count,
        file_count: layout.map_or(0, |layout| layout.files().iter().filter(|file| !file.is_pad()).count() as u32),
        magnet: torrent_file.map(|torrent| torrent.magnet().to_string()).unwrap_or_default(),
        tracker_tiers: line.tiers.iter().map(|tier| tier.iter().filter(is_own).cloned().collect()).collect(),
        upload_limit_bytes_per_s: line.limits.upload_bytes_per_s,
        download_limit_bytes_per_s: line.limits.download_bytes_per_s,
        seed_ratio_limit: ratio.filter(|ratio| *ratio > 0.0),
        seed_time_limit_s: time_s.filter(|time_s| *time_s > 0),
        seeded_s: line.seeded_s,
        first_full_copy_at_s: line.first_copy_at_s,
    }
}

/// Whether a URL shows an early key, which is nobody's to read.
fn is_keyed(url: &str, settings: &Settings) -> bool {
    let keys = settings.publish.iter().filter_map(|tree| tree.early_key.as_ref());
    keys.into_iter().any(|key| url.contains(key.expose()))
}

/// What keeps a tree as a whole from being as its root is.
pub(crate) fn tree_problems(tree: &TreeStatus) -> Vec<String> {
    let problems = tree.hold.iter().chain(&tree.watch_failure);
    problems.map(|problem| format!("publish {}: {problem}", tree.name)).collect()
}

pub(crate) fn stats(status: &Status, rates: &Rates) -> Stats {
    let shard = |shard: &seedbox::ShardStatus| ShardRow {
        connection_count: shard.connections,
        uploaded_bytes: shard.payload_sent_bytes,
        late_turn_count: shard.late_turns,
    };
    Stats {
        peer_count: status.peers,
        interested_count: status.interested,
        unchoked_count: status.unchoked,
        upload_bytes_per_s: status.upload_bytes_per_s,
        uploaded_bytes: status.payload_sent_bytes,
        disk_read_bytes: status.disk_read_bytes,
        upload_limit_bytes_per_s: rates.upload.bytes_per_s().map(u64::from),
        download_limit_bytes_per_s: rates.download.bytes_per_s().map(u64::from),
        shards: status.shards.iter().map(shard).collect(),
        dropped: status.dropped.iter().map(|(reason, count)| (format!("{reason:?}"), *count)).collect(),
        tracker: status.own_tracker.as_ref().map(|tracker| TrackerServed {
            torrent_count: tracker.torrent_count as u64,
            peer_count: tracker.peer_count as u64,
            announce_count: tracker.counters.announces,
            scrape_count: tracker.counters.scrapes,
            refused_count: tracker.counters.not_allowed
                + tracker.counters.torrents_full
                + tracker.counters.too_many_requests,
        }),
        dht_node_count: status.dht.as_ref().map(|dht| {
            let sides = [dht.v4.as_ref(), dht.v6.as_ref()];
            sides.into_iter().flatten().map(|side| side.nodes as u64).sum()
        }),
        problems: status.fatal.iter().cloned().collect(),
        ..Stats::default()
    }
}

/// What all torrents are together.
pub(crate) fn count(stats: &mut Stats, sums: &Sums) {
    let word = |state: &TorrentState| Some(serde_json::to_value(state).ok()?.as_str()?.to_owned());
    stats.torrents = sums.by_state.iter().map(|(state, count)| (word(state).unwrap_or_default(), *count)).collect();
    stats.published_count = sums.published_count;
    (stats.uploaded_ever_bytes, stats.downloaded_ever_bytes) = (sums.uploaded_bytes, sums.downloaded_bytes);
    stats.download_bytes_per_s = sums.download_bytes_per_s;
}

pub(crate) fn http(counters: &Arc<HttpCounters>) -> BTreeMap<String, u64> {
    counters.status().into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

/// What is to change, from what was asked.
pub(crate) fn limit_change(asked: ChangeAsked) -> LimitChange {
    LimitChange {
        group: asked.group.map(|group| group.map(Arc::from)),
        upload_bytes_per_s: asked.upload_bytes_per_s,
        download_bytes_per_s: asked.download_bytes_per_s,
        seed_ratio_permille: asked.seed_ratio.map(|ratio| ratio.map(permille)),
        seed_time_s: asked.seed_time_s,
        super_seeding: asked.super_seeding.map(|mode| {
            mode.map(|mode| match mode {
                SuperSeedingMode::Auto => SuperSeeding::Auto,
                SuperSeedingMode::On => SuperSeeding::On,
                SuperSeedingMode::Off => SuperSeeding::Off,
            })
        }),
    }
}

/// The limits of a torrent that is new.
pub(crate) fn new_limits(asked: &ChangeAsked) -> (TorrentLimits, Option<Arc<str>>) {
    let change = limit_change(asked.clone());
    (change.applied(TorrentLimits::default()), change.group.flatten())
}

fn permille(ratio: f64) -> u64 {
    (ratio.max(0.0) * 1000.0).round() as u64
}

/// The request cannot be done as it is.
pub(crate) fn invalid(message: impl Into<String>) -> OperatorError {
    OperatorError::new(ErrorCode::Invalid, message)
}

/// Not the operator's fault.
pub(crate) fn failed(error: impl Display) -> OperatorError {
    OperatorError::new(ErrorCode::Failed, error.to_string())
}

impl From<DeskError> for OperatorError {
    fn from(error: DeskError) -> OperatorError {
        let code = match &error {
            DeskError::Unknown { .. } => ErrorCode::NotFound,
            DeskError::Ambiguous { .. } => ErrorCode::Ambiguous,
            DeskError::Duplicate { .. } | DeskError::Refused { .. } => ErrorCode::Conflict,
            DeskError::Content { .. } | DeskError::Torrent { .. } | DeskError::NoGroup { .. } => ErrorCode::Invalid,
            DeskError::Catalogue { .. } | DeskError::Stopping => ErrorCode::Unavailable,
            DeskError::Engine { .. } => ErrorCode::Failed,
            DeskError::Busy => ErrorCode::Busy,
        };
        let text = error.to_string();
        let is_advised = matches!(code, ErrorCode::NotFound | ErrorCode::Ambiguous | ErrorCode::Busy);
        // These say what to do behind the last colon.
        match text.rsplit_once(": ").filter(|_| is_advised) {
            Some((message, hint)) => OperatorError::new(code, message).hint(hint),
            None => OperatorError::new(code, text),
        }
    }
}

pub(crate) fn peers(list: &PeerList) -> PeerPage {
    let row = |peer: &PeerReport| {
        let progress = f64::from(peer.have_pieces) / f64::from(peer.total_pieces.max(1));
        PeerRow {
            address: peer.address.to_string(),
            client: peer.client.clone(),
            direction: match peer.direction {
                mesh::Direction::Incoming => Direction::Incoming,
                mesh::Direction::Outgoing | mesh::Direction::WebSeed => Direction::Outgoing,
            },
            progress,
            upload_bytes_per_s: peer.upload_bytes_per_s,
            download_bytes_per_s: peer.download_bytes_per_s,
            uploaded_bytes: peer.sent_bytes,
            downloaded_bytes: peer.received_bytes,
            is_seed: peer.have_pieces == peer.total_pieces,
            is_interested: peer.is_interested,
            is_choked: peer.is_choked,
            is_interesting: peer.chokes_us || peer.download_bytes_per_s > 0,
            is_choking: peer.chokes_us,
            is_snubbed: peer.is_snubbed,
        }
    };
    let peers: Vec<PeerRow> = list.peers.iter().map(row).collect();
    PeerPage { total_count: peers.len() as u64 + list.left_out, peers }
}

pub(crate) fn trackers(lines: &[TrackerLine], v1: Option<InfoHash>) -> TrackerPage {
    let now_s = crate::clock::unix_s();
    let row = |line: &TrackerLine| TrackerRow {
        url: line.url.clone().unwrap_or_default(),
        tier: line.tier as u32,
        family: Some(if line.family == Family::V4 { "ipv4" } else { "ipv6" }.to_owned()),
        version: if v1 == Some(line.info_hash) { "v1" } else { "v2" }.to_owned(),
        error: line.error.clone(),
        last_success_at_s: line.succeeded_ago.map(|ago| now_s - ago.as_secs() as i64),
        next_announce_in_s: match line.activity {
            TrackerActivity::Waiting(wait) => Some(wait.as_secs()),
            TrackerActivity::Queued | TrackerActivity::Announcing => Some(0),
            TrackerActivity::GivenUp => None,
        },
        seed_count: line.seed_count.map(u64::from),
        leech_count: line.leech_count.map(u64::from),
    };
    TrackerPage { trackers: lines.iter().map(row).collect() }
}
