//! Responses over UDP: built by the server, parsed by the client.

use super::{ACTION_ANNOUNCE, ACTION_CONNECT, ACTION_ERROR, ACTION_SCRAPE, MAX_SCRAPE_HASHES, Reader};
use crate::announce::AnnounceReply;
use crate::family::{Family, unpack};
use crate::http::{MAX_REPLY_PEERS, printable};
use crate::scrape::SwarmStats;

/// The longest error message that is kept.
const MAX_MESSAGE_BYTES: usize = 1024;

/// A datagram from a tracker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// A connection id, good for a minute on the client's side.
    Connect {
        /// To be sent with each request.
        connection_id: u64,
    },
    /// The answer to an announce.
    Announce(AnnounceReply),
    /// The answer to a scrape, in the order of the question.
    Scrape(Vec<SwarmStats>),
    /// A refusal in the tracker's own words.
    Error(String),
}

/// Why a datagram is no answer. The fault is the tracker's, or a stranger's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResponseError {
    /// It ends before its fixed part does.
    #[error("the tracker's response is cut short")]
    CutShort,
    /// An action that BEP 15 does not have.
    #[error("the tracker's response has an unknown action")]
    UnknownAction,
}

/// Reads a tracker's datagram; gives the transaction that it answers, too. Peers are of the family over which the
/// datagram came.
pub fn parse_response(family: Family, datagram: &[u8]) -> Result<(u32, Response), ResponseError> {
    let mut reader = Reader { rest: datagram };
    parse(family, &mut reader).ok_or(ResponseError::CutShort)?
}

/// Appends the answer to a connect.
pub fn write_connect_response(out: &mut Vec<u8>, transaction_id: u32, connection_id: u64) {
    write_header(out, ACTION_CONNECT, transaction_id);
    out.extend_from_slice(&connection_id.to_be_bytes());
}

/// Appends the answer to an announce; `packed_peers` are of the asker's family.
pub fn write_announce_response(
    out: &mut Vec<u8>,
    transaction_id: u32,
    interval_s: u32,
    stats: SwarmStats,
    packed_peers: &[u8],
) {
    write_header(out, ACTION_ANNOUNCE, transaction_id);
    for number in [interval_s, stats.leech_count, stats.seed_count] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(packed_peers);
}

/// Appends the answer to a scrape, one entry for each info-hash asked for, zeros for an unknown one.
pub fn write_scrape_response(out: &mut Vec<u8>, transaction_id: u32, swarms: impl Iterator<Item = SwarmStats>) {
    write_header(out, ACTION_SCRAPE, transaction_id);
    for stats in swarms {
        for number in [stats.seed_count, stats.completed_count, stats.leech_count] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// Appends a refusal.
pub fn write_error_response(out: &mut Vec<u8>, transaction_id: u32, message: &str) {
    write_header(out, ACTION_ERROR, transaction_id);
    out.extend_from_slice(message.as_bytes());
}

fn write_header(out: &mut Vec<u8>, action: u32, transaction_id: u32) {
    out.extend_from_slice(&action.to_be_bytes());
    out.extend_from_slice(&transaction_id.to_be_bytes());
}

fn parse(family: Family, reader: &mut Reader<'_>) -> Option<Result<(u32, Response), ResponseError>> {
    let action = reader.u32()?;
    let transaction_id = reader.u32()?;
    let response = match action {
        ACTION_CONNECT => Response::Connect { connection_id: reader.u64()? },
        ACTION_ANNOUNCE => Response::Announce(AnnounceReply {
            interval_s: Some(reader.u32()?),
            leech_count: Some(reader.u32()?),
            seed_count: Some(reader.u32()?),
            peers: unpack(family, reader.rest).filter(|peer| peer.port() != 0).take(MAX_REPLY_PEERS).collect(),
            ..AnnounceReply::default()
        }),
        ACTION_SCRAPE => {
            let mut swarms = Vec::new();
            while swarms.len() < MAX_SCRAPE_HASHES
                && let (Some(seed_count), Some(completed_count), Some(leech_count)) =
                    (reader.u32(), reader.u32(), reader.u32())
            {
                swarms.push(SwarmStats { seed_count, leech_count, completed_count });
            }
            Response::Scrape(swarms)
        }
        ACTION_ERROR => {
            let message = reader.rest.get(..reader.rest.len().min(MAX_MESSAGE_BYTES))?;
            match printable(message) {
                text if text.is_empty() => Response::Error("refused without a reason".to_owned()),
                text => Response::Error(text),
            }
        }
        _ => return Some(Err(ResponseError::UnknownAction)),
    };
    Some(Ok((transaction_id, response)))
}
