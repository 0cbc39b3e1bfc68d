//! The web seeds of one torrent that is fetched: a virtual peer at its home shard for each, and a new one when that ends and
//! is worth it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesh::TorrentId;
use metainfo::Torrent;
use metainfo::limits::MAX_WEB_SEEDS;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::back_off::BackOff;
use super::{Ended, WebSeed, WebSeedClients, WebSeedStatus};

/// Web seeds of one torrent that are asked at the same time; the next takes the place of one that is of no use.
const MAX_AT_ONCE: usize = 8;
/// How long to wait after the shard has closed a virtual peer, at first and at most. One that was banned stays so, by its
/// address.
const CLOSED_PAUSE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// The shard's end of a virtual peer, to be handed to the torrent's home shard (`mesh::Command::Attach`).
#[derive(Debug)]
pub struct NearEnd {
    /// The torrent's number.
    pub id: TorrentId,
    /// A stream socket that does not block.
    pub socket: OwnedFd,
    /// What stands for the server's address: always the same one, which no other web seed has and nobody routes.
    pub address: SocketAddr,
}

/// A torrent's web seeds at work. Dropped, they end.
pub struct WebSeeds {
    seeds: Vec<Arc<WebSeed>>,
    /// Those that cannot even be tried.
    refused: Vec<WebSeedStatus>,
    _runners: JoinSet<()>,
}

impl WebSeeds {
    /// Starts them. Their near ends come through `near_ends`. Must be called on a tokio runtime.
    pub fn start(
        clients: &Arc<WebSeedClients>,
        (id, torrent): (TorrentId, &Arc<Torrent>),
        urls: &[String],
        near_ends: &mpsc::Sender<NearEnd>,
    ) -> WebSeeds {
        let (mut seeds, mut refused) = (Vec::<Arc<WebSeed>>::new(), Vec::new());
        for url in urls.iter().take(MAX_WEB_SEEDS) {
            match WebSeed::new(clients, Arc::clone(torrent), url) {
                Ok(seed) if seeds.iter().any(|known| known.address() == seed.address()) => {}
                Ok(seed) => seeds.push(Arc::new(seed)),
                Err(error) => refused.push(WebSeedStatus::of_refused(url, error.to_string())),
            }
        }
        let waiting = Arc::new(Mutex::new(seeds.iter().cloned().collect::<VecDeque<_>>()));
        let mut runners = JoinSet::new();
        for _ in 0..seeds.len().min(MAX_AT_ONCE) {
            let (waiting, near_ends) = (Arc::clone(&waiting), near_ends.clone());
            runners.spawn(async move {
                let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                while let Some(seed) = next() {
                    run(&seed, id, &near_ends).await;
                }
            });
        }
        WebSeeds { seeds, refused, _runners: runners }
    }

    /// How each does.
    pub fn status(&self) -> Vec<WebSeedStatus> {
        self.seeds.iter().map(|seed| seed.status()).chain(self.refused.iter().cloned()).collect()
    }
}

/// Keeps a web seed at the shard until it is of no use, or nobody takes it.
async fn run(seed: &WebSeed, id: TorrentId, near_ends: &mpsc::Sender<NearEnd>) {
    let mut pause = BackOff::default();
    loop {
        let ended = match pair() {
            Ok((far, near)) => {
                let near_end = NearEnd { id, socket: near, address: seed.address() };
                if near_ends.send(near_end).await.is_err() {
                    return;
                }
                seed.serve(far).await
            }
            Err(error) => Ended::Protocol(format!("no socket pair: {error}")),
        };
        match ended {
            Ended::FilesMissing => {}
            Ended::Failed(_) => return,
            Ended::PeerClosed => tokio::time::sleep(pause.failed(CLOSED_PAUSE, None, 0)).await,
            Ended::Protocol(why) => {
                tracing::warn!(url = %seed.source.urls, why, "web seed and shard do not understand each other");
                tokio::time::sleep(pause.failed(CLOSED_PAUSE, None, 0)).await;
            }
        }
    }
}

/// Our end and the shard's.
fn pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (far, near) = StdUnixStream::pair()?;
    far.set_nonblocking(true)?;
    near.set_nonblocking(true)?;
    Ok((UnixStream::from_std(far)?, near.into()))
}
