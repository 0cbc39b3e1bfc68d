//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde::Serialize;

use crate::quantity::{SlowReaders, parse_duration, parse_rate, parse_share, parse_slow};
use crate::sources::Sources;

/// Load a BitTorrent seeder with many peers at once and say what it gave and what it cost.
///
/// Each connection keeps --depth requests of 16 KiB open (a closed loop), or all together ask at --rate (an open loop, where
/// latency is also counted from when a request should have been sent). Payload that is not verified is dropped in the
/// kernel, so that the load costs a fraction of the seeder.
///
/// Measuring begins --warm-up after the last connection was made, and not before all are unchoked; for the latter it waits
/// --unchoke-wait longer at most. Both numbers are reported. GB are 10^9 bytes of payload.
///
/// A connection's time to unchoke counts from when --ramp allowed it to be dialled, so that waiting for its turn counts too (256
/// connects are under way at once in a thread); the time until all are unchoked counts from the first dial.
///
/// The exit code is 0 if the run was carried out, whatever it found, and 1 if it could not be.
#[derive(Debug, Parser)]
#[command(name = "swarmload", version, max_term_width = 100)]
pub(crate) struct Args {
    /// The seeder's address and port
    #[arg(value_name = "ADDR:PORT")]
    pub(crate) target: SocketAddr,

    /// The torrent file that the seeder serves
    #[arg(long, value_name = "FILE")]
    pub(crate) torrent: PathBuf,

    /// Peers that download at full speed
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) connections: u32,

    /// Open requests of 16 KiB on each connection (fewer if the seeder says that it holds fewer; what it was is reported)
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub(crate) depth: u32,

    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) duration: Duration,

    /// How long to load before measuring, counted from the last connect
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub(crate) warm_up: Duration,

    /// How much longer than that to wait until all are unchoked
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) unchoke_wait: Duration,

    /// Over how long to spread the connects
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
    pub(crate) ramp: Duration,

    /// Local addresses: a list of addresses and ranges such as 127.2.0.0/16, or auto: towards loopback IPv4 one for each
    /// connection, else (IPv6 too) the one that the system chooses, which a seeder's limit for an address may meet
    #[arg(long, value_name = "LIST", default_value = "auto")]
    pub(crate) sources: Sources,

    /// In which order each connection asks for pieces
    #[arg(long, value_enum, default_value_t = Order::Random)]
    pub(crate) order: Order,

    /// Offer this much load over all connections, whether answers come or not (an open loop), such as 2Gbit/s
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) rate: Option<u64>,

    /// Blocks that a connection asks for at once in an open loop
    #[arg(long, value_name = "N", default_value_t = 1, requires = "rate", value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub(crate) burst: u32,

    /// More connections that read slowly, such as 50:100kB/s each
    #[arg(long, value_name = "N:RATE", value_parser = parse_slow)]
    pub(crate) slow: Option<SlowReaders>,

    /// Connections to close and make anew each second
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) churn: u32,

    /// More connections that come to fetch the metadata (BEP 9), check it, and come again
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) metadata: u32,

    /// Which share of the connections checks every piece that it downloads: none, all, or a percentage
    #[arg(long, value_name = "SHARE", default_value = "none", value_parser = parse_share)]
    pub(crate) verify: u32,

    /// The seeder's process, to report its processor time and memory
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,

    /// Threads of the load
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) threads: u32,

    /// Cores for the load's threads, such as 1 or 2,4-7
    #[arg(long, value_name = "LIST")]
    pub(crate) cores: Option<String>,

    /// Write the results as JSON; - is stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write the latency percentiles, in microseconds, as HdrHistogram's text (in an open loop against the schedule)
    #[arg(long, value_name = "FILE")]
    pub(crate) hgrm: Option<PathBuf>,

    /// Draw latency by percentile and throughput over time
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,

    /// No live line
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// In which order a connection asks for pieces; within a piece from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// Every piece once, shuffled, then again
    Random,
    /// Each connection from a place of its own to the end and round
    Sequential,
}
