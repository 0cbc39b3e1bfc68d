//! Requests over HTTP: built by the client, parsed by the server. The parser takes what clients really send and names
//! the parameter that it cannot take.

use std::net::IpAddr;

use hash::InfoHash;

use super::query::{encode_into, pairs, twenty_from_hex};
use crate::announce::{AnnounceRequest, Event};
use crate::url::TrackerUrl;

/// The longest query that is read; a full scrape of [`MAX_SCRAPE_HASHES`] takes 5.3 KB.
pub const MAX_QUERY_BYTES: usize = 8192;
/// How many torrents one scrape may ask for, the same as fit in a UDP datagram (BEP 15).
pub const MAX_SCRAPE_HASHES: usize = 74;
/// The longest `trackerid` and `ip` that are read.
const MAX_TEXT_BYTES: usize = 256;

/// Why a request cannot be answered. The fault is the client's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// Longer than [`MAX_QUERY_BYTES`].
    #[error("the query is longer than {MAX_QUERY_BYTES} bytes")]
    QueryTooLong,
    /// A `%` without two hex digits.
    #[error("the query has a broken escape")]
    BadEscape,
    /// A parameter that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A parameter is there twice and says two things.
    #[error("{0} is given twice")]
    Duplicate(&'static str),
    /// Neither twenty bytes nor forty hex digits.
    #[error("{0} is not 20 bytes long")]
    NotTwentyBytes(&'static str),
    /// Not a number from 0 to 65535.
    #[error("port is not a port")]
    BadPort,
    /// More than [`MAX_SCRAPE_HASHES`].
    #[error("more than {MAX_SCRAPE_HASHES} info-hashes in one scrape")]
    TooManyHashes,
}

impl RequestError {
    /// A fixed word for counters.
    pub fn kind(&self) -> &'static str {
        match self {
            RequestError::QueryTooLong => "query_too_long",
            RequestError::BadEscape => "bad_escape",
            RequestError::Missing(_) => "missing_parameter",
            RequestError::Duplicate(_) => "duplicate_parameter",
            RequestError::NotTwentyBytes(_) => "bad_hash_or_peer_id",
            RequestError::BadPort => "bad_port",
            RequestError::TooManyHashes => "bad_scrape",
        }
    }
}

/// The URL that announces `request` to `tracker`, whose own query (a passkey, say) comes first.
pub fn announce_url(tracker: &TrackerUrl, request: &AnnounceRequest) -> String {
    let mut url = start_query(tracker);
    push_bytes(&mut url, "info_hash", &request.info_hash.0);
    push_bytes(&mut url, "&peer_id", &request.peer_id);
    // Clients that do not know what they lack say one block, so that no tracker takes them for a seed.
    let left_bytes = request.left_bytes.unwrap_or(16 * 1024);
    url.push_str(&format!(
        "&port={}&uploaded={}&downloaded={}&left={left_bytes}",
        request.port, request.uploaded_bytes, request.downloaded_bytes
    ));
    url.push_str(&format!("&compact={}&no_peer_id={}", u8::from(request.compact), u8::from(request.no_peer_id)));
    if request.key != 0 {
        url.push_str(&format!("&key={:08X}", request.key));
    }
    if let Some(want_count) = request.want_count {
        url.push_str(&format!("&numwant={want_count}"));
    }
    if let Some(event) = event_text(request.event) {
        url.push_str("&event=");
        url.push_str(event);
    }
    if let Some(tracker_id) = &request.tracker_id {
        push_bytes(&mut url, "&trackerid", tracker_id);
    }
    if let Some(ip) = request.claimed_ip {
        push_bytes(&mut url, "&ip", ip.to_string().as_bytes());
    }
    url
}

/// The URL that scrapes `info_hashes` (at most [`MAX_SCRAPE_HASHES`] of them) at a URL that is already the scrape's own
/// ([`TrackerUrl::scrape_url`]).
pub fn scrape_url(tracker: &TrackerUrl, info_hashes: &[InfoHash]) -> String {
    let mut url = start_query(tracker);
    for (index, info_hash) in info_hashes.iter().take(MAX_SCRAPE_HASHES).enumerate() {
        push_bytes(&mut url, if index == 0 { "info_hash" } else { "&info_hash" }, &info_hash.0);
    }
    url
}

/// Reads an announce from the query of its URL (the bytes after `?`). Unknown parameters are passed over.
pub fn parse_announce(query: &[u8]) -> Result<AnnounceRequest, RequestError> {
    check_size(query)?;
    let mut fields = Fields::default();
    for pair in pairs(query) {
        let (name, value) = pair.ok_or(RequestError::BadEscape)?;
        fields.take(&name, value)?;
    }
    fields.finish()
}

/// Reads a scrape from the query of its URL.
pub fn parse_scrape(query: &[u8]) -> Result<Vec<InfoHash>, RequestError> {
    check_size(query)?;
    let mut info_hashes = Vec::new();
    for pair in pairs(query) {
        let (name, value) = pair.ok_or(RequestError::BadEscape)?;
        if name == b"info_hash" {
            if info_hashes.len() == MAX_SCRAPE_HASHES {
                return Err(RequestError::TooManyHashes);
            }
            info_hashes.push(InfoHash(twenty("info_hash", &value)?));
        }
    }
    // A scrape of everything would tell a stranger all that is published here, embargoed or not.
    if info_hashes.is_empty() { Err(RequestError::Missing("info_hash")) } else { Ok(info_hashes) }
}

/// The parameters as they come in. Of a number given twice the first counts; of what names the peer or the swarm a
/// second, different one is an error, since either choice could be the wrong one.
#[derive(Default)]
struct Fields {
    info_hash: Option<[u8; 20]>,
    peer_id: Option<[u8; 20]>,
    port: Option<u16>,
    uploaded_bytes: Option<u64>,
    downloaded_bytes: Option<u64>,
    left_bytes: Option<u64>,
    want_count: Option<u32>,
    compact: Option<bool>,
    no_peer_id: Option<bool>,
    key: Option<u32>,
    event: Option<Event>,
    tracker_id: Option<Vec<u8>>,
    claimed_ip: Option<IpAddr>,
}

impl Fields {
    fn take(&mut self, name: &[u8], value: Vec<u8>) -> Result<(), RequestError> {
        match name {
            b"info_hash" => set_once(&mut self.info_hash, twenty("info_hash", &value)?, "info_hash")?,
            b"peer_id" => set_once(&mut self.peer_id, twenty("peer_id", &value)?, "peer_id")?,
            b"port" => {
                let port = number(&value).and_then(|port| u16::try_from(port).ok()).ok_or(RequestError::BadPort)?;
                set_once(&mut self.port, port, "port")?;
            }
            b"uploaded" => keep_first(&mut self.uploaded_bytes, number(&value)),
            b"downloaded" => keep_first(&mut self.downloaded_bytes, number(&value)),
            b"left" => keep_first(&mut self.left_bytes, number(&value)),
            b"numwant" | b"num_want" | b"num want" => {
                keep_first(&mut self.want_count, number(&value).map(|want| u32::try_from(want).unwrap_or(u32::MAX)));
            }
            b"compact" => keep_first(&mut self.compact, Some(value != b"0")),
            b"no_peer_id" => keep_first(&mut self.no_peer_id, Some(value != b"0")),
            b"key" => keep_first(&mut self.key, Some(key_from_text(&value))),
            b"event" => keep_first(&mut self.event, Some(event_from_text(&value))),
            b"trackerid" if value.len() <= MAX_TEXT_BYTES => keep_first(&mut self.tracker_id, Some(value)),
            b"ip" if value.len() <= MAX_TEXT_BYTES => {
                let ip = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
                keep_first(&mut self.claimed_ip, ip);
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<AnnounceRequest, RequestError> {
        Ok(AnnounceRequest {
            info_hash: InfoHash(self.info_hash.ok_or(RequestError::Missing("info_hash"))?),
            peer_id: self.peer_id.ok_or(RequestError::Missing("peer_id"))?,
            port: self.port.ok_or(RequestError::Missing("port"))?,
            uploaded_bytes: self.uploaded_bytes.unwrap_or(0),
            downloaded_bytes: self.downloaded_bytes.unwrap_or(0),
            left_bytes: self.left_bytes,
            event: self.event.unwrap_or_default(),
            want_count: self.want_count,
            key: self.key.unwrap_or(0),
            compact: self.compact.unwrap_or(true),
            no_peer_id: self.no_peer_id.unwrap_or(false),
            tracker_id: self.tracker_id,
            claimed_ip: self.claimed_ip,
        })
    }
}

fn check_size(query: &[u8]) -> Result<(), RequestError> {
    if query.len() > MAX_QUERY_BYTES { Err(RequestError::QueryTooLong) } else { Ok(()) }
}

fn set_once<T: PartialEq>(field: &mut Option<T>, value: T, name: &'static str) -> Result<(), RequestError> {
    match field {
        Some(earlier) if *earlier != value => Err(RequestError::Duplicate(name)),
        _ => {
            *field = Some(value);
            Ok(())
        }
    }
}

fn keep_first<T>(field: &mut Option<T>, value: Option<T>) {
    if field.is_none() {
        *field = value;
    }
}

/// Twenty raw bytes, or the same as forty hex digits, as some clients write them.
fn twenty(name: &'static str, value: &[u8]) -> Result<[u8; 20], RequestError> {
    value.try_into().ok().or_else(|| twenty_from_hex(value)).ok_or(RequestError::NotTwentyBytes(name))
}

/// A decimal number; `None` if it is none, as `left=-1` of a client that does not know. Too large a number is as large
/// as can be.
fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = value.iter().map(|digit| u64::from(digit - b'0'));
    Some(digits.fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(digit)))
}

/// A key as most clients write it, up to eight hex digits, is that number; any other text is folded into one.
fn key_from_text(value: &[u8]) -> u32 {
    let text = std::str::from_utf8(value).ok().filter(|text| (1..=8).contains(&text.len()));
    if let Some(key) = text.and_then(|text| u32::from_str_radix(text, 16).ok()) {
        return key;
    }
    // FNV-1a: a key guards one peer's entry against strangers who do not know it, not against forgers who do.
    value.iter().fold(0x811c_9dc5, |key: u32, byte| (key ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn event_from_text(value: &[u8]) -> Event {
    match value {
        b"started" => Event::Started,
        b"completed" => Event::Completed,
        b"stopped" => Event::Stopped,
        b"paused" => Event::Paused,
        _ => Event::None,
    }
}

fn event_text(event: Event) -> Option<&'static str> {
    match event {
        Event::None => None,
        Event::Started => Some("started"),
        Event::Completed => Some("completed"),
        Event::Stopped => Some("stopped"),
        Event::Paused => Some("paused"),
    }
}

fn start_query(tracker: &TrackerUrl) -> String {
    let path_and_query = tracker.path_and_query();
    let mut url = String::with_capacity(tracker.as_str().len() + 320);
    url.push_str(tracker.as_str());
    if path_and_query.is_empty() {
        url.push('/');
    }
    match path_and_query.find('?') {
        None => url.push('?'),
        Some(at) if at + 1 == path_and_query.len() || path_and_query.ends_with('&') => {}
        Some(_) => url.push('&'),
    }
    url
}

fn push_bytes(url: &mut String, name: &str, value: &[u8]) {
    url.push_str(name);
    url.push('=');
    encode_into(url, value);
}

#[cfg(test)]
mod tests;
