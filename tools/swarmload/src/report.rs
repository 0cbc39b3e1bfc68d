//! The results: as one JSON object for programs, as lines for people.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::args::{Args, Order};
use crate::run::{Findings, Sample};
use crate::tally::Tally;

/// All results. Latencies are in microseconds, times to connect and to unchoke in milliseconds.
#[derive(Serialize)]
pub(crate) struct Report {
    version: &'static str,
    target: String,
    asked: Asked,
    connections: Connections,
    duration_s: f64,
    pub(crate) bytes: u64,
    blocks: u64,
    pub(crate) gbit_s: f64,
    connect_ms: Spread,
    unchoke_ms: Spread,
    all_unchoked_ms: Option<f64>,
    depth: Depth,
    latency_us: Spread,
    schedule_latency_us: Option<Spread>,
    unanswered: Unanswered,
    fairness: Fairness,
    errors: BTreeMap<&'static str, u64>,
    events: BTreeMap<&'static str, u64>,
    verified: Verified,
    metadata: Metadata,
    load: Load,
    seeder: Option<SeederReport>,
    timeline: Vec<Point>,
}

#[derive(Serialize)]
struct Asked {
    torrent: String,
    connections: u32,
    depth: u32,
    duration_s: f64,
    warm_up_s: f64,
    unchoke_wait_s: f64,
    ramp_s: f64,
    order: Order,
    rate_bytes_s: Option<u64>,
    burst: u32,
    slow: u32,
    slow_rate_bytes_s: Option<u64>,
    churn: u32,
    metadata: u32,
    verify_percent: u32,
    threads: u32,
    cores: Option<String>,
}

#[derive(Serialize)]
struct Connections {
    asked: u32,
    connected: u64,
    unchoked: u64,
    lost: u64,
    churned: u64,
    unchoked_at_start: u64,
    measured_after_s: f64,
}

#[derive(Serialize)]
struct Spread {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
    mean: f64,
    count: u64,
}

/// Open requests on a connection: what was asked for, and what seeders' limits and the torrent's size left of it.
#[derive(Serialize)]
struct Depth {
    asked: u32,
    min: Option<u32>,
    median: Option<u32>,
}

/// What had no answer when the time was over, or never will have: percentiles are of answers alone.
#[derive(Serialize)]
struct Unanswered {
    blocks: u64,
    oldest_us: f64,
    abandoned_blocks: u64,
}

#[derive(Serialize)]
struct Fairness {
    jain: Option<f64>,
    min_bytes: u64,
    median_bytes: u64,
    max_bytes: u64,
    count: usize,
}

#[derive(Serialize)]
struct Verified {
    pieces: u64,
    failed: u64,
    unknown: u64,
}

#[derive(Serialize)]
struct Metadata {
    fetched: u64,
    failed: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Load {
    cpu_s: f64,
    cpu_s_per_gb: Option<f64>,
}

#[derive(Serialize)]
struct SeederReport {
    pid: u32,
    cpu_s: f64,
    user_s: f64,
    system_s: f64,
    cpu_s_per_gb: Option<f64>,
    anonymous_bytes: u64,
    pss_bytes: u64,
}

#[derive(Serialize)]
struct Point {
    t_s: f64,
    bytes: u64,
}

/// The unit of latencies in the report.
pub(crate) const MICROSECOND_NS: f64 = 1e3;
const MILLISECOND_NS: f64 = 1e6;

impl Report {
    /// Of what was asked for and what was found.
    pub(crate) fn new(args: &Args, findings: &Findings) -> Report {
        let tally = &findings.tally;
        let per_gb = |cpu_s: f64| (tally.bytes > 0).then(|| cpu_s / (tally.bytes as f64 / 1e9));
        let schedule = args.rate.map(|_| Spread::of(&tally.schedule_latency, MICROSECOND_NS));
        Report {
            version: env!("CARGO_PKG_VERSION"),
            target: args.target.to_string(),
            asked: Asked::of(args),
            connections: Connections {
                asked: args.connections,
                connected: findings.connected,
                unchoked: findings.unchoked,
                lost: findings.lost,
                churned: tally.churned,
                unchoked_at_start: findings.unchoked_at_start,
                measured_after_s: findings.measured_after_s,
            },
            duration_s: findings.duration_s,
            bytes: tally.bytes,
            blocks: tally.blocks,
            gbit_s: tally.bytes as f64 * 8e-9 / findings.duration_s,
            connect_ms: Spread::of(&tally.connect, MILLISECOND_NS),
            unchoke_ms: Spread::of(&tally.unchoke, MILLISECOND_NS),
            all_unchoked_ms: all_unchoked_ns(args, tally).map(|time_ns| time_ns as f64 / MILLISECOND_NS),
            depth: Depth::of(args.depth, &tally.depths),
            latency_us: Spread::of(&tally.latency, MICROSECOND_NS),
            schedule_latency_us: schedule,
            unanswered: Unanswered {
                blocks: tally.unanswered_blocks,
                oldest_us: tally.unanswered_oldest_ns as f64 / MICROSECOND_NS,
                abandoned_blocks: tally.abandoned_blocks,
            },
            fairness: Fairness::of(&tally.shares),
            errors: errors(tally),
            events: events(tally),
            verified: Verified {
                pieces: tally.pieces_good + tally.pieces_bad,
                failed: tally.pieces_bad,
                unknown: tally.pieces_unknown,
            },
            metadata: Metadata {
                fetched: tally.metadata_good,
                failed: tally.metadata_bad,
                bytes: tally.metadata_bytes,
            },
            load: Load { cpu_s: findings.load_cpu_s, cpu_s_per_gb: per_gb(findings.load_cpu_s) },
            seeder: findings.seeder.as_ref().map(|seeder| SeederReport {
                pid: seeder.pid,
                cpu_s: seeder.cpu_s,
                user_s: seeder.user_s,
                system_s: seeder.system_s,
                cpu_s_per_gb: per_gb(seeder.cpu_s),
                anonymous_bytes: seeder.memory.anonymous_bytes,
                pss_bytes: seeder.memory.pss_bytes,
            }),
            timeline: findings
                .timeline
                .iter()
                .map(|Sample { t_s, bytes }| Point { t_s: *t_s, bytes: *bytes })
                .collect(),
        }
    }

    /// One line that says what was loaded how.
    pub(crate) fn title(&self) -> String {
        let offered = self.asked.rate_bytes_s.map(|rate| format!(", offered {:.2} Gbit/s", rate as f64 * 8e-9));
        format!(
            "{}: {} peers, {} requests each{}: {:.2} Gbit/s",
            self.target,
            self.asked.connections,
            self.asked.depth,
            offered.unwrap_or_default(),
            self.gbit_s
        )
    }

    fn all_unchoked(&self) -> String {
        self.all_unchoked_ms.map_or_else(|| "; not all".to_owned(), |time_ms| format!("; all after {time_ms:.1} ms"))
    }

    /// The lines for people.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![
            format!(
                "{:.2} Gbit/s over {:.1} s: {:.3} GB in {} blocks",
                self.gbit_s,
                self.duration_s,
                self.bytes as f64 / 1e9,
                self.blocks
            ),
            format!(
                "connections: {} asked for, {} connected, {} unchoked, {} lost; measured from {:.1} s on with {} unchoked",
                self.connections.asked,
                self.connections.connected,
                self.connections.unchoked,
                self.connections.lost,
                self.connections.measured_after_s,
                self.connections.unchoked_at_start
            ),
            self.unchoke_ms.line("time to unchoke", "ms") + &self.all_unchoked(),
        ];
        lines.extend(self.depth.line());
        lines.push(self.latency_us.line("block latency", "us"));
        lines.extend(self.schedule_latency_us.as_ref().map(|spread| spread.line("against the schedule", "us")));
        lines.push(format!(
            "unanswered at the end: {} blocks, the oldest for {:.1} us; abandoned: {} blocks",
            self.unanswered.blocks, self.unanswered.oldest_us, self.unanswered.abandoned_blocks
        ));
        if let Some(jain) = self.fairness.jain {
            lines.push(format!(
                "fairness: Jain {jain:.4}; each peer {:.1} to {:.1} MB, median {:.1}",
                self.fairness.min_bytes as f64 / 1e6,
                self.fairness.max_bytes as f64 / 1e6,
                self.fairness.median_bytes as f64 / 1e6
            ));
        }
        if let Some(seeder) = &self.seeder {
            lines.push(format!(
                "seeder: {:.3} CPU s ({:.2} user, {:.2} system), {}; {:.1} MiB anonymous, {:.1} MiB PSS",
                seeder.cpu_s,
                seeder.user_s,
                seeder.system_s,
                rate(seeder.cpu_s_per_gb),
                mebibytes(seeder.anonymous_bytes),
                mebibytes(seeder.pss_bytes)
            ));
        }
        lines.push(format!("load: {:.3} CPU s, {}", self.load.cpu_s, rate(self.load.cpu_s_per_gb)));
        if self.verified.pieces + self.verified.unknown > 0 {
            lines.push(format!("verified: {} pieces, {} failed", self.verified.pieces, self.verified.failed));
        }
        if self.metadata.fetched + self.metadata.failed > 0 {
            lines.push(format!("metadata: {} fetched, {} failed", self.metadata.fetched, self.metadata.failed));
        }
        let counts = self.errors.iter().chain(&self.events).map(|(kind, count)| format!("{kind} {count}"));
        let counts: Vec<String> = counts.collect();
        if !counts.is_empty() {
            lines.push(format!("counted: {}", counts.join(", ")));
        }
        lines.join("\n")
    }
}

/// From the first dial to the last first unchoke, if every connection came to it.
fn all_unchoked_ns(args: &Args, tally: &Tally) -> Option<u64> {
    let is_all = args.connections > 0 && tally.first_unchokes == u64::from(args.connections);
    tally.first_dial_ns.filter(|_| is_all).map(|from_ns| tally.last_first_unchoke_ns.saturating_sub(from_ns))
}

fn rate(cpu_s_per_gb: Option<f64>) -> String {
    cpu_s_per_gb.map_or_else(|| "nothing came".to_owned(), |rate| format!("{rate:.4} CPU s/GB"))
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Asked {
    fn of(args: &Args) -> Asked {
        Asked {
            torrent: args.torrent.display().to_string(),
            connections: args.connections,
            depth: args.depth,
            duration_s: args.duration.as_secs_f64(),
            warm_up_s: args.warm_up.as_secs_f64(),
            unchoke_wait_s: args.unchoke_wait.as_secs_f64(),
            ramp_s: args.ramp.as_secs_f64(),
            order: args.order,
            rate_bytes_s: args.rate,
            burst: args.burst,
            slow: args.slow.map_or(0, |slow| slow.count),
            slow_rate_bytes_s: args.slow.map(|slow| slow.rate_bytes),
            churn: args.churn,
            metadata: args.metadata,
            verify_percent: args.verify,
            threads: args.threads,
            cores: args.cores.clone(),
        }
    }
}

impl Spread {
    fn of(histogram: &Histogram<u64>, unit_ns: f64) -> Spread {
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / unit_ns;
        Spread {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / unit_ns,
            mean: histogram.mean() / unit_ns,
            count: histogram.len(),
        }
    }

    fn line(&self, what: &str, unit: &str) -> String {
        format!(
            "{what}: p50 {:.1} {unit}, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1} ({} counted)",
            self.p50, self.p90, self.p99, self.p999, self.max, self.count
        )
    }
}

impl Depth {
    fn of(asked: u32, depths: &[u32]) -> Depth {
        let mut sorted = depths.to_vec();
        sorted.sort_unstable();
        Depth { asked, min: sorted.first().copied(), median: sorted.get(sorted.len() / 2).copied() }
    }

    /// Only where there was less than was asked for.
    fn line(&self) -> Option<String> {
        let (asked, min, median) = (self.asked, self.min?, self.median?);
        (min < asked).then(|| {
            format!("depth: {asked} requests asked for, at least {min} and in the median {median} allowed by the seeder or the torrent")
        })
    }
}

impl Fairness {
    /// Jain's index: the square of the sum over count times the sum of squares; 1 is even, 1/count is one for all.
    fn of(shares: &[u64]) -> Fairness {
        let mut sorted = shares.to_vec();
        sorted.sort_unstable();
        let sum: f64 = sorted.iter().map(|bytes| *bytes as f64).sum();
        let squares: f64 = sorted.iter().map(|bytes| (*bytes as f64).powi(2)).sum();
        Fairness {
            jain: (squares > 0.0).then(|| sum * sum / (sorted.len() as f64 * squares)),
            min_bytes: sorted.first().copied().unwrap_or(0),
            median_bytes: sorted.get(sorted.len() / 2).copied().unwrap_or(0),
            max_bytes: sorted.last().copied().unwrap_or(0),
            count: sorted.len(),
        }
    }
}

/// What is a fault: connections that ended by themselves, wrong bytes.
fn errors(tally: &Tally) -> BTreeMap<&'static str, u64> {
    let mut errors = tally.errors.clone();
    errors.extend([("hash-mismatch", tally.pieces_bad), ("metadata-mismatch", tally.metadata_bad)]);
    errors.retain(|_, count| *count > 0);
    errors
}

/// What is worth knowing and no fault, or not the seeder's.
fn events(tally: &Tally) -> BTreeMap<&'static str, u64> {
    let mut events = BTreeMap::from([
        ("choked", tally.odd.choked),
        ("rejected", tally.odd.rejected),
        ("reordered", tally.odd.reordered),
        ("unasked", tally.odd.unasked),
        ("resynchronised", tally.odd.resynchronised),
        ("presumed-choked", tally.odd.presumed),
        ("schedule-dropped", tally.schedule_dropped),
    ]);
    events.retain(|_, count| *count > 0);
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_one_if_even_and_the_share_of_the_served_if_not() {
        let even = Fairness::of(&[5, 5, 5, 5]);
        assert_eq!((even.jain, even.min_bytes, even.median_bytes, even.max_bytes), (Some(1.0), 5, 5, 5));
        assert_eq!(Fairness::of(&[9, 0, 0, 0]).jain, Some(0.25));
        assert_eq!(Fairness::of(&[]).jain, None);
    }

    #[test]
    fn a_depth_that_was_cut_is_said_and_one_that_was_not_is_silent() {
        let cut = Depth::of(64, &[64, 16, 32]);
        assert_eq!((cut.min, cut.median), (Some(16), Some(32)));
        assert!(cut.line().is_some_and(|line| line.contains("64") && line.contains("16") && line.contains("32")));
        assert_eq!(Depth::of(64, &[64, 64]).line(), None);
        assert_eq!(Depth::of(64, &[]).line(), None);
    }
}
