//! Web seeds (BEP 19): a web server that has the files of a torrent, as a peer. Each is a task that speaks the peer wire
//! over one end of a socket pair, whose other end a shard treats as any peer's, and HTTP to the server. So what to fetch,
//! whether it is right, and who is banned for it, is decided where it is for all peers; here is only how to get it.

mod answer;
mod back_off;
pub(crate) mod client;
mod cut;
mod fetch;
mod ledger;
mod link;
mod peer;
mod plan;
mod roster;
pub(crate) mod scope;
pub(crate) mod url;

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use metainfo::Torrent;
use tokio::net::UnixStream;
use wire::PeerId;

pub use self::client::{WebSeedClients, WebSeedConfig};
use self::fetch::Source;
use self::ledger::Ledger;
pub use self::ledger::{WebSeedState, WebSeedStatus};
use self::peer::Peer;
pub use self::roster::{NearEnd, WebSeeds};
pub use self::url::UrlError;

/// What the peer ids of web seeds begin with; they never leave the program. Random bytes follow.
pub const PEER_ID_PREFIX: &[u8; 8] = b"-SWweb0-";

/// Why a virtual peer is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The shard closed its end: the torrent is done or gone, or this peer is banned for wrong bytes. The caller knows which.
    PeerClosed,
    /// The server lacks files, which a peer cannot say of pieces that it said it has. With a new socket it says so from the
    /// start.
    FilesMissing,
    /// The server is of no use. In one line why.
    Failed(String),
    /// The other end of the socket does not speak as a shard does. A fault of the program.
    Protocol(String),
}

/// One torrent's web seed at one URL. What it learns about the server outlives its virtual peers, of which it has one at a
/// time.
pub struct WebSeed {
    source: Arc<Source>,
    ledger: Arc<Ledger>,
}

impl WebSeed {
    /// A web seed at an entry of `url-list`, or at a magnet's `ws`. Nothing is asked for yet.
    pub fn new(clients: &Arc<WebSeedClients>, torrent: Arc<Torrent>, url: &str) -> Result<WebSeed, UrlError> {
        let urls = url::FileUrls::new(url, torrent.layout().is_single_file())?;
        let source = Source { clients: Arc::clone(clients), torrent, urls };
        Ok(WebSeed { source: Arc::new(source), ledger: Arc::new(Ledger::new()) })
    }

    /// The virtual peer on our end of a socket pair. It greets first. It ends with the other end of the socket, or when the
    /// future is dropped. Must be called on a tokio runtime.
    pub async fn serve(&self, socket: UnixStream) -> Ended {
        if let Some(why) = self.ledger.failure() {
            return Ended::Failed(why);
        }
        let _idle_in_the_end = IdleInTheEnd(&self.ledger);
        Peer::new(Arc::clone(&self.source), Arc::clone(&self.ledger), socket).run(peer_id()).await
    }

    /// An address that stands for the server where a peer has one, so that it can be banned: in the block that is discarded
    /// (RFC 6666), made of the URL.
    pub fn address(&self) -> SocketAddr {
        let [a, b, c, d, e, f, g, h, ..] = hash::sha1(self.source.urls.base().as_bytes()).0;
        let word = |high, low| u16::from_be_bytes([high, low]);
        let ip = Ipv6Addr::new(0x100, 0, 0, 0, word(a, b), word(c, d), word(e, f), word(g, h));
        SocketAddr::new(ip.into(), self.source.urls.port())
    }

    /// How it does.
    pub fn status(&self) -> WebSeedStatus {
        self.ledger.status(self.source.urls.to_string())
    }
}

/// Sets the state of a virtual peer that is gone, also if its future was dropped.
struct IdleInTheEnd<'a>(&'a Ledger);

impl Drop for IdleInTheEnd<'_> {
    fn drop(&mut self) {
        if self.0.backed_off_until().is_none() {
            self.0.set_fetching(false);
        }
    }
}

/// Two virtual peers with the same id would be taken for one.
fn peer_id() -> PeerId {
    let mut random = [0; 12];
    // The system gives randomness, or the program would not have started.
    let _ = getrandom::fill(&mut random);
    let mut id = PeerId::ours(random);
    id.0[..PEER_ID_PREFIX.len()].copy_from_slice(PEER_ID_PREFIX);
    id
}

#[cfg(test)]
mod tests;
