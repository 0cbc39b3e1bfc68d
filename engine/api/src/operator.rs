//! The operator's API: HTTP/1.1 and JSON over a Unix socket, so that `curl --unix-socket` is a client and the permissions
//! of a file are the authentication. Nothing here knows what a torrent is made of: requests are read, put on a bounded queue,
//! and answered by the service.

mod queue;
mod reply;
mod route;
mod serve;
mod socket;

pub mod types;

pub use serve::OperatorServer;
pub use socket::{SocketError, SocketSettings};

use tokio::sync::oneshot;

use types::{Caller, OperatorReply, OperatorRequest};

/// Requests that wait for the service; one more is refused as [`types::ErrorCode::Busy`].
pub const WAITING_CALLS: usize = 256;

/// A request that waits for its answer. The service takes it from the queue; the connection that it came on waits alone, so
/// one that takes long holds up no other. Nobody may wait for the answer any more when it comes.
#[derive(Debug)]
pub struct OperatorCall {
    /// What is asked for.
    pub request: OperatorRequest,
    /// Who asks.
    pub caller: Caller,
    /// Where the answer goes.
    pub reply: oneshot::Sender<OperatorReply>,
}
