//! What the shard tells of its peers, when somebody wants to see them: a part of its connections a turn, so that a list of
//! a few among ten thousand keeps nobody waiting.

use crate::connection::{Connection, Phase};
use crate::event_loop::Shard;
use crate::torrents::Served;
use mesh::{Direction, Event, PEERS_PER_REPORT, PeerReport, TorrentId};
use std::collections::VecDeque;
use std::time::Duration;

/// Lists in the making at most; whoever wants one more is told at once that there is no more to tell.
const LISTINGS_LIMIT: usize = 16;

/// The parts into which the look at all connections is cut, a turn each.
const LISTING_PARTS: u32 = 16;

/// Lists that are wanted, the one in the making in front.
#[derive(Default)]
pub(crate) struct Listings(VecDeque<Listing>);

struct Listing {
    ticket: u32,
    id: TorrentId,
    part: u32,
    peers: Vec<PeerReport>,
    left_out: u64,
}

impl Listings {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Shard {
    /// Somebody wants to see the peers of a torrent.
    pub(crate) fn list_peers(&mut self, ticket: u32, id: TorrentId) {
        if self.torrents.find_id(id).is_none() || self.listings.0.len() >= LISTINGS_LIMIT {
            return self.report(Event::Peers { ticket, peers: Vec::new(), left_out: 0 });
        }
        self.listings.0.push_back(Listing { ticket, id, part: 0, peers: Vec::new(), left_out: 0 });
    }

    /// Looks at a part of the connections for the list in the making.
    pub(crate) fn list_more_peers(&mut self) {
        let Some(mut listing) = self.listings.0.pop_front() else { return };
        if let Some(slot) = self.torrents.find_id(listing.id) {
            let mut keys = Vec::new();
            self.table.keys_of_part(listing.part, LISTING_PARTS, &mut keys);
            for key in keys {
                let Some(connection) = self.table.take(key) else { continue };
                if matches!(&connection.phase, Phase::Peer(peer) if peer.torrent == slot) {
                    match listing.peers.len() < PEERS_PER_REPORT {
                        true => {
                            let is_super_seeded = self.super_seeding_hides(slot, key);
                            let snubbed = self.torrents.leech_mut(slot).map(|leech| leech.standing(key));
                            let served = self.torrents.get(slot);
                            let about = (self.config.shard, self.now, is_super_seeded, snubbed);
                            listing.peers.extend(served.and_then(|served| describe(&connection, served, about)));
                        }
                        false => listing.left_out += 1,
                    }
                }
                self.table.put(key, connection);
            }
        }
        listing.part += 1;
        match listing.part < LISTING_PARTS {
            true => self.listings.0.push_front(listing),
            false => {
                let Listing { ticket, peers, left_out, .. } = listing;
                self.report(Event::Peers { ticket, peers, left_out });
            }
        }
    }
}

/// How a peer stands with what is fetched from it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Standing {
    pub(crate) chokes_us: bool,
    pub(crate) is_snubbed: bool,
}

fn describe(
    connection: &Connection,
    served: &Served,
    (shard, now, is_super_seeded, standing): (usize, Duration, bool, Option<Standing>),
) -> Option<PeerReport> {
    let Phase::Peer(peer) = &connection.phase else { return None };
    let session = &peer.session;
    let standing = standing.unwrap_or_default();
    let direction = match connection.dialled() {
        Some(dialled) if dialled.is_web_seed => Direction::WebSeed,
        Some(_) => Direction::Outgoing,
        None => Direction::Incoming,
    };
    let received = connection.fetching.as_ref().map(|fetching| fetching.received).unwrap_or_default();
    Some(PeerReport {
        address: connection.address,
        client: session.client().map_or_else(|| session.client_of_id(), str::to_owned),
        direction,
        shard,
        connected: now.saturating_sub(connection.opened_at),
        sent_bytes: connection.sent.bytes,
        received_bytes: received.bytes,
        upload_bytes_per_s: connection.sent.bytes_per_s(),
        download_bytes_per_s: received.bytes_per_s(),
        have_pieces: session.availability().have_count(),
        total_pieces: served.torrent().layout().piece_count(),
        is_interested: session.is_interested(),
        is_choked: session.is_choked(),
        chokes_us: standing.chokes_us,
        is_snubbed: standing.is_snubbed,
        is_super_seeded,
    })
}
