//! What clients of the HTTP server may take.

use std::time::Duration;

/// The limits of one HTTP server, all its listeners together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HttpLimits {
    /// Connections at once; one more is refused at once with status 503.
    pub max_connections: usize,
    /// Connections at once from one address, or one /64 of IPv6; one more is refused the same way.
    pub max_connections_per_address: usize,
    /// What a request's head may take; a full scrape has 5.3 KB.
    pub max_head_bytes: usize,
    /// How long a request's head, or a TLS handshake, may take to arrive.
    pub header_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub stall_timeout: Duration,
    /// Requests on one connection; with the answer to the last it is closed.
    pub max_requests: u32,
    /// How long a connection may live, busy or not; a request under way is still answered.
    pub connection_life: Duration,
    /// Whether a reverse proxy on this host, that is any address of loopback, speaks for others: it may open as many
    /// connections as there are, and its `X-Forwarded-For` says who asks the tracker.
    pub trust_loopback: bool,
}

impl Default for HttpLimits {
    fn default() -> HttpLimits {
        HttpLimits {
            max_connections: 8192,
            // A university behind one address, when a release appears.
            max_connections_per_address: 256,
            max_head_bytes: 16 * 1024,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(20),
            max_requests: 10_000,
            connection_life: Duration::from_secs(120),
            trust_loopback: true,
        }
    }
}
