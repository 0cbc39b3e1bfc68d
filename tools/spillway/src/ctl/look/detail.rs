//! One torrent as people read it.

use api::operator::types::TorrentDetail;

use super::super::select::word;
use super::super::table::{count, field, limit, percent, period, rate, size};
use crate::date::utc;

/// Lines about a torrent.
pub(super) fn lines(torrent: &TorrentDetail) -> Vec<String> {
    let row = &torrent.row;
    let time = |at_s: i64| utc(at_s).unwrap_or_else(|| at_s.to_string());
    let mut lines = vec![field("id", &row.id.to_string()), field("name", &row.name), field("state", word(row.state))];
    let mut more = |name: &str, value: Option<String>| lines.extend(value.map(|value| field(name, &value)));
    more("error", row.error.clone());
    more("opens", row.opens_at_s.map(time));
    more("info-hash v1", row.info_hash_v1.clone());
    more("info-hash v2", row.info_hash_v2.clone());
    let noun = if torrent.file_count == 1 { "file" } else { "files" };
    more("size", Some(format!("{} in {} {noun}", size(row.size_bytes), count(torrent.file_count.into()))));
    more(
        "pieces",
        Some(format!("{} of {} bytes", count(torrent.piece_count.into()), count(torrent.piece_length_bytes.into()))),
    );
    more("private", torrent.is_private.then(|| "yes".to_owned()));
    more("content", Some(torrent.content_path.clone()));
    more("done", Some(percent(row.verified_bytes, row.wanted_bytes)));
    let uploaded = format!("{} (ratio {:.2}), {}", size(row.uploaded_bytes), row.ratio(), rate(row.upload_bytes_per_s));
    more("uploaded", Some(uploaded));
    more("downloaded", Some(format!("{}, {}", size(row.downloaded_bytes), rate(row.download_bytes_per_s))));
    more("peers", Some(count(row.peer_count)));
    more("origin", Some(row.origin.clone()));
    more("group", row.group.clone());
    let limits = format!(
        "upload {}, download {}",
        limit(torrent.upload_limit_bytes_per_s),
        limit(torrent.download_limit_bytes_per_s)
    );
    more("limits", Some(limits));
    more("stops at", torrent.seed_ratio_limit.map(|ratio| format!("ratio {ratio}")));
    more("stops after", torrent.seed_time_limit_s.map(|limit_s| format!("{} of seeding", period(limit_s))));
    more("seeded", Some(period(torrent.seeded_s)));
    more("added", Some(time(row.added_at_s)));
    more("completed", row.completed_at_s.map(time));
    more("first copy", torrent.first_full_copy_at_s.map(time));
    for (tier, urls) in torrent.tracker_tiers.iter().enumerate() {
        for url in urls {
            more(&format!("tracker {}", tier + 1), Some(url.clone()));
        }
    }
    more("magnet", Some(torrent.magnet.clone()));
    lines
}
