//! The parts of a magnet link to its text.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Magnet;

/// What is written as it is: the unreserved characters of RFC 3986. Some clients split at `:` and `/` no better than at `&`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl fmt::Display for Magnet {
    /// The link, info-hashes first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = '?';
        let mut part = |f: &mut fmt::Formatter<'_>, key: &str, value: fmt::Arguments<'_>| {
            let start = std::mem::replace(&mut before, '&');
            write!(f, "{start}{key}={value}")
        };
        f.write_str("magnet:")?;
        if let Some(digest) = self.info_hash_v1 {
            part(f, "xt", format_args!("urn:btih:{digest}"))?;
        }
        if let Some(digest) = self.info_hash_v2 {
            part(f, "xt", format_args!("urn:btmh:1220{digest}"))?;
        }
        if let Some(name) = &self.name {
            part(f, "dn", format_args!("{}", utf8_percent_encode(name, ENCODED)))?;
        }
        if let Some(size) = self.total_size {
            part(f, "xl", format_args!("{size}"))?;
        }
        for (key, urls) in [("tr", &self.trackers), ("ws", &self.web_seeds), ("xs", &self.exact_sources)] {
            for url in urls {
                part(f, key, format_args!("{}", utf8_percent_encode(url, ENCODED)))?;
            }
        }
        for peer in &self.peers {
            // The brackets and the colon of an address are left readable, as BEP 9 shows them.
            match peer.host.contains(':') {
                true => part(f, "x.pe", format_args!("[{}]:{}", peer.host, peer.port))?,
                false => part(f, "x.pe", format_args!("{}:{}", utf8_percent_encode(&peer.host, ENCODED), peer.port))?,
            }
        }
        let ranges: Vec<String> = self.select_only.iter().map(range).collect();
        if !ranges.is_empty() {
            part(f, "so", format_args!("{}", ranges.join(",")))?;
        }
        Ok(())
    }
}

fn range(range: &std::ops::RangeInclusive<u32>) -> String {
    match range.start() == range.end() {
        true => range.start().to_string(),
        false => format!("{}-{}", range.start(), range.end()),
    }
}
