//! The form of `show` that people read.

use indicatif::{DecimalBytes, HumanCount};

use super::{ShownFile, ShownMagnet, ShownTorrent};
use crate::date::utc;

/// Lines about a torrent: what it says of itself, then its files.
pub(super) fn of_torrent(torrent: &ShownTorrent<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    lines.push(field("name", torrent.name));
    hashes(&mut lines, &torrent.info_hash_v1, &torrent.info_hash_v2);
    let files = torrent.files.iter().filter(|file| !file.pad).count();
    let noun = if files == 1 { "file" } else { "files" };
    lines.push(field("size", &format!("{} in {} {noun}", size(torrent.total_size), HumanCount(files as u64))));
    let pieces = HumanCount(torrent.piece_count.into());
    lines.push(field("pieces", &format!("{pieces} of {}", piece_length(torrent.piece_length))));
    if torrent.private {
        lines.push(field("private", "yes"));
    }
    for (tier, trackers) in torrent.trackers.iter().enumerate() {
        lines.extend(trackers.iter().map(|tracker| field(&format!("tracker {}", tier + 1), tracker)));
    }
    lines.extend(torrent.web_seeds.iter().map(|url| field("web seed", url)));
    lines.extend(torrent.http_seeds.iter().map(|url| field("HTTP seed", url)));
    let noted = [("comment", torrent.comment), ("source", torrent.source), ("created by", torrent.created_by)];
    lines.extend(noted.iter().filter_map(|(name, value)| value.map(|value| field(name, value))));
    if let Some(seconds) = torrent.creation_date {
        lines.push(field("created", &utc(seconds).unwrap_or_else(|| seconds.to_string())));
    }
    lines.push(field("magnet", &torrent.magnet));
    lines.push("files".to_owned());
    lines.extend(torrent.files.iter().filter(|file| !file.pad).map(file));
    lines
}

/// Lines about a magnet link.
pub(super) fn of_magnet(magnet: &ShownMagnet<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(magnet.name.map(|name| field("name", name)));
    hashes(&mut lines, &magnet.info_hash_v1, &magnet.info_hash_v2);
    lines.extend(magnet.total_size.map(|bytes| field("size", &size(bytes))));
    lines.extend(magnet.trackers.iter().map(|[tracker]| field("tracker", tracker)));
    lines.extend(magnet.web_seeds.iter().map(|url| field("web seed", url)));
    lines.extend(magnet.peers.iter().map(|peer| field("peer", peer)));
    lines.extend(magnet.select_only.iter().map(|[first, last]| field("only files", &format!("{first} to {last}"))));
    lines
}

fn hashes(lines: &mut Vec<String>, v1: &Option<String>, v2: &Option<String>) {
    lines.extend(v1.as_ref().map(|hash| field("info-hash v1", hash)));
    lines.extend(v2.as_ref().map(|hash| field("info-hash v2", hash)));
}

fn field(name: &str, value: &str) -> String {
    format!("{name:<12}  {value}")
}

fn size(bytes: u64) -> String {
    format!("{} ({} bytes)", DecimalBytes(bytes), HumanCount(bytes))
}

/// Piece lengths are powers of two but for odd old torrents.
fn piece_length(bytes: u32) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

fn file(file: &ShownFile) -> String {
    let link = file.symlink_target.as_ref().map(|target| format!(" -> {target}")).unwrap_or_default();
    let executable = if file.executable { " (executable)" } else { "" };
    format!("{:>17}  {}{link}{executable}", HumanCount(file.length).to_string(), file.path)
}
