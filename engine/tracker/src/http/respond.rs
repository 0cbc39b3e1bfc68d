//! Replies over HTTP as the server writes them.

use bencode::encode_dict;
use hash::InfoHash;

use crate::announce::{Failure, Retry};
use crate::family::{Family, unpack};
use crate::scrape::SwarmStats;
use crate::table::Answer;

/// The reply to an announce: packed addresses, or a list of dictionaries for the client that asked for no compact form.
/// Peers in a list carry no peer ids, since the table keeps none.
pub fn announce_reply(answer: &Answer, compact: bool) -> Vec<u8> {
    encode_dict(|dict| {
        dict.int("complete", answer.stats.seed_count.into());
        dict.int("downloaded", answer.stats.completed_count.into());
        dict.int("incomplete", answer.stats.leech_count.into());
        dict.int("interval", answer.interval_s.into());
        dict.int("min interval", answer.min_interval_s.into());
        match (compact, answer.family) {
            (true, Family::V4) => {
                dict.bytes("peers", &answer.packed_peers);
            }
            (true, Family::V6) => {
                // Some clients take a reply without `peers` for broken.
                dict.bytes("peers", "").bytes("peers6", &answer.packed_peers);
            }
            (false, family) => {
                dict.list("peers", |list| {
                    for peer in unpack(family, &answer.packed_peers) {
                        list.dict(|entry| {
                            entry.bytes("ip", peer.ip().to_string()).int("port", peer.port().into());
                        });
                    }
                });
            }
        }
    })
}

/// The reply to a scrape.
pub fn scrape_reply(swarms: &[(InfoHash, SwarmStats)]) -> Vec<u8> {
    encode_dict(|dict| {
        dict.dict("files", |files| {
            for (info_hash, stats) in swarms {
                files.dict(info_hash.0, |entry| {
                    entry.int("complete", stats.seed_count.into());
                    entry.int("downloaded", stats.completed_count.into());
                    entry.int("incomplete", stats.leech_count.into());
                });
            }
        });
    })
}

/// A refusal (BEP 3, BEP 31), the same for announce and scrape.
pub fn failure_reply(failure: &Failure) -> Vec<u8> {
    encode_dict(|dict| {
        dict.bytes("failure reason", &failure.reason);
        match failure.retry {
            Retry::Unsaid => {}
            Retry::AfterMinutes(minutes) => {
                dict.int("retry in", minutes.into());
            }
            Retry::Never => {
                dict.bytes("retry in", "never");
            }
        }
    })
}
