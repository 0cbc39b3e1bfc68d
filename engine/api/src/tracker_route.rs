//! The tracker by HTTP (BEP 3, 7, 23, 48): announce and scrape. Queries and replies are spelt by `tracker`; what an
//! announce does is for the service.

use std::net::IpAddr;

use control::tracker_service::{Asked, TrackerService};
use hyper::{Request, Response, StatusCode};
use tracker::http::{announce_reply, failure_reply, parse_announce, parse_scrape, scrape_reply};
use tracker::table::{Answer, Refusal, Source};
use tracker::{Failure, Retry};

use crate::server::{Body, Count, plain};

/// Peers in a reply are the table's to limit; a stream has room for any number.
const NO_WIRE_LIMIT: usize = usize::MAX;

/// Who asks.
pub(crate) fn source<B>(request: &Request<B>, from: IpAddr, local: Option<IpAddr>, trust_loopback: bool) -> Source {
    match forwarded(request, from).filter(|_| trust_loopback) {
        // The address at which a proxy reached us is of no use to its client.
        Some(ip) => Source { ip, local: None },
        None => Source { ip: from, local },
    }
}

/// The address that a reverse proxy on this host asks for: what it appended to `X-Forwarded-For` itself. From anywhere
/// else the header is anybody's claim.
fn forwarded<B>(request: &Request<B>, from: IpAddr) -> Option<IpAddr> {
    if !from.is_loopback() {
        return None;
    }
    let last = request.headers().get_all("x-forwarded-for").into_iter().next_back()?;
    last.to_str().ok()?.rsplit(',').next()?.trim().parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// Answers what a path asks for, with the key that it shows.
pub(crate) fn respond(
    (asked, key): (Asked, Option<&str>),
    query: &[u8],
    source: Source,
    service: &TrackerService,
) -> (Response<Body>, Count) {
    match asked {
        Asked::Announce => (bencoded(announce(query, source, key, service)), Count::Announces),
        Asked::Scrape => (bencoded(scrape(query, source, key, service)), Count::Scrapes),
    }
}

fn announce(query: &[u8], source: Source, key: Option<&str>, service: &TrackerService) -> Vec<u8> {
    let request = match parse_announce(query) {
        Ok(request) => request,
        Err(error) => return malformed(service, error.kind(), &error.to_string()),
    };
    let mut answer = Answer::default();
    match service.announce(&request, source, key, NO_WIRE_LIMIT, &mut answer) {
        Ok(()) => announce_reply(&answer, request.compact),
        Err(refusal) => refused(refusal),
    }
}

fn scrape(query: &[u8], source: Source, key: Option<&str>, service: &TrackerService) -> Vec<u8> {
    let info_hashes = match parse_scrape(query) {
        Ok(info_hashes) => info_hashes,
        Err(error) => return malformed(service, error.kind(), &error.to_string()),
    };
    match service.scrape(&info_hashes, source, key) {
        Ok(stats) => {
            let known = info_hashes.into_iter().zip(stats).filter_map(|(info_hash, stats)| Some((info_hash, stats?)));
            scrape_reply(&known.collect::<Vec<_>>())
        }
        Err(refusal) => refused(refusal),
    }
}

fn malformed(service: &TrackerService, kind: &'static str, reason: &str) -> Vec<u8> {
    service.count_malformed(kind);
    failure_reply(&Failure { reason: reason.to_owned(), retry: Retry::Unsaid })
}

fn refused(refusal: Refusal) -> Vec<u8> {
    let retry = match refusal {
        // It may be published in a moment.
        Refusal::NotAllowed => Retry::Unsaid,
        Refusal::TorrentsFull => Retry::AfterMinutes(30),
        Refusal::TooManyRequests => Retry::AfterMinutes(1),
    };
    failure_reply(&Failure { reason: refusal.to_string(), retry })
}

/// A tracker's reply has status 200 even if it is a refusal: clients read no body of any other.
fn bencoded(body: Vec<u8>) -> Response<Body> {
    plain(StatusCode::OK, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded_from(from: &str, headers: &[&str]) -> Option<IpAddr> {
        let mut request = Request::builder();
        for header in headers {
            request = request.header("X-Forwarded-For", *header);
        }
        forwarded(&request.body(()).unwrap(), from.parse().unwrap())
    }

    #[test]
    fn only_a_proxy_of_this_host_speaks_for_others_and_only_its_own_word_counts() {
        let real = Some("192.0.2.7".parse().unwrap());
        assert_eq!(forwarded_from("127.0.0.1", &["192.0.2.7"]), real);
        assert_eq!(forwarded_from("::1", &["10.0.0.1, ::ffff:192.0.2.7"]), real, "the first is the client's claim");
        assert_eq!(forwarded_from("127.0.0.1", &["10.0.0.1", "192.0.2.7"]), real);
        assert_eq!(forwarded_from("198.51.100.1", &["192.0.2.7"]), None);
        assert_eq!(forwarded_from("127.0.0.1", &["unknown"]), None);
        assert_eq!(forwarded_from("127.0.0.1", &[]), None);
    }
}
