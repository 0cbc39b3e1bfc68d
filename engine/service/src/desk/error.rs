//! Why the desk did not do what it was asked. Each is a line that says what to change.

use catalogue::TorrentNumber;

/// The desk did not do it; nothing has changed unless the message says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// Nobody knows such a torrent.
    #[error("no torrent is called {asked}: `spillway ctl list` shows those there are")]
    Unknown {
        /// What was asked for.
        asked: String,
    },
    /// A prefix or a name that several torrents share.
    #[error("{asked} stands for {count} torrents: use a number or a whole info-hash")]
    Ambiguous {
        /// What was asked for.
        asked: String,
        /// How many it stands for.
        count: usize,
    },
    /// One of its info-hashes is there already.
    #[error("{name} is there already, as torrent {}", .number.0)]
    Duplicate {
        /// The name of the one that is there.
        name: String,
        /// Its number.
        number: TorrentNumber,
    },
    /// Its state does not allow it.
    #[error("{name}: {reason}")]
    Refused {
        /// The torrent.
        name: String,
        /// Why not, and what to do first.
        reason: String,
    },
    /// Its content is not what it should be, or not there, or cannot go where it should.
    #[error("{reason}")]
    Content {
        /// The path and what is wrong with it.
        reason: String,
    },
    /// The settings have no such group.
    #[error("there is no group {group:?}: name one of [limits.groups]")]
    NoGroup {
        /// What was asked for.
        group: String,
    },
    /// The torrent file or link is none.
    #[error("{reason}")]
    Torrent {
        /// What is wrong with it.
        reason: String,
    },
    /// The state directory takes nothing.
    #[error("{reason}")]
    Catalogue {
        /// Which file, and what the system said.
        reason: String,
    },
    /// The engine refused.
    #[error("{reason}")]
    Engine {
        /// Why.
        reason: String,
    },
    /// More requests wait than the desk keeps.
    #[error("too many requests wait: try again in a moment")]
    Busy,
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopping,
}
