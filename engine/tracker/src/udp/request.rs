//! Requests over UDP: built by the client, parsed by the server.

use std::net::{IpAddr, Ipv4Addr};

use hash::InfoHash;

use super::{
    ACTION_ANNOUNCE, ACTION_CONNECT, ACTION_SCRAPE, MAX_DATAGRAM_BYTES, MAX_SCRAPE_HASHES, PROTOCOL_ID, Reader,
};
use crate::announce::{AnnounceRequest, Event};

/// An announce without options.
const ANNOUNCE_BYTES: usize = 98;
/// The options of BEP 41: the end of options, a byte to skip, a piece of the URL's path and query.
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_URL_DATA: u8 = 2;

/// A datagram from a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Asks for a connection id.
    Connect {
        /// Chosen by the client, sent back with the answer.
        transaction_id: u32,
    },
    /// Announces a peer.
    Announce {
        /// From an earlier connect; proves that the client receives at the address that it sends from.
        connection_id: u64,
        /// Chosen by the client, sent back with the answer.
        transaction_id: u32,
        /// What it announces.
        announce: AnnounceRequest,
        /// Path and query of the tracker's URL (BEP 41), empty if the client sends none.
        url_data: Vec<u8>,
    },
    /// Asks for the size of some swarms.
    Scrape {
        /// From an earlier connect.
        connection_id: u64,
        /// Chosen by the client, sent back with the answer.
        transaction_id: u32,
        /// One to [`MAX_SCRAPE_HASHES`] of them.
        info_hashes: Vec<InfoHash>,
    },
}

/// Why a datagram cannot be answered as asked. The fault is the sender's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// Too short to hold even a transaction id, or a connect without the protocol's number: no BitTorrent, no answer.
    #[error("not a tracker request")]
    Foreign,
    /// The action is known, but the datagram ends early.
    #[error("the request is cut short")]
    CutShort {
        /// For the error response.
        transaction_id: u32,
    },
    /// An action that BEP 15 does not have: most likely some other protocol's datagram.
    #[error("unknown action")]
    UnknownAction,
    /// A scrape of nothing, or of more than [`MAX_SCRAPE_HASHES`].
    #[error("a scrape asks for 1 to {MAX_SCRAPE_HASHES} info-hashes")]
    BadScrape {
        /// For the error response.
        transaction_id: u32,
    },
}

impl RequestError {
    /// A fixed word for counters.
    pub fn kind(&self) -> &'static str {
        match self {
            RequestError::Foreign => "foreign_datagram",
            RequestError::CutShort { .. } => "cut_short",
            RequestError::UnknownAction => "unknown_action",
            RequestError::BadScrape { .. } => "bad_scrape",
        }
    }

    /// Whom to answer; `None` if the sender is not worth an answer.
    pub fn transaction_id(&self) -> Option<u32> {
        match self {
            RequestError::Foreign | RequestError::UnknownAction => None,
            RequestError::CutShort { transaction_id } | RequestError::BadScrape { transaction_id } => {
                Some(*transaction_id)
            }
        }
    }
}

/// Reads a client's datagram.
pub fn parse_request(datagram: &[u8]) -> Result<Request, RequestError> {
    let mut reader = Reader { rest: datagram };
    let header = (|| Some((reader.u64()?, reader.u32()?, reader.u32()?)))();
    let (connection_id, action, transaction_id) = header.ok_or(RequestError::Foreign)?;
    match action {
        ACTION_CONNECT if connection_id == PROTOCOL_ID => Ok(Request::Connect { transaction_id }),
        ACTION_CONNECT => Err(RequestError::Foreign),
        ACTION_ANNOUNCE => {
            let announce = parse_announce(&mut reader).ok_or(RequestError::CutShort { transaction_id })?;
            Ok(Request::Announce { connection_id, transaction_id, announce, url_data: url_data(reader) })
        }
        ACTION_SCRAPE => {
            let mut info_hashes = Vec::new();
            while let Some(info_hash) = reader.bytes() {
                info_hashes.push(InfoHash(info_hash));
            }
            if info_hashes.is_empty() || info_hashes.len() > MAX_SCRAPE_HASHES {
                return Err(RequestError::BadScrape { transaction_id });
            }
            Ok(Request::Scrape { connection_id, transaction_id, info_hashes })
        }
        _ => Err(RequestError::UnknownAction),
    }
}

/// Appends a connect request.
pub fn write_connect(out: &mut Vec<u8>, transaction_id: u32) {
    write_header(out, PROTOCOL_ID, ACTION_CONNECT, transaction_id);
}

/// Appends an announce. `path_and_query` is the tracker URL's, sent in options if there is any (BEP 41), and left out if
/// the datagram would grow past [`MAX_DATAGRAM_BYTES`].
pub fn write_announce(
    out: &mut Vec<u8>,
    connection_id: u64,
    transaction_id: u32,
    announce: &AnnounceRequest,
    path_and_query: &str,
) {
    write_header(out, connection_id, ACTION_ANNOUNCE, transaction_id);
    out.extend_from_slice(&announce.info_hash.0);
    out.extend_from_slice(&announce.peer_id);
    out.extend_from_slice(&announce.downloaded_bytes.to_be_bytes());
    // One block for what is not known, as over HTTP: no tracker must take us for a seed.
    out.extend_from_slice(&announce.left_bytes.unwrap_or(16 * 1024).to_be_bytes());
    out.extend_from_slice(&announce.uploaded_bytes.to_be_bytes());
    out.extend_from_slice(&event_number(announce.event).to_be_bytes());
    let claimed_ip = match announce.claimed_ip {
        Some(IpAddr::V4(ip)) => ip,
        _ => Ipv4Addr::UNSPECIFIED,
    };
    out.extend_from_slice(&claimed_ip.octets());
    out.extend_from_slice(&announce.key.to_be_bytes());
    let want_count = announce.want_count.and_then(|count| i32::try_from(count).ok()).unwrap_or(-1);
    out.extend_from_slice(&want_count.to_be_bytes());
    out.extend_from_slice(&announce.port.to_be_bytes());
    write_url_data(out, path_and_query.as_bytes());
}

/// Appends a scrape of the first [`MAX_SCRAPE_HASHES`] of `info_hashes`.
pub fn write_scrape(out: &mut Vec<u8>, connection_id: u64, transaction_id: u32, info_hashes: &[InfoHash]) {
    write_header(out, connection_id, ACTION_SCRAPE, transaction_id);
    for info_hash in info_hashes.iter().take(MAX_SCRAPE_HASHES) {
        out.extend_from_slice(&info_hash.0);
    }
}

fn write_header(out: &mut Vec<u8>, connection_id: u64, action: u32, transaction_id: u32) {
    out.extend_from_slice(&connection_id.to_be_bytes());
    out.extend_from_slice(&action.to_be_bytes());
    out.extend_from_slice(&transaction_id.to_be_bytes());
}

fn write_url_data(out: &mut Vec<u8>, path_and_query: &[u8]) {
    let option_count = path_and_query.len().div_ceil(255);
    if ANNOUNCE_BYTES + path_and_query.len() + 2 * option_count + 1 > MAX_DATAGRAM_BYTES {
        return;
    }
    for piece in path_and_query.chunks(255) {
        out.push(OPTION_URL_DATA);
        out.push(piece.len() as u8);
        out.extend_from_slice(piece);
    }
    if option_count > 0 {
        out.push(OPTION_END);
    }
}

fn parse_announce(reader: &mut Reader<'_>) -> Option<AnnounceRequest> {
    let info_hash = InfoHash(reader.bytes()?);
    let peer_id = reader.bytes()?;
    let downloaded_bytes = reader.u64()?;
    let left_bytes = reader.u64()?;
    let uploaded_bytes = reader.u64()?;
    let event = event_from_number(reader.u32()?);
    let claimed_ip = Ipv4Addr::from(reader.bytes::<4>()?);
    let key = reader.u32()?;
    let want_count = reader.u32()? as i32;
    let port = reader.u16()?;
    Some(AnnounceRequest {
        info_hash,
        peer_id,
        port,
        uploaded_bytes,
        downloaded_bytes,
        // Some clients send -1 for what they do not know.
        left_bytes: (left_bytes <= i64::MAX as u64).then_some(left_bytes),
        event,
        want_count: u32::try_from(want_count).ok(),
        key,
        compact: true,
        no_peer_id: true,
        tracker_id: None,
        claimed_ip: (!claimed_ip.is_unspecified()).then_some(IpAddr::V4(claimed_ip)),
    })
}

/// The URL pieces among the options, joined. An unknown option carries a length and is passed over; what is cut short
/// ends the list, since the announce before it is whole.
fn url_data(mut reader: Reader<'_>) -> Vec<u8> {
    let mut url_data = Vec::new();
    while let Some([option]) = reader.bytes() {
        match option {
            OPTION_END => break,
            OPTION_NOP => {}
            _ => {
                let Some(value) = reader.bytes().and_then(|[size]| reader.slice(usize::from(size))) else { break };
                if option == OPTION_URL_DATA {
                    url_data.extend_from_slice(value);
                }
            }
        }
    }
    url_data
}

/// BEP 15's numbers. It has none for BEP 21's paused; 4 is what the clients that send it agree on.
fn event_number(event: Event) -> u32 {
    match event {
        Event::None => 0,
        Event::Completed => 1,
        Event::Started => 2,
        Event::Stopped => 3,
        Event::Paused => 4,
    }
}

fn event_from_number(number: u32) -> Event {
    match number {
        1 => Event::Completed,
        2 => Event::Started,
        3 => Event::Stopped,
        4 => Event::Paused,
        _ => Event::None,
    }
}
