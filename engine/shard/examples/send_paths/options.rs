//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A minimal BitTorrent seeder of one complete torrent, for comparing ways to receive and send.
#[derive(clap::Parser, Debug)]
#[command(name = "send_paths")]
pub(crate) struct Options {
    /// How requests come in and blocks go out.
    #[arg(long, value_enum)]
    pub(crate) path: Path,
    /// The torrent: one file.
    #[arg(long)]
    pub(crate) torrent: PathBuf,
    /// The folder that its file lies in.
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Where to listen; port 0 picks one.
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// The core to stay on.
    #[arg(long)]
    pub(crate) core: Option<usize>,
    /// After a sleep, wait this long for more requests before the first is read (microseconds).
    #[arg(long, default_value_t = 0)]
    pub(crate) turn_delay_us: u32,
    /// Before a sleep, look for events this long without sleeping (microseconds; epoll paths).
    #[arg(long, default_value_t = 0)]
    pub(crate) spin_us: u32,
    /// Let the kernel poll the card this long before a sleep (microseconds; SO_BUSY_POLL and epoll's, or the ring's NAPI).
    #[arg(long, default_value_t = 0)]
    pub(crate) busy_poll_us: u32,
    /// Register sockets with the ring (ring paths).
    #[arg(long)]
    pub(crate) registered_files: bool,
    /// Make the ring without SINGLE_ISSUER and DEFER_TASKRUN (ring paths).
    #[arg(long)]
    pub(crate) plain_ring: bool,
}

/// The ways.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Path {
    /// Edge-triggered epoll, recv, one sendmsg of up to 64 blocks from the map: the floor.
    EpollSendmsg,
    /// The same, but one sendmsg for each block.
    EpollSendmsgEach,
    /// The same, but preadv2(RWF_NOWAIT) into a buffer and one send of it.
    EpollNowaitCopy,
    /// The same, but sendmsg with MSG_ZEROCOPY, and its completions from the error queue.
    EpollMsgZerocopy,
    /// The old way: a header that waits, then sendfile, for each block.
    EpollSendfile,
    /// The same, corked for the turn, so that blocks share packets.
    EpollSendfileCorked,
    /// One ring: a receive and a sendmsg operation at a time for each peer.
    RingPoll,
    /// One ring: multishot receives into a ring of buffers, sendmsg operations.
    RingMultishot,
    /// The same, but SENDMSG_ZC operations.
    RingSendZc,
}
