//! The web seeds of a torrent that is fetched: each a virtual peer, of which the home shard gets one end of a socket pair.

use crate::control::{Control, post};
use crate::registry::Entry;
use crate::web_seed::{Ended, WebSeed, WebSeedClients, WebSeedStatus};
use mesh::{Command, TorrentId};
use metainfo::Torrent;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;

/// Web seeds of one torrent that are asked at most; those that come first count.
const WEB_SEEDS_MAX: usize = 16;

/// How often a virtual peer whose connection the shard has ended is given to it anew.
const RETURNS_MAX: u32 = 3;

/// How long after that; each time twice as long.
const RETURN_PAUSE: Duration = Duration::from_secs(15);

/// The web seeds of one torrent, by their place in its list.
#[derive(Default)]
pub(crate) struct WebSeeds(Vec<Seat>);

struct Seat {
    seed: WebSeed,
    /// What stands for its address in the shard.
    address: SocketAddr,
    returns: u32,
}

/// Numbers that stand for the addresses of web seeds.
#[derive(Default)]
pub(crate) struct Addresses(u64);

impl Addresses {
    /// An address that no peer has: 100::/64 is for what is thrown away (RFC 6666).
    fn next(&mut self) -> SocketAddr {
        self.0 += 1;
        let bits = 0x0100u128 << 112 | u128::from(self.0);
        SocketAddr::from((Ipv6Addr::from_bits(bits), 80))
    }
}

impl WebSeeds {
    /// How they do.
    pub(crate) fn status(&self) -> Vec<WebSeedStatus> {
        self.0.iter().map(|seat| seat.seed.status()).collect()
    }

    fn new(
        clients: &Arc<WebSeedClients>,
        torrent: &Arc<Torrent>,
        urls: &[String],
        addresses: &mut Addresses,
    ) -> WebSeeds {
        let mut seats = Vec::new();
        for (n, url) in urls.iter().enumerate() {
            let left_out = |reason: String| tracing::warn!(web_seed = url, reason, "a web seed is left out");
            if urls[..n].contains(url) {
                continue;
            }
            if seats.len() == WEB_SEEDS_MAX {
                left_out(format!("there are more than {WEB_SEEDS_MAX}"));
                break;
            }
            match WebSeed::new(clients, torrent.clone(), url) {
                Ok(seed) => seats.push(Seat { seed, address: addresses.next(), returns: 0 }),
                Err(error) => left_out(error.to_string()),
            }
        }
        WebSeeds(seats)
    }
}

impl Control {
    /// Has the home shard fetch from web seeds too.
    pub(crate) async fn begin_web_seeds(&mut self, id: TorrentId) {
        let Some(clients) = self.parts.web_seeds.clone() else { return };
        let Some(fetching) = self.registry.get_mut(id).and_then(Entry::fetching) else { return };
        let addresses = &mut self.web_seed_addresses;
        fetching.web_seeds = WebSeeds::new(&clients, &fetching.torrent, &fetching.web_seed_urls, addresses);
        for number in 0..fetching.web_seeds.0.len() {
            self.attach_web_seed(id, number).await;
        }
    }

    /// Makes a socket pair and gives one end to the virtual peer, one to the home shard.
    pub(crate) async fn attach_web_seed(&mut self, id: TorrentId, number: usize) {
        let Some(fetching) = self.registry.get_mut(id).and_then(Entry::fetching) else { return };
        if fetching.under_way().is_none_or(|under_way| under_way.has_wanted) {
            return;
        }
        let Some(seat) = fetching.web_seeds.0.get(number) else { return };
        let (near, far) = match pair() {
            Ok(pair) => pair,
            Err(error) => return tracing::warn!(%error, "a web seed is left out: no socket pair"),
        };
        let (address, peer) = (seat.address, seat.seed.spawn(far));
        self.tasks.await_web_seed(id, number, peer);
        post(self.home(id), Command::Attach { id, socket: near, address }).await;
    }

    /// A virtual peer is gone.
    pub(crate) async fn handle_web_seed_ended(&mut self, id: TorrentId, number: usize, ended: Ended) {
        let Some(fetching) = self.registry.get_mut(id).and_then(Entry::fetching) else { return };
        let Some(seat) = fetching.web_seeds.0.get_mut(number) else { return };
        let url = seat.seed.status().url;
        match ended {
            Ended::FilesMissing => self.attach_web_seed(id, number).await,
            Ended::PeerClosed if seat.returns < RETURNS_MAX => {
                let pause = RETURN_PAUSE * 2u32.pow(seat.returns);
                seat.returns += 1;
                self.tasks.await_return(id, number, pause);
            }
            Ended::PeerClosed => tracing::debug!(web_seed = url, "the shard does not want the web seed"),
            Ended::Failed(reason) => tracing::warn!(web_seed = url, reason, "a web seed is of no use"),
            Ended::Protocol(reason) => {
                tracing::error!(web_seed = url, reason, "the shard and a web seed do not understand each other");
            }
        }
    }
}

/// The shard's end, and the virtual peer's.
fn pair() -> std::io::Result<(OwnedFd, UnixStream)> {
    let (near, far) = UnixStream::pair()?;
    Ok((near.into_std()?.into(), far))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_web_seeds_share_an_address_and_no_peer_has_one_of_them() {
        let mut addresses = Addresses::default();
        assert_eq!(addresses.next().to_string(), "[100::1]:80");
        assert_eq!(addresses.next().to_string(), "[100::2]:80");
    }
}
