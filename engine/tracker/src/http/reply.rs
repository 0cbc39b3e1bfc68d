//! Replies over HTTP as the client reads them: trackers' software is old and of many hands, so what can be made sense
//! of is, and what cannot is shown to the user in the tracker's own words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bencode::{Dict, Limits, Value, decode_prefix};
use hash::InfoHash;

use super::request::MAX_SCRAPE_HASHES;
use crate::announce::{AnnounceReply, Failure, Retry};
use crate::family::{Family, unpack};
use crate::scrape::{ScrapeReply, SwarmStats};

/// How many peers are taken from one reply; trackers send 50 to 200.
pub const MAX_REPLY_PEERS: usize = 2000;
/// How much of a tracker's message is kept for the user.
const MAX_MESSAGE_CHARS: usize = 300;
/// The longest `tracker id` that is sent back.
const MAX_TRACKER_ID_BYTES: usize = 256;

/// Why a reply is no good.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReplyError {
    /// The tracker understood and says no.
    #[error("{0}")]
    Refused(Failure),
    /// The body is no bencoded dictionary. Holds the start of it, made printable; it may be an error page.
    #[error("not a tracker's reply: {0:?}")]
    Rubbish(String),
}

/// Reads the body of a reply to an announce. Wrong types count as absent (quirky trackers send `peers` as a list, a
/// string or a number when it is empty); peers with port 0 are dropped.
pub fn parse_announce_reply(body: &[u8]) -> Result<AnnounceReply, ReplyError> {
    let dict = read_dict(body)?;
    let mut peers = Vec::new();
    match dict.get("peers") {
        Some(Value::Bytes(packed)) => push_peers(&mut peers, unpack(Family::V4, packed)),
        Some(Value::List(list)) => push_peers(&mut peers, list.iter().filter_map(|entry| listed_peer(&entry))),
        _ => {}
    }
    if let Some(Value::Bytes(packed)) = dict.get("peers6") {
        push_peers(&mut peers, unpack(Family::V6, packed));
    }
    let tracker_id = dict.get("tracker id").and_then(|id| id.as_bytes()).filter(|id| id.len() <= MAX_TRACKER_ID_BYTES);
    Ok(AnnounceReply {
        interval_s: number(&dict, "interval"),
        min_interval_s: number(&dict, "min interval"),
        seed_count: number(&dict, "complete"),
        leech_count: number(&dict, "incomplete"),
        completed_count: number(&dict, "downloaded"),
        peers,
        tracker_id: tracker_id.map(<[u8]>::to_vec),
        warning: dict.get("warning message").and_then(|text| text.as_bytes()).map(printable),
        external_ip: dict.get("external ip").and_then(|ip| ip.as_bytes()).and_then(packed_ip),
    })
}

/// Reads the body of a reply to a scrape.
pub fn parse_scrape_reply(body: &[u8]) -> Result<ScrapeReply, ReplyError> {
    let dict = read_dict(body)?;
    let files = dict.get("files").and_then(|files| files.as_dict());
    let entries = files.iter().flat_map(Dict::iter).take(MAX_SCRAPE_HASHES);
    let swarms = entries.filter_map(|(key, value)| {
        let (info_hash, entry) = (InfoHash(key.try_into().ok()?), value.as_dict()?);
        let stats = SwarmStats {
            seed_count: number(&entry, "complete").unwrap_or(0),
            leech_count: number(&entry, "incomplete").unwrap_or(0),
            completed_count: number(&entry, "downloaded").unwrap_or(0),
        };
        Some((info_hash, stats))
    });
    let flags = dict.get("flags").and_then(|flags| flags.as_dict());
    Ok(ScrapeReply {
        swarms: swarms.collect(),
        min_interval_s: flags.and_then(|flags| number(&flags, "min_request_interval")),
    })
}

/// The dictionary at the start of `body`, unless it is a refusal. What follows it (a newline, an advertisement) is
/// passed over.
fn read_dict(body: &[u8]) -> Result<Dict<'_>, ReplyError> {
    let limits = Limits::default();
    let body = body.trim_ascii_start();
    let Ok((Value::Dict(dict), _)) = decode_prefix(body, &limits) else {
        return Err(broken_failure(body).map_or_else(|| ReplyError::Rubbish(printable(body)), ReplyError::Refused));
    };
    // BEP 48 spells it with an underscore, trackers mostly with a space.
    let reason = dict.get("failure reason").or_else(|| dict.get("failure_reason"));
    let Some(reason) = reason else { return Ok(dict) };
    let reason = reason.as_bytes().map(printable).filter(|reason| !reason.is_empty());
    Err(ReplyError::Refused(Failure {
        reason: reason.unwrap_or_else(|| "refused without a reason".to_owned()),
        retry: retry(&dict),
    }))
}

/// A refusal that someone bencoded by hand and miscounted: `d14:failure reason99:no such torrente`.
fn broken_failure(body: &[u8]) -> Option<Failure> {
    const KEY: &[u8] = b"failure reason";
    let head = body.strip_prefix(b"d")?;
    let at = head.windows(KEY.len()).take(64).position(|window| window == KEY)?;
    let text = head.get(at + KEY.len()..)?;
    let colon = text.iter().position(|byte| *byte == b':')?;
    let is_length = text.get(..colon)?.iter().all(u8::is_ascii_digit);
    let text = text.get(colon + 1..)?.trim_ascii_end();
    let reason = printable(text.strip_suffix(b"e").unwrap_or(text));
    (is_length && !reason.is_empty()).then_some(Failure { reason, retry: Retry::Unsaid })
}

/// BEP 31: a number of minutes, or `never`; some trackers send the number as text.
fn retry(dict: &Dict<'_>) -> Retry {
    match dict.get("retry in") {
        Some(Value::Bytes(b"never")) => Retry::Never,
        Some(_) => number(dict, "retry in").filter(|minutes| *minutes > 0).map_or(Retry::Unsaid, Retry::AfterMinutes),
        None => Retry::Unsaid,
    }
}

/// A number that is not negative, be it an integer or one in a string.
fn number(dict: &Dict<'_>, key: &str) -> Option<u32> {
    let value = match dict.get(key)? {
        Value::Int(value) => value,
        Value::Bytes(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        _ => return None,
    };
    (value >= 0).then(|| u32::try_from(value).unwrap_or(u32::MAX))
}

fn push_peers(peers: &mut Vec<SocketAddr>, more: impl Iterator<Item = SocketAddr>) {
    let room = MAX_REPLY_PEERS - peers.len();
    peers.extend(more.filter(|peer| peer.port() != 0).take(room));
}

/// One entry of a list of peers. A host name is passed over: it is not worth a look-up to dial a peer.
fn listed_peer(entry: &Value<'_>) -> Option<SocketAddr> {
    let entry = entry.as_dict()?;
    let ip: IpAddr = entry.get("ip")?.as_str()?.parse().ok()?;
    Some(SocketAddr::new(ip, u16::try_from(number(&entry, "port")?).ok()?))
}

fn packed_ip(packed: &[u8]) -> Option<IpAddr> {
    match packed.len() {
        4 => <[u8; 4]>::try_from(packed).ok().map(|octets| Ipv4Addr::from(octets).into()),
        16 => <[u8; 16]>::try_from(packed).ok().map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

/// Text for the user's terminal: no control characters, no more than [`MAX_MESSAGE_CHARS`].
pub(crate) fn printable(text: &[u8]) -> String {
    let head = text.get(..text.len().min(4 * MAX_MESSAGE_CHARS)).unwrap_or_default();
    let text = String::from_utf8_lossy(head);
    let words: Vec<&str> = text.split(|char: char| char.is_control() || char.is_whitespace()).collect();
    let joined = words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ");
    joined.chars().take(MAX_MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests;
