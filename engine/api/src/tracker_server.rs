//! A tracker as operators know it: HTTP and UDP on the same port number, on any number of addresses, over one service.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use control::tracker_service::TrackerService;
use control::udp_tracker::{self, UdpTracker};
use tokio::task::JoinHandle;

use crate::server::{self, HttpLimits, Listener, Routes, Server};

/// How many ports are tried for one that is free for TCP and UDP on all addresses.
const PORT_TRIES: usize = 32;

/// A running tracker.
pub struct TrackerServer {
    local_addrs: Vec<SocketAddr>,
    /// None where another server has the tracker among its routes.
    http: Option<Server>,
    udp: Vec<UdpTracker>,
    sweeper: JoinHandle<()>,
}

/// Why a tracker cannot start. The fault is the operator's or this host's.
#[derive(Debug, thiserror::Error)]
pub enum TrackerServerError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({protocol}): {source}")]
    Bind {
        /// Which one.
        address: SocketAddr,
        /// `TCP` or `UDP`.
        protocol: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The sockets cannot be used.
    #[error("tracker sockets: {0}")]
    Sockets(#[from] io::Error),
}

type Sockets = Vec<(Option<TcpListener>, UdpSocket)>;

impl TrackerServer {
    /// Listens on each address, TCP and UDP. All addresses with port 0 get one and the same free port. Must be called
    /// on a tokio runtime.
    pub fn start(
        listen: &[SocketAddr],
        service: &TrackerService,
        limits: HttpLimits,
    ) -> Result<TrackerServer, TrackerServerError> {
        let (listeners, udp): (Vec<_>, Vec<_>) = bind_all(listen, true)?.into_iter().unzip();
        let listener = |socket| {
            let routes = Routes { tracker: Some(service.clone()), ..Routes::default() };
            Listener { socket, routes, tls: None }
        };
        let http = Server::start(listeners.into_iter().flatten().map(listener).collect(), limits)?;
        TrackerServer::with(Some(http), udp, service)
    }

    /// The same without HTTP: for whoever answers that on a [`Server`] of his own, where feeds are on the same port.
    pub fn start_udp(listen: &[SocketAddr], service: &TrackerService) -> Result<TrackerServer, TrackerServerError> {
        // A port that is picked here is to be free for that server, too.
        let picks = listen.iter().any(|address| address.port() == 0);
        let udp = bind_all(listen, picks)?.into_iter().map(|(_, udp)| udp).collect();
        TrackerServer::with(None, udp, service)
    }

    fn with(
        http: Option<Server>,
        sockets: Vec<UdpSocket>,
        service: &TrackerService,
    ) -> Result<TrackerServer, TrackerServerError> {
        let local_addrs = sockets.iter().map(UdpSocket::local_addr).collect::<io::Result<_>>()?;
        let start = |socket| UdpTracker::start(socket, service.clone());
        let udp = sockets.into_iter().map(start).collect::<io::Result<_>>()?;
        let swept = service.clone();
        let sweeper = tokio::spawn(async move { swept.sweep_forever().await });
        Ok(TrackerServer { local_addrs, http, udp, sweeper })
    }

    /// Where it listens, in the order asked for; TCP and UDP alike.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.local_addrs.clone()
    }

    /// The announce URLs, HTTP and UDP for each address. For a wildcard they name the address from which this host
    /// would reach others.
    pub fn urls(&self) -> Vec<String> {
        let addresses = self.local_addrs().into_iter();
        let addresses = addresses.map(reachable);
        addresses
            .flat_map(|address| [format!("http://{address}/announce"), format!("udp://{address}/announce")])
            .collect()
    }

    /// Stops listening, lets requests under way be answered for a moment, and closes everything.
    pub async fn stop(self) {
        self.sweeper.abort();
        // All at once: each may take its moment.
        let udp: Vec<_> = self.udp.into_iter().map(|tracker| tokio::spawn(tracker.stop())).collect();
        if let Some(http) = self.http {
            http.stop().await;
        }
        for stopped in udp {
            let _ = stopped.await;
        }
    }
}

fn bind_all(listen: &[SocketAddr], with_http: bool) -> Result<Sockets, TrackerServerError> {
    let mut tries_left = PORT_TRIES;
    loop {
        tries_left -= 1;
        match try_bind_all(listen, with_http) {
            // Somebody else has the picked port for another protocol or family: pick another.
            Err(TrackerServerError::Bind { source, address, .. })
                if source.kind() == io::ErrorKind::AddrInUse && address.port() == 0 && tries_left > 0 => {}
            result => return result,
        }
    }
}

fn try_bind_all(listen: &[SocketAddr], with_http: bool) -> Result<Sockets, TrackerServerError> {
    let mut picked_port = 0;
    let mut sockets = Vec::new();
    for address in listen {
        let mut bind_at = *address;
        if address.port() == 0 {
            bind_at.set_port(picked_port);
        }
        // An error names the address that was asked for, port 0 if it was.
        let failed = |protocol| move |source| TrackerServerError::Bind { address: *address, protocol, source };
        let listener = with_http.then(|| server::bind(bind_at)).transpose().map_err(failed("TCP"))?;
        if let Some(listener) = &listener {
            bind_at.set_port(listener.local_addr()?.port());
        }
        let socket = udp_tracker::bind(bind_at).map_err(failed("UDP"))?;
        bind_at.set_port(socket.local_addr()?.port());
        if address.port() == 0 {
            picked_port = bind_at.port();
        }
        sockets.push((listener, socket));
    }
    Ok(sockets)
}

/// Where others are likely to reach a listener of this host: there, or for a wildcard at the address from which this host
/// would reach others.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(named_ip(address.ip()), address.port())
}

/// The address itself, or for a wildcard the one that the routing table would send from. Connecting a UDP socket sends
/// nothing; the addresses are those of documentation (RFC 5737, RFC 3849).
fn named_ip(ip: IpAddr) -> IpAddr {
    if !ip.is_unspecified() {
        return ip;
    }
    let far: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let route = UdpSocket::bind((ip, 0)).and_then(|socket| {
        socket.connect((far, 9))?;
        socket.local_addr()
    });
    let loopback: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    route.map(|address| address.ip()).ok().filter(|ip| !ip.is_unspecified()).unwrap_or(loopback)
}
