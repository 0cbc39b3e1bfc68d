//! A node of the Mainline DHT: KRPC messages (BEP 5), both families with a table each (BEP 32), node ids that belong to
//! an address (BEP 42), read-only nodes (BEP 43), lookups, announces, and the peers that others announce to us.
//!
//! Pure: datagrams and time come in as arguments, randomness as a seed, datagrams and events are polled out. Sockets,
//! names, the state's file and the schedule of announces live in `control`.
#![forbid(unsafe_code)]

mod address;
mod answer_limit;
mod bucket;
mod external_address;
mod krpc;
pub mod limits;
mod lookup;
mod node;
mod node_id;
mod peer_store;
mod random;
mod routing_table;
mod secure_id;
mod state;
mod tokens;
mod transactions;

pub use address::Family;
pub use krpc::{Body, ErrorReply, Malformed, Message, MessageError, Method, Query, Response, Want};
pub use node::{Announce, Config, Counters, Dht, Event, LookupDone, LookupId, Refused, SideStatus, Transmit};
pub use node_id::{Distance, NodeId};
pub use peer_store::StoreLimits;
pub use secure_id::{id_fits, make_id};
pub use state::StateError;

/// Milliseconds on a clock that only goes forward; where it starts is the caller's affair.
pub type Millis = u64;
