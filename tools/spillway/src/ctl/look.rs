//! What is only looked at: torrents, one in detail, peers, trackers, files, the service's figures.

mod detail;
mod stats;

use api::operator::types::{
    Direction, FilePage, PeerPage, PeerRow, TorrentDetail, TorrentRef, TorrentRow, TrackerPage, TrackerRow,
};
use clap::ValueEnum;

use super::client::{Client, torrent_path};
use super::select::{Filter, word};
use super::table::{Align, count, lines, percent, period, rate, size};
use crate::failure::Failure;
use crate::output;

pub(super) use stats::stats;

/// List torrents
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: Filter,

    /// By what
    #[arg(long, value_enum, value_name = "KEY", default_value_t = Sort::Id)]
    sort: Sort,

    /// The other way round
    #[arg(long)]
    reverse: bool,

    /// The first so many
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
}

/// By what torrents are sorted. Figures begin with the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    Id,
    Name,
    State,
    Size,
    Upload,
    Download,
    Uploaded,
    Ratio,
    Peers,
    Added,
}

/// Show all about a torrent
#[derive(Debug, clap::Args)]
pub(super) struct OneArgs {
    #[command(flatten)]
    one: One,
}

/// List the peers of a torrent
#[derive(Debug, clap::Args)]
pub(super) struct PeersArgs {
    #[command(flatten)]
    one: One,
}

/// List the trackers of a torrent
#[derive(Debug, clap::Args)]
pub(super) struct TrackersArgs {
    #[command(flatten)]
    one: One,
}

/// List the files of a torrent
#[derive(Debug, clap::Args)]
pub(super) struct FilesArgs {
    #[command(flatten)]
    one: One,
}

#[derive(Debug, clap::Args)]
struct One {
    /// The torrent: its number, an info-hash or its first six or more digits, or its exact name
    #[arg(value_name = "TORRENT")]
    torrent: String,
}

impl One {
    fn path(&self, rest: &str) -> String {
        torrent_path(&TorrentRef(self.torrent.clone()), rest)
    }
}

pub(super) fn list(client: &mut Client, args: &ListArgs, json: bool) -> Result<(), Failure> {
    let mut page = args.filter.fetch(client)?;
    sort(&mut page.torrents, args.sort, args.reverse);
    page.torrents.truncate(args.limit.unwrap_or(usize::MAX));
    if json {
        return output::json(&page);
    }
    let columns = [
        ("ID", Align::Right),
        ("STATE", Align::Left),
        ("SIZE", Align::Right),
        ("DONE", Align::Right),
        ("UP", Align::Right),
        ("DOWN", Align::Right),
        ("UPLOADED", Align::Right),
        ("RATIO", Align::Right),
        ("PEERS", Align::Right),
        ("NAME", Align::Left),
    ];
    let row = |row: &TorrentRow| {
        vec![
            row.id.to_string(),
            word(row.state).to_owned(),
            size(row.size_bytes),
            percent(row.verified_bytes, row.wanted_bytes),
            rate(row.upload_bytes_per_s),
            rate(row.download_bytes_per_s),
            size(row.uploaded_bytes),
            format!("{:.2}", row.ratio()),
            count(row.peer_count),
            row.error.as_ref().map_or_else(|| row.name.clone(), |error| format!("{}: {error}", row.name)),
        ]
    };
    output::lines(&lines(&columns, &page.torrents.iter().map(row).collect::<Vec<_>>()))
}

fn sort(rows: &mut [TorrentRow], by: Sort, reverse: bool) {
    rows.sort_by(|a, b| {
        let order = match by {
            Sort::Id => a.id.cmp(&b.id),
            Sort::Name => a.name.cmp(&b.name),
            Sort::State => word(a.state).cmp(word(b.state)),
            Sort::Size => b.size_bytes.cmp(&a.size_bytes),
            Sort::Upload => b.upload_bytes_per_s.cmp(&a.upload_bytes_per_s),
            Sort::Download => b.download_bytes_per_s.cmp(&a.download_bytes_per_s),
            Sort::Uploaded => b.uploaded_bytes.cmp(&a.uploaded_bytes),
            Sort::Ratio => b.ratio().total_cmp(&a.ratio()),
            Sort::Peers => b.peer_count.cmp(&a.peer_count),
            Sort::Added => b.added_at_s.cmp(&a.added_at_s),
        };
        let order = order.then_with(|| a.id.cmp(&b.id));
        if reverse { order.reverse() } else { order }
    });
}

pub(super) fn show(client: &mut Client, args: &OneArgs, json: bool) -> Result<(), Failure> {
    let torrent: TorrentDetail = client.get(&args.one.path(""))?;
    if json { output::json(&torrent) } else { output::lines(&detail::lines(&torrent)) }
}

pub(super) fn peers(client: &mut Client, args: &PeersArgs, json: bool) -> Result<(), Failure> {
    let page: PeerPage = client.get(&args.one.path("/peers"))?;
    if json {
        return output::json(&page);
    }
    let columns = [
        ("ADDRESS", Align::Left),
        ("DONE", Align::Right),
        ("UP", Align::Right),
        ("DOWN", Align::Right),
        ("UPLOADED", Align::Right),
        ("DOWNLOADED", Align::Right),
        ("FLAGS", Align::Left),
        ("CLIENT", Align::Left),
    ];
    let row = |peer: &PeerRow| {
        vec![
            peer.address.clone(),
            format!("{:.0}%", (peer.progress * 100.0).floor()),
            rate(peer.upload_bytes_per_s),
            rate(peer.download_bytes_per_s),
            size(peer.uploaded_bytes),
            size(peer.downloaded_bytes),
            flags(peer),
            peer.client.clone(),
        ]
    };
    let mut shown = lines(&columns, &page.peers.iter().map(row).collect::<Vec<_>>());
    let left_out = page.total_count.saturating_sub(page.peers.len() as u64);
    if left_out > 0 {
        shown.push(format!("and {} more", count(left_out)));
    }
    output::lines(&shown)
}

/// What goes on between us, in words.
fn flags(peer: &PeerRow) -> String {
    let direction = match peer.direction {
        Direction::Incoming => "in",
        Direction::Outgoing => "out",
    };
    let served = match (peer.is_interested, peer.is_choked) {
        (true, false) => Some("served"),
        (true, true) => Some("waiting"),
        (false, _) => None,
    };
    let serving = match (peer.is_interesting, peer.is_choking) {
        (true, false) => Some("serving"),
        (true, true) => Some("choking"),
        (false, _) => None,
    };
    let snubbed = peer.is_snubbed.then_some("snubbed");
    let seed = peer.is_seed.then_some("seed");
    [Some(direction), seed, served, serving, snubbed].into_iter().flatten().collect::<Vec<_>>().join(",")
}

pub(super) fn trackers(client: &mut Client, args: &TrackersArgs, json: bool) -> Result<(), Failure> {
    let page: TrackerPage = client.get(&args.one.path("/trackers"))?;
    if json {
        return output::json(&page);
    }
    let columns = [
        ("TIER", Align::Right),
        ("FAMILY", Align::Left),
        ("HASH", Align::Left),
        ("SEEDS", Align::Right),
        ("LEECHES", Align::Right),
        ("NEXT", Align::Right),
        ("URL", Align::Left),
    ];
    let dash = || "-".to_owned();
    let row = |tracker: &TrackerRow| {
        let url = &tracker.url;
        vec![
            tracker.tier.to_string(),
            tracker.family.clone().unwrap_or_else(dash),
            tracker.version.clone(),
            tracker.seed_count.map_or_else(dash, count),
            tracker.leech_count.map_or_else(dash, count),
            tracker.next_announce_in_s.map_or_else(dash, period),
            tracker.error.as_ref().map_or_else(|| url.clone(), |error| format!("{url}: {error}")),
        ]
    };
    output::lines(&lines(&columns, &page.trackers.iter().map(row).collect::<Vec<_>>()))
}

pub(super) fn files(client: &mut Client, args: &FilesArgs, json: bool) -> Result<(), Failure> {
    let page: FilePage = client.get(&args.one.path("/files"))?;
    if json {
        return output::json(&page);
    }
    let columns = [("SIZE", Align::Right), ("WANTED", Align::Left), ("PATH", Align::Left)];
    let wanted = |is_wanted| if is_wanted { "yes" } else { "no" };
    let row = |file: &api::operator::types::FileRow| {
        vec![size(file.size_bytes), wanted(file.is_wanted).to_owned(), file.path.clone()]
    };
    output::lines(&lines(&columns, &page.files.iter().map(row).collect::<Vec<_>>()))
}
