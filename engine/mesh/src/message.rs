//! The closed list of what control says to shards and shards say to control. No message waits for a reply to a reply.

use crate::{PeerReport, ShardHistograms, TorrentCounters};
use hash::InfoHash;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// A torrent as control numbers it: never used twice in the life of one engine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TorrentId(pub u32);

/// Who told of a peer's address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PeerOrigin {
    /// A person, or a magnet link.
    Given,
    /// A tracker.
    Tracker,
    /// The DHT.
    Dht,
    /// A multicast on the local network (BEP 14).
    Lsd,
}

/// A torrent to fetch, for its home shard.
#[derive(Debug)]
pub struct Fetch<T, U, P> {
    /// Its number.
    pub id: TorrentId,
    /// Metainfo and content, as far as it is there.
    pub torrent: T,
    /// The files under way.
    pub partial: P,
    /// The pieces that are there, as on the wire: the highest bit of the first byte is piece 0.
    pub have: Box<[u8]>,
    /// The pieces that are wanted, in the same form.
    pub wanted: Box<[u8]>,
    /// Whether pieces are wanted in their order.
    pub sequential: bool,
    /// How it is uploaded.
    pub terms: U,
    /// Where its traffic is counted.
    pub counters: Arc<TorrentCounters>,
}

/// What control tells a shard. `T` is a torrent with its content, `U` what the operator says of it and `P` the files of
/// one that is being fetched; mesh passes them by.
#[derive(Debug)]
pub enum Command<T, U, P> {
    /// Serve this torrent from now on.
    Serve {
        /// Its number.
        id: TorrentId,
        /// Metainfo and content.
        torrent: T,
        /// How it is uploaded.
        terms: U,
        /// Where its traffic is counted.
        counters: Arc<TorrentCounters>,
    },
    /// Fetch this torrent from now on. A later `Serve` of the same number says that all of it is there.
    Fetch(Box<Fetch<T, U, P>>),
    /// Hand connections that name one of these info-hashes to the shard where the torrent is being fetched, until it is to be
    /// served here.
    Forward {
        /// Its number.
        id: TorrentId,
        /// Its names.
        info_hashes: Vec<InfoHash>,
        /// The home shard.
        home: usize,
    },
    /// These peers may have a torrent that is being fetched here.
    Peers {
        /// Its number.
        id: TorrentId,
        /// Who says so.
        origin: PeerOrigin,
        /// Where they listen.
        addresses: Vec<SocketAddr>,
    },
    /// Take up a connection, already made, to somebody who has a torrent that is being fetched here: a web seed's near end.
    Attach {
        /// The torrent's number.
        id: TorrentId,
        /// A stream socket.
        socket: OwnedFd,
        /// What stands for the address of the other side.
        address: SocketAddr,
    },
    /// Serve or fetch this torrent no longer and end its connections.
    Withdraw {
        /// Its number.
        id: TorrentId,
    },
    /// The operator has changed his mind about a torrent.
    SetTerms {
        /// Its number.
        id: TorrentId,
        /// How it is served and fetched from now on.
        terms: U,
    },
    /// Leave a torrent that is fetched here as it is, and have no connections for it, until it goes on.
    Hold {
        /// Its number.
        id: TorrentId,
        /// False: it goes on.
        held: bool,
    },
    /// How many connections this shard takes at most. Those that it has stay.
    SetConnections {
        /// The limit.
        limit: usize,
    },
    /// Report the peers of a torrent, as many as one message takes.
    ListPeers {
        /// Comes back with the report.
        ticket: u32,
        /// The torrent's number.
        id: TorrentId,
    },
    /// Let go of a torrent, unless a peer of it is connected: it comes again with a later `Serve`.
    Rest {
        /// Its number.
        id: TorrentId,
        /// Comes back with the answer.
        ticket: u32,
    },
    /// A torrent that was asked for cannot be had now: end the connections that wait for it.
    Refuse {
        /// Its number.
        id: TorrentId,
    },
    /// How many peers this shard may keep unchoked at once; `None` is without limit.
    SetSlots {
        /// This shard's part of the engine's slots.
        slots: Option<u32>,
    },
    /// Hand up to `count` peers that are being served to another shard, which carries less.
    Shed {
        /// The other shard.
        to: usize,
        /// How many.
        count: u32,
    },
    /// Report what the shard has measured so far.
    Measure {
        /// Comes back with the report.
        ticket: u32,
    },
    /// Accept nothing more, let what is queued go out for at most `grace`, then end.
    Stop {
        /// The longest wait for sends in flight.
        grace: Duration,
    },
}

/// What a shard tells control.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The torrent's content can no longer be served; the reason stands in what they share.
    TorrentFailed {
        /// Its number.
        id: TorrentId,
    },
    /// All that was wanted of a torrent is verified and written.
    Fetched {
        /// Its number.
        id: TorrentId,
    },
    /// The disk takes no more of a torrent that is being fetched; the shard tries again by itself.
    FetchPaused {
        /// Its number.
        id: TorrentId,
        /// What the operator should read: the path and what the system said.
        reason: String,
    },
    /// The disk takes it again.
    FetchResumed {
        /// Its number.
        id: TorrentId,
    },
    /// A peer has told where its node of the DHT is (BEP 5).
    DhtNode {
        /// Its own address, with the port that it told.
        address: SocketAddr,
    },
    /// Connections wait for a torrent that is at rest.
    Wanted {
        /// Its number.
        id: TorrentId,
    },
    /// What came of `Command::Rest`.
    Rested {
        /// The torrent's number.
        id: TorrentId,
        /// That of the command.
        ticket: u32,
        /// A peer of it is connected: it is still served here.
        is_kept: bool,
    },
    /// What the shard has measured since its start.
    Measured {
        /// That of the command.
        ticket: u32,
        /// A copy.
        histograms: Box<ShardHistograms>,
    },
    /// Peers of a torrent on this shard.
    Peers {
        /// That of the command.
        ticket: u32,
        /// Each of them, as far as there was room.
        peers: Vec<PeerReport>,
        /// How many more there are.
        left_out: u64,
    },
    /// The shard has ended all its connections and returns.
    Stopped {
        /// Which shard.
        shard: usize,
    },
    /// The shard cannot go on.
    ShardFailed {
        /// Which shard.
        shard: usize,
        /// What the operator should read.
        reason: String,
    },
}
