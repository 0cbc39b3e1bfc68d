//! The service's figures as people read them.

use api::operator::types::Stats;

use super::super::client::Client;
use super::super::table::{count, field, limit, period, rate, size};
use crate::failure::Failure;
use crate::output;

pub(in crate::ctl) fn stats(client: &mut Client, json: bool) -> Result<(), Failure> {
    let stats: Stats = client.get("/v1/stats")?;
    if json { output::json(&stats) } else { output::lines(&lines(&stats)) }
}

fn lines(stats: &Stats) -> Vec<String> {
    let total: u64 = stats.torrents.values().sum();
    let states: Vec<String> =
        stats.torrents.iter().map(|(state, number)| format!("{} {state}", count(*number))).collect();
    let mut lines: Vec<String> = stats.problems.iter().map(|problem| field("problem", problem)).collect();
    lines.push(field("up for", &period(stats.uptime_s)));
    let states = if states.is_empty() { String::new() } else { format!(": {}", states.join(", ")) };
    lines.push(field("torrents", &format!("{}{states}", count(total))));
    lines.push(field("published", &count(stats.published_count)));
    let (peers, interested, unchoked) = (stats.peer_count, stats.interested_count, stats.unchoked_count);
    let peers = format!("{}, {} interested, {} served", count(peers), count(interested), count(unchoked));
    lines.push(field("peers", &peers));
    let totals = |rate_now, limit_now, since_start, ever| {
        let (now, most) = (rate(rate_now), limit(limit_now));
        format!("{now} (limit {most}), {} since the start, {} ever", size(since_start), size(ever))
    };
    let up = totals(
        stats.upload_bytes_per_s,
        stats.upload_limit_bytes_per_s,
        stats.uploaded_bytes,
        stats.uploaded_ever_bytes,
    );
    let down = totals(
        stats.download_bytes_per_s,
        stats.download_limit_bytes_per_s,
        stats.downloaded_bytes,
        stats.downloaded_ever_bytes,
    );
    lines.extend([field("upload", &up), field("download", &down), field("disk read", &size(stats.disk_read_bytes))]);
    for (index, shard) in stats.shards.iter().enumerate() {
        let (connections, late) = (count(shard.connection_count), count(shard.late_turn_count));
        let text = format!("{connections} connections, {} sent, {late} late turns", size(shard.uploaded_bytes));
        lines.push(field(&format!("shard {index}"), &text));
    }
    if let Some(tracker) = &stats.tracker {
        let (torrents, peers) = (count(tracker.torrent_count), count(tracker.peer_count));
        let (announces, refused) = (count(tracker.announce_count), count(tracker.refused_count));
        let text = format!("{torrents} torrents, {peers} peers, {announces} announces, {refused} refused");
        lines.push(field("tracker", &text));
    }
    lines.extend(stats.dht_node_count.map(|nodes| field("DHT", &format!("{} nodes", count(nodes)))));
    for (name, counts) in [("HTTP", &stats.http), ("dropped", &stats.dropped)] {
        let counts: Vec<String> = counts
            .iter()
            .filter(|(_, number)| **number > 0)
            .map(|(key, number)| format!("{key} {}", count(*number)))
            .collect();
        if !counts.is_empty() {
            lines.push(field(name, &counts.join(", ")));
        }
    }
    lines
}
