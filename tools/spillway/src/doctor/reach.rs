//! Whether peers and the tracker answer at this machine's own addresses, asked as another process asks them. What stands between this
//! machine and the world is only seen from elsewhere, and how is said.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use hash::InfoHash;
use nix::ifaddrs::getifaddrs;
use settings::Settings;
use wire::{HANDSHAKE_SIZE, Handshake, PeerId, Reserved, parse_handshake};

use super::finding::Finding;
use crate::ctl::served;

/// What a connection, and an answer on it, may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Addresses that are tried; a machine may have thousands.
const MAX_ADDRESSES: usize = 16;

/// What is read of an answer over HTTP.
const MAX_ANSWER_BYTES: u64 = 1024;

/// Twenty bytes in hex, or the first twenty of a v2 torrent's thirty-two.
pub(super) fn parse_info_hash(text: &str) -> Result<InfoHash, String> {
    let digits = text.as_bytes();
    if !matches!(digits.len(), 40 | 64) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err("an info-hash has 40 or 64 hex digits".to_owned());
    }
    let mut bytes = [0; 20];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        *byte = u8::from_str_radix(pair, 16).map_err(|error| error.to_string())?;
    }
    Ok(InfoHash(bytes))
}

pub(super) fn look(settings: &Settings, info_hash: Option<InfoHash>) -> Vec<Finding> {
    let own = own_addresses();
    let of_service = || parse_info_hash(&served::info_hash(settings.control.socket.as_deref())?).ok();
    let info_hash = info_hash.or_else(of_service);
    let peers = targets(&settings.peers.listen, &own);
    let tracker = targets(&settings.tracker.listen, &own);
    let mut findings = Vec::new();
    findings.push(summarise("peers", &peers, |address| ask_peer(address, info_hash)));
    if !settings.tracker.listen.is_empty() {
        findings.push(summarise("tracker", &tracker, ask_tracker));
    }
    findings.push(from_outside(settings, &peers, &tracker));
    findings
}

/// What came of asking one address.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// It speaks our language.
    Right,
    /// It took the connection; what it would say is not known.
    Taken,
    /// Nobody listens.
    Refused,
    /// Something else is wrong.
    Wrong(String),
}

fn summarise(check: &'static str, targets: &[SocketAddr], ask: impl Fn(SocketAddr) -> Answer) -> Finding {
    if targets.is_empty() {
        return Finding::advice(
            check,
            "listens on addresses of this machine only that nobody else can reach",
            format!("{check}.listen = [\"0.0.0.0:PORT\", \"[::]:PORT\"] in the settings"),
            "Others connect to addresses that are not loopback",
        );
    }
    let answers: Vec<(SocketAddr, Answer)> = targets.iter().map(|address| (*address, ask(*address))).collect();
    judge(check, &answers)
}

fn judge(check: &'static str, answers: &[(SocketAddr, Answer)]) -> Finding {
    let list = |wanted: &dyn Fn(&Answer) -> bool| {
        let addresses = answers.iter().filter(|(_, answer)| wanted(answer)).map(|(address, _)| address.to_string());
        addresses.collect::<Vec<_>>().join(", ")
    };
    if answers.iter().all(|(_, answer)| *answer == Answer::Refused) {
        let all = list(&|_| true);
        return Finding::unknown(check, format!("nobody listens at {all}; start the service and ask again"));
    }
    let why = "What this machine does not get through to itself, others do not either";
    let wrong = answers.iter().find_map(|(address, answer)| match answer {
        Answer::Wrong(what) => Some(format!("{address}: {what}")),
        Answer::Refused => Some(format!("{address}: refused")),
        Answer::Right | Answer::Taken => None,
    });
    if let Some(wrong) = wrong {
        let change = format!(
            "look at the firewall (nft list ruleset), at {check}.listen, and at what else has the port (ss -ltnp)"
        );
        return Finding::problem(check, wrong, change, why);
    }
    let (right, taken) = (list(&|answer| *answer == Answer::Right), list(&|answer| *answer == Answer::Taken));
    match (right.is_empty(), taken.is_empty()) {
        (false, true) => Finding::ok(check, format!("answered at {right}")),
        (true, _) => Finding::ok(
            check,
            format!("connections are taken at {taken}; --info-hash of a torrent of yours asks for the handshake too"),
        ),
        (false, false) => Finding::ok(check, format!("answered at {right}, and connections are taken at {taken}")),
    }
}

/// What has to be tried from another machine.
fn from_outside(settings: &Settings, peers: &[SocketAddr], tracker: &[SocketAddr]) -> Finding {
    let behind_nat =
        peers.iter().all(|address| is_private(address.ip())) && settings.peers.external_addresses.is_empty();
    let external = settings.peers.external_addresses.first();
    let shown = |address: &SocketAddr| {
        let ip = external.map_or_else(
            || if behind_nat { "ADDRESS".to_owned() } else { address.ip().to_string() },
            IpAddr::to_string,
        );
        format!("nc -vz {ip} {}", address.port())
    };
    let commands: Vec<String> = [peers.first(), tracker.first()].into_iter().flatten().map(shown).collect();
    let change = format!("on another machine: {}", commands.join("; "));
    if behind_nat && !peers.is_empty() {
        return Finding::advice(
            "outside",
            "all addresses of this machine are private: it is behind NAT",
            format!(
                "forward TCP and UDP of these ports to it, name the address that others see in peers.external_addresses, then {change}"
            ),
            "Peers that cannot connect are only served if we connect to them, and a seed does not",
        );
    }
    let found = format!("a firewall or NAT in front of this machine is only seen from elsewhere; {change}");
    Finding::unknown("outside", found)
}

/// The addresses to ask for those that are listened on: a wildcard stands for all of its family but loopback.
fn targets(listen: &[SocketAddr], own: &[IpAddr]) -> Vec<SocketAddr> {
    let mut targets = Vec::new();
    for address in listen.iter().filter(|address| address.port() != 0) {
        let same_family = |ip: &&IpAddr| ip.is_ipv4() == address.is_ipv4();
        if address.ip().is_unspecified() {
            targets.extend(own.iter().filter(same_family).map(|ip| SocketAddr::new(*ip, address.port())));
        } else if !address.ip().is_loopback() {
            targets.push(*address);
        }
    }
    targets.dedup();
    targets.truncate(MAX_ADDRESSES);
    targets
}

/// Those that others could reach: neither loopback nor link-local.
fn own_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    });
    addresses.filter(|ip| !ip.is_loopback() && !is_link_local(*ip)).collect()
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Addresses that the world has no way to: RFC 1918 and 6598, and unique local ones of IPv6.
fn is_private(ip: IpAddr) -> bool {
    let shared = |ip: Ipv4Addr| ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
    let unique_local = |ip: Ipv6Addr| ip.segments()[0] & 0xfe00 == 0xfc00;
    match ip {
        IpAddr::V4(ip) => ip.is_private() || shared(ip),
        IpAddr::V6(ip) => unique_local(ip),
    }
}

/// Says a handshake and waits for the other one. Without a torrent that it has, a peer closes without a word.
fn ask_peer(address: SocketAddr, info_hash: Option<InfoHash>) -> Answer {
    let mut stream = match connect(address) {
        Ok(stream) => stream,
        Err(answer) => return answer,
    };
    let Some(info_hash) = info_hash else { return Answer::Taken };
    let ours = Handshake { reserved: Reserved::NONE, info_hash, peer_id: PeerId(*b"-SW0000-spillwaydoct") };
    let mut reply = [0; HANDSHAKE_SIZE];
    let said = stream.write_all(&ours.encode()).and_then(|()| stream.read_exact(&mut reply));
    match (said, parse_handshake(&reply)) {
        (Ok(()), Ok(Some(theirs))) if theirs.info_hash == info_hash => Answer::Right,
        (Ok(()), _) => Answer::Wrong("what answers there is no peer of that torrent".to_owned()),
        (Err(error), _) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Answer::Wrong(format!("closed without a handshake; does the service have {info_hash}?"))
        }
        (Err(error), _) => Answer::Wrong(error.to_string()),
    }
}

/// Asks the tracker's HTTP end how it is.
fn ask_tracker(address: SocketAddr) -> Answer {
    let mut stream = match connect(address) {
        Ok(stream) => stream,
        Err(answer) => return answer,
    };
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut reply = Vec::new();
    match stream.write_all(request.as_bytes()).and_then(|()| stream.take(MAX_ANSWER_BYTES).read_to_end(&mut reply)) {
        Ok(_) if reply.starts_with(b"HTTP/1.1 200 ") => Answer::Right,
        Ok(_) => Answer::Wrong("what answers there is no tracker of ours".to_owned()),
        Err(error) => Answer::Wrong(error.to_string()),
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream, Answer> {
    let connected = TcpStream::connect_timeout(&address, PATIENCE).and_then(|stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    });
    connected.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => Answer::Refused,
        _ => Answer::Wrong(error.to_string()),
    })
}

#[cfg(test)]
mod tests;
