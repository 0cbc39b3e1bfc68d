//! Announce and scrape as HTTP spells them: a query string out, a bencoded dictionary back (BEP 3, 7, 23, 31, 48).
//! The requests around them (headers, connections, TLS) are for the callers.

mod query;
mod reply;
mod request;
mod respond;

pub(crate) use reply::printable;
pub use reply::{MAX_REPLY_PEERS, ReplyError, parse_announce_reply, parse_scrape_reply};
pub use request::{
    MAX_QUERY_BYTES, MAX_SCRAPE_HASHES, RequestError, announce_url, parse_announce, parse_scrape, scrape_url,
};
pub use respond::{announce_reply, failure_reply, scrape_reply};
