//! Pure torrent logic: the session with each peer, its request queue, who may be served, how fast. Bytes and time come
//! in as arguments, what must be done comes out; payload passes by. Sockets and files are for `shard` and `storage`.
#![forbid(unsafe_code)]

pub mod choker;
pub mod download;
pub mod gate;
mod hash_trees;
mod layer_fetch;
pub mod leech_choker;
pub mod limits;
mod metadata_fetch;
mod peer_list;
mod pex;
mod picker;
mod piece_set;
pub mod rate;
mod request_queue;
mod session;
mod sources;
mod super_seeder;
mod terms;

pub use choker::{ChokeChange, Choker, Slots};
pub use download::{
    Arrival, BanReason, Download, DownloadAction, DropCause, Incoming, OpenPieceStatus, PeerTraits, PieceVerdict,
    Progress, Selection,
};
pub use gate::{Gate, KeyError, Network, NetworkError};
pub use hash_trees::{HashAnswer, HashTrees};
pub use layer_fetch::{LayerAction, LayerFetch, LayerProgress};
pub use leech_choker::{Giving, LeechChoker};
pub use metadata_fetch::{METADATA_LIMIT_BYTES, MetadataAction, MetadataFetch, MetadataHashes, MetadataProgress};
pub use peer_list::{
    BANS_LIMIT, DIALS_PER_S, DialFailure, DialPace, FAILURES_LIMIT, HALF_OPEN_LIMIT, IP_LIMIT, Keep, Meeting,
    NETWORK_LIMIT, PEER_LIST_LIMIT, PeerIds, PeerList, PeerListCounts, PeerSource, STRANGERS_PART, may_tell,
    peer_priority, resolve_duplicate,
};
pub use pex::{PEX_INTERVAL, PEX_LEAVES_LIMIT, PEX_MEMBERS_LIMIT, PEX_MESSAGE_PEERS, PexHeard, PexLog, PexPeer};
pub use piece_set::PieceSet;
pub use rate::{RateEstimator, RateLimiter, RateLimits};
pub use request_queue::{Advance, QueueFull, RequestQueue};
pub use session::{Availability, Fault, Opening, Ours, Reaction, Session};
pub use sources::SourceFault;
pub use super_seeder::{
    PIECES_LIMIT as SUPER_SEED_PIECES_LIMIT, SuperSeedAction, SuperSeedEnd, SuperSeeder, SuperSeeding, dozes,
};
pub use terms::{FirstCopy, GroupLimits, Terms, TorrentLimits};
