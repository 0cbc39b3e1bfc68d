//! A magnet link's text to its parts.

use std::ops::RangeInclusive;
use std::str::FromStr;

use data_encoding::{BASE32, HEXLOWER_PERMISSIVE};
use hash::{Sha1Digest, Sha256Digest};
use percent_encoding::percent_decode_str;

use super::{Magnet, MagnetError, MagnetPeer, MagnetProblem};
use crate::limits::{MAX_FILES, MAX_MAGNET_BYTES, MAX_MAGNET_PARTS, MAX_TRACKERS, MAX_URL_BYTES, MAX_WEB_SEEDS};

/// The most `xs` that are kept; one is usual.
const MAX_EXACT_SOURCES: usize = 16;

/// The multihash of a SHA-256: code 0x12, 0x20 bytes.
const SHA256_MULTIHASH: &str = "1220";

impl FromStr for Magnet {
    type Err = MagnetError;

    /// Reads a link. Parameters that are not known are passed over, and so are `xt` of other networks.
    fn from_str(text: &str) -> Result<Magnet, MagnetError> {
        if text.len() > MAX_MAGNET_BYTES {
            return Err(error("magnet", MagnetProblem::TooLong));
        }
        let text = text.trim();
        let is_magnet = text.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("magnet:?"));
        let query = text.get(8..).filter(|_| is_magnet).ok_or(error("magnet", MagnetProblem::NotAMagnet))?;
        let mut magnet = Magnet::default();
        // Web pages that were copied as source leave `&amp;` behind.
        for part in query.split('&').map(|part| part.strip_prefix("amp;").unwrap_or(part)) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            magnet.take(unnumbered(key), value)?;
        }
        if magnet.info_hash_v1.is_none() && magnet.info_hash_v2.is_none() {
            return Err(error("xt", MagnetProblem::NoInfoHash));
        }
        Ok(magnet)
    }
}

impl Magnet {
    fn take(&mut self, key: &str, value: &str) -> Result<(), MagnetError> {
        match key {
            "xt" => self.take_info_hash(&decoded("xt", value)?),
            "dn" => {
                // Forms write spaces as `+`; a plus itself is written %2B by everyone who encodes at all.
                let name = decoded("dn", &value.replace('+', " "))?;
                self.name.get_or_insert(name);
                Ok(())
            }
            "xl" => {
                let size = value.parse().map_err(|_| error("xl", MagnetProblem::NotANumber))?;
                self.total_size.get_or_insert(size);
                Ok(())
            }
            "tr" => push_url("tr", &mut self.trackers, value, MAX_TRACKERS),
            "ws" => push_url("ws", &mut self.web_seeds, value, MAX_WEB_SEEDS),
            "xs" => {
                // Other networks put keys and hashes of theirs here: what is no URL of ours is passed over.
                let _ = push_url("xs", &mut self.exact_sources, value, MAX_EXACT_SOURCES);
                Ok(())
            }
            "x.pe" => push("x.pe", &mut self.peers, read_peer(&decoded("x.pe", value)?)?, MAX_MAGNET_PARTS),
            "so" => {
                for range in decoded("so", value)?.split(',').filter(|range| !range.is_empty()) {
                    push("so", &mut self.select_only, read_range(range)?, MAX_MAGNET_PARTS)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn take_info_hash(&mut self, urn: &str) -> Result<(), MagnetError> {
        let kind = urn.get(..9).unwrap_or_default().to_ascii_lowercase();
        let rest = urn.get(9..).unwrap_or_default();
        match kind.as_str() {
            "urn:btih:" => set(&mut self.info_hash_v1, read_btih(rest)?),
            "urn:btmh:" => set(&mut self.info_hash_v2, read_btmh(rest)?),
            _ => Ok(()),
        }
    }
}

/// `xt.1`, `tr.2` and so on are written by some for parameters that appear more than once.
fn unnumbered(key: &str) -> &str {
    match key.split_once('.') {
        Some((name, number)) if number.parse::<u32>().is_ok() => name,
        _ => key,
    }
}

fn set<T: PartialEq>(slot: &mut Option<T>, value: T) -> Result<(), MagnetError> {
    if slot.as_ref().is_some_and(|known| *known != value) {
        return Err(error("xt", MagnetProblem::TwoInfoHashes));
    }
    *slot = Some(value);
    Ok(())
}

fn read_btih(digits: &str) -> Result<Sha1Digest, MagnetError> {
    let bytes = match digits.len() {
        40 => HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok(),
        32 => BASE32.decode(digits.to_ascii_uppercase().as_bytes()).ok(),
        _ => None,
    };
    bytes.and_then(|bytes| bytes.try_into().ok()).map(Sha1Digest).ok_or(error("xt", MagnetProblem::BadInfoHash))
}

fn read_btmh(digits: &str) -> Result<Sha256Digest, MagnetError> {
    let bytes = digits.strip_prefix(SHA256_MULTIHASH).filter(|digits| digits.len() == 64);
    bytes
        .and_then(|digits| HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?.try_into().ok())
        .map(Sha256Digest)
        .ok_or(error("xt", MagnetProblem::BadMultihash))
}

fn read_peer(text: &str) -> Result<MagnetPeer, MagnetError> {
    let parts = match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:"),
        None => text.rsplit_once(':').filter(|(host, _)| !host.contains(':')),
    };
    let peer = parts.and_then(|(host, port)| Some((host, port.parse().ok().filter(|port| *port != 0)?)));
    let is_host = |host: &str| {
        !host.is_empty() && host.len() <= 253 && !host.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    match peer {
        Some((host, port)) if is_host(host) => Ok(MagnetPeer { host: host.to_owned(), port }),
        _ => Err(error("x.pe", MagnetProblem::BadPeer)),
    }
}

fn read_range(text: &str) -> Result<RangeInclusive<u32>, MagnetError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse::<u32>(), last.parse::<u32>()) {
        (Ok(first), Ok(last)) if first <= last && (last as usize) < MAX_FILES => Ok(first..=last),
        _ => Err(error("so", MagnetProblem::BadSelection)),
    }
}

fn push_url(parameter: &'static str, urls: &mut Vec<String>, value: &str, most: usize) -> Result<(), MagnetError> {
    let url = decoded(parameter, value)?;
    if url.len() > MAX_URL_BYTES {
        return Err(error(parameter, MagnetProblem::TooLong));
    }
    if url.is_empty() || urls.contains(&url) {
        return Ok(());
    }
    push(parameter, urls, url, most)
}

fn push<T>(parameter: &'static str, list: &mut Vec<T>, value: T, most: usize) -> Result<(), MagnetError> {
    if list.len() >= most {
        return Err(error(parameter, MagnetProblem::TooMany(most)));
    }
    list.push(value);
    Ok(())
}

fn decoded(parameter: &'static str, value: &str) -> Result<String, MagnetError> {
    let bad = error(parameter, MagnetProblem::BadEncoding);
    let is_encoded = value
        .split('%')
        .skip(1)
        .all(|rest| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)));
    if !is_encoded {
        return Err(bad);
    }
    percent_decode_str(value).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| bad)
}

fn error(parameter: &'static str, problem: MagnetProblem) -> MagnetError {
    MagnetError { parameter, problem }
}
