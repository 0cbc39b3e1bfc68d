//! A tracker's address as a torrent file gives it: `http`, `https` or `udp`, with whatever path and query (a passkey,
//! say) belongs to it. Names are not resolved here.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

/// The longest tracker URL that is accepted; real ones stay below 200 bytes even with a passkey.
pub const MAX_URL_BYTES: usize = 2048;

/// How a tracker is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Scheme {
    /// BEP 3 over TCP.
    Http,
    /// BEP 3 over TLS.
    Https,
    /// BEP 15.
    Udp,
}

/// A checked tracker URL.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TrackerUrl {
    text: String,
    scheme: Scheme,
    /// Shared with the keys of the schedule, of which there are many.
    host: Arc<str>,
    port: u16,
    /// Where path and query start in `text`; `text.len()` if there are none.
    path_start: usize,
}

/// Why a tracker URL is of no use. The fault is the torrent file's or the operator's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UrlError {
    /// Longer than [`MAX_URL_BYTES`].
    #[error("tracker URL is longer than {MAX_URL_BYTES} bytes")]
    TooLong,
    /// White space, control characters or anything outside ASCII.
    #[error("tracker URL has a character that no URL may have")]
    BadCharacter,
    /// Neither `http`, `https` nor `udp`, as with WebTorrent's `wss`.
    #[error("tracker URL is neither http, https nor udp")]
    UnknownScheme,
    /// No host, or brackets without an IPv6 address in them.
    #[error("tracker URL has no usable host")]
    BadHost,
    /// Not a number from 1 to 65535, or missing where UDP needs it.
    #[error("tracker URL has no usable port")]
    BadPort,
}

impl TrackerUrl {
    /// Checks `text`. A fragment is cut off; it means nothing to a server.
    pub fn parse(text: &str) -> Result<TrackerUrl, UrlError> {
        let text = text.trim();
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError::BadCharacter);
        }
        let text = text.split('#').next().unwrap_or_default();
        let (scheme_text, rest) = text.split_once("://").ok_or(UrlError::UnknownScheme)?;
        let scheme = Scheme::from_text(scheme_text).ok_or(UrlError::UnknownScheme)?;
        let authority_size = rest.find(['/', '?']).unwrap_or(rest.len());
        let authority = rest.get(..authority_size).unwrap_or_default();
        let (host, port) = split_authority(authority)?;
        let port = match port {
            Some(text) => text.parse().ok().filter(|port| *port != 0).ok_or(UrlError::BadPort)?,
            None => scheme.default_port().ok_or(UrlError::BadPort)?,
        };
        let path_start = scheme_text.len() + "://".len() + authority_size;
        Ok(TrackerUrl { text: text.to_owned(), scheme, host: host.to_ascii_lowercase().into(), port, path_start })
    }

    /// The URL as it was given, without a fragment.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How the tracker is spoken to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host in lower case, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn shared_host(&self) -> Arc<str> {
        Arc::clone(&self.host)
    }

    /// The host if it is an address and need not be resolved.
    pub fn host_ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The port, given or the scheme's own.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query as given, for BEP 41's option; empty if the URL ends with the port.
    pub fn path_and_query(&self) -> &str {
        self.text.get(self.path_start..).unwrap_or_default()
    }

    /// Where the tracker is scraped: over UDP the same URL, over HTTP the one whose last path component has `scrape`
    /// for `announce` (BEP 48). `None` if the URL follows no such convention.
    pub fn scrape_url(&self) -> Option<TrackerUrl> {
        if self.scheme == Scheme::Udp {
            return Some(self.clone());
        }
        let path_end = self.text.find('?').unwrap_or(self.text.len());
        let path = self.text.get(self.path_start..path_end)?;
        let last = path.rfind('/')? + 1;
        let name = path.get(last..)?.strip_prefix("announce")?;
        let before = self.text.get(..self.path_start + last)?;
        let after = self.text.get(path_end..)?;
        Some(TrackerUrl { text: format!("{before}scrape{name}{after}"), ..self.clone() })
    }
}

impl FromStr for TrackerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<TrackerUrl, UrlError> {
        TrackerUrl::parse(text)
    }
}

impl fmt::Display for TrackerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for TrackerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrackerUrl({})", self.text)
    }
}

impl Scheme {
    fn from_text(text: &str) -> Option<Scheme> {
        let schemes = [("http", Scheme::Http), ("https", Scheme::Https), ("udp", Scheme::Udp)];
        schemes.into_iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|(_, scheme)| scheme)
    }

    fn default_port(self) -> Option<u16> {
        match self {
            Scheme::Http => Some(80),
            Scheme::Https => Some(443),
            Scheme::Udp => None,
        }
    }
}

/// Host and port text of `user@host:port`.
fn split_authority(authority: &str) -> Result<(&str, Option<&str>), UrlError> {
    let host_port = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = if let Some(rest) = host_port.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(UrlError::BadHost)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError::BadHost)?;
        match after {
            "" => (host, None),
            _ => (host, Some(after.strip_prefix(':').ok_or(UrlError::BadPort)?)),
        }
    } else {
        match host_port.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host_port, None),
        }
    };
    if host.is_empty() { Err(UrlError::BadHost) } else { Ok((host, port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passkey_and_a_bare_port_survive() {
        let url = TrackerUrl::parse("udp://Tracker.Example:6969/announce?pass=a%20b#x").unwrap();
        assert_eq!((url.scheme(), url.host(), url.port()), (Scheme::Udp, "tracker.example", 6969));
        assert_eq!(url.path_and_query(), "/announce?pass=a%20b");
        let url = TrackerUrl::parse("HTTPS://[2001:db8::1]").unwrap();
        assert_eq!((url.host(), url.port(), url.path_and_query()), ("2001:db8::1", 443, ""));
        assert_eq!(TrackerUrl::parse("http://h?x=1").unwrap().path_and_query(), "?x=1");
    }

    #[test]
    fn what_is_no_tracker_url_is_refused_with_its_reason() {
        for (text, error) in [
            ("wss://h:1/", UrlError::UnknownScheme),
            ("http://", UrlError::BadHost),
            ("http://[::g]/", UrlError::BadHost),
            ("udp://h/announce", UrlError::BadPort),
            ("http://h:0/", UrlError::BadPort),
            ("http://h:65536/", UrlError::BadPort),
            ("http://h/a b", UrlError::BadCharacter),
            ("http://h/\u{fffd}", UrlError::BadCharacter),
        ] {
            assert_eq!(TrackerUrl::parse(text), Err(error), "{text}");
        }
        assert_eq!(TrackerUrl::parse(&format!("http://{}", "h".repeat(3000))), Err(UrlError::TooLong));
    }

    #[test]
    fn only_an_announce_url_can_be_scraped() {
        let scrape = |text| TrackerUrl::parse(text).unwrap().scrape_url().map(|url| url.as_str().to_owned());
        assert_eq!(scrape("http://h/x/announce.php?k=1").as_deref(), Some("http://h/x/scrape.php?k=1"));
        assert_eq!(scrape("http://h/announce/a"), None);
        assert_eq!(scrape("http://h"), None);
        assert_eq!(scrape("udp://h:1").as_deref(), Some("udp://h:1"));
    }
}
