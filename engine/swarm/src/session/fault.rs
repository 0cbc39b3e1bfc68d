//! Why a session ends by the peer's doing.

/// What the peer did, or did not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A message broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Wire(#[from] wire::WireError),
    /// Too many requests outside the torrent.
    #[error("the peer asked for what the torrent does not hold, again and again")]
    BadRequests,
    /// Messages without use, or requests that are not taken, without end.
    #[error("the peer floods us")]
    Flood,
    /// A piece that nobody asked for.
    #[error("the peer sent a piece to a seed")]
    UnwantedPiece,
    /// Nothing was heard for too long.
    #[error("the peer has been silent for too long")]
    Idle,
    /// It has everything and so have we.
    #[error("the peer is a seed, like us")]
    BothSeeds,
}
