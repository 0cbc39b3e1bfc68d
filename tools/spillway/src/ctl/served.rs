//! A torrent that a running service serves, for whoever wants to see that it answers to it.

use std::path::Path;

use api::operator::types::{TorrentPage, TorrentRow, TorrentState};

use super::client::Client;

/// The rows that are looked through for one.
const ENOUGH: &str = "/v1/torrents?limit=200";

/// The info-hash, in hex, of a torrent that the service on this socket (or on the usual one) serves to anybody.
pub(crate) fn info_hash(socket: Option<&Path>) -> Option<String> {
    let page: TorrentPage = Client::connect(socket).ok()?.get(ENOUGH).ok()?;
    page.torrents.into_iter().find_map(open_one)
}

/// One under embargo answers to few.
fn open_one(row: TorrentRow) -> Option<String> {
    let served = matches!(row.state, TorrentState::Seeding | TorrentState::Resting);
    if served && row.opens_at_s.is_none() { row.info_hash_v1.or(row.info_hash_v2) } else { None }
}
