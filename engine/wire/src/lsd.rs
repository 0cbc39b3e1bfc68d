//! Local service discovery (BEP 14): a multicast datagram in the manner of HTTP that says "I am here, and take part in these
//! swarms". When and where it is sent is for `control`.

use std::io::Write as _;
use std::net::SocketAddr;

use arrayvec::ArrayVec;
use hash::InfoHash;

/// The longest datagram that is sent or read. BEP 14 wants no fragments, and speaks of 1400 bytes for the sender.
pub const LSD_DATAGRAM_BYTES: usize = 1400;

/// How many info-hashes one datagram holds: lines of 52 bytes, beside at most 120 bytes of others.
pub const LSD_INFO_HASHES_LIMIT: usize = 24;

/// How long our cookie may be.
pub const LSD_COOKIE_BYTES: usize = 16;

const REQUEST_LINE: &str = "BT-SEARCH * HTTP/1.1";

/// What somebody on our network says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LsdAnnounce<'a> {
    /// The port where it takes connections; its address is where the datagram comes from. Never 0.
    pub port: u16,
    /// The swarms that it takes part in, at least one.
    pub info_hashes: ArrayVec<InfoHash, LSD_INFO_HASHES_LIMIT>,
    /// By which a sender knows its own datagrams.
    pub cookie: Option<&'a [u8]>,
}

/// Why a datagram is no announce. It was sent by a neighbour that is mistaken, or means something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LsdError {
    /// Longer than [`LSD_DATAGRAM_BYTES`].
    #[error("the datagram is longer than an announce may be")]
    TooLong,
    /// The first line is another.
    #[error("the datagram is no BT-SEARCH")]
    OtherRequest,
    /// There is no port, or none that can be dialled.
    #[error("the announce has no valid port")]
    BadPort,
    /// There is no info-hash of 40 hexadecimal digits.
    #[error("the announce has no valid info-hash")]
    NoInfoHash,
}

impl<'a> LsdAnnounce<'a> {
    /// Reads a datagram. Headers that nobody knows are ignored, and so are info-hashes that are none; beyond
    /// [`LSD_INFO_HASHES_LIMIT`], which no sender that keeps to BEP 14 reaches, the rest is left out.
    ///
    /// # Errors
    /// An [`LsdError`].
    pub fn parse(datagram: &'a [u8]) -> Result<LsdAnnounce<'a>, LsdError> {
        if datagram.len() > LSD_DATAGRAM_BYTES {
            return Err(LsdError::TooLong);
        }
        let mut lines = datagram.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        if !lines.next().is_some_and(|line| line.eq_ignore_ascii_case(REQUEST_LINE.as_bytes())) {
            return Err(LsdError::OtherRequest);
        }
        let (mut port, mut info_hashes, mut cookie) = (None, ArrayVec::new(), None);
        for line in lines.take_while(|line| !line.is_empty()) {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"port") {
                port = decimal(value).filter(|port| *port != 0);
            } else if name.eq_ignore_ascii_case(b"infohash") {
                if let Some(info_hash) = hexadecimal(value) {
                    // One too many is left out.
                    let _ = info_hashes.try_push(info_hash);
                }
            } else if name.eq_ignore_ascii_case(b"cookie") {
                cookie = Some(value);
            }
        }
        let port = port.ok_or(LsdError::BadPort)?;
        if info_hashes.is_empty() {
            return Err(LsdError::NoInfoHash);
        }
        Ok(LsdAnnounce { port, info_hashes, cookie })
    }
}

/// The datagram that tells the members of `group` that we take connections at `port` for these swarms: at most
/// [`LSD_INFO_HASHES_LIMIT`], the others are left out. The cookie is cut at [`LSD_COOKIE_BYTES`].
pub fn encode_lsd(group: SocketAddr, port: u16, info_hashes: &[InfoHash], cookie: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(LSD_DATAGRAM_BYTES);
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{REQUEST_LINE}\r\nHost: {group}\r\nPort: {port}\r\n");
    for info_hash in info_hashes.iter().take(LSD_INFO_HASHES_LIMIT) {
        let _ = write!(out, "Infohash: {info_hash}\r\n");
    }
    let _ = write!(out, "cookie: {cookie:.LSD_COOKIE_BYTES$}\r\n\r\n\r\n");
    out
}

fn decimal(digits: &[u8]) -> Option<u16> {
    // `parse` alone takes a sign as well.
    std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?.parse().ok()
}

fn hexadecimal(digits: &[u8]) -> Option<InfoHash> {
    let digits: &[u8; 40] = digits.try_into().ok()?;
    let mut bytes = [0; 20];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(InfoHash(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "0123456789abcdef0123456789ABCDEF01234567";

    fn group() -> SocketAddr {
        "239.192.152.143:6771".parse().unwrap()
    }

    #[test]
    fn an_announce_is_the_one_that_bep_14_prints() {
        let hashes = [InfoHash([0x0a; 20]), InfoHash([0xb0; 20])];
        let group = "[ff15::efc0:988f]:6771".parse().unwrap();
        let expected = "BT-SEARCH * HTTP/1.1\r\nHost: [ff15::efc0:988f]:6771\r\nPort: 6881\r\n\
            Infohash: 0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a\r\n\
            Infohash: b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0\r\ncookie: 1f\r\n\r\n\r\n";
        assert_eq!(String::from_utf8(encode_lsd(group, 6881, &hashes, "1f")).unwrap(), expected);
    }

    #[test]
    fn the_longest_announce_fits_a_datagram() {
        let group = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap();
        let datagram = encode_lsd(group, 65535, &[InfoHash([1; 20]); 99], &"c".repeat(99));
        assert!(datagram.len() <= LSD_DATAGRAM_BYTES, "{}", datagram.len());
        let announce = LsdAnnounce::parse(&datagram).unwrap();
        assert_eq!(announce.info_hashes.len(), LSD_INFO_HASHES_LIMIT);
        assert_eq!(announce.cookie.map(<[u8]>::len), Some(LSD_COOKIE_BYTES));
    }

    #[test]
    fn other_senders_write_it_otherwise() {
        let text = format!("bt-search * http/1.1\nHOST:x\nport :  7\nX-Unknown\nINFOHASH:{HASH}\ninfohash: short\n");
        let announce = LsdAnnounce::parse(text.as_bytes()).unwrap();
        assert_eq!((announce.port, announce.cookie, announce.info_hashes.len()), (7, None, 1));
        assert_eq!(announce.info_hashes[0].to_string(), HASH.to_lowercase());
        let text = format!("BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: {HASH}\r\n\r\nPort: 2\r\n");
        assert_eq!(LsdAnnounce::parse(text.as_bytes()).unwrap().port, 1, "what is behind the blank line is no header");
    }

    #[test]
    fn what_is_no_announce_is_refused_and_told_why() {
        let refused = |text: &str| LsdAnnounce::parse(text.as_bytes()).unwrap_err();
        assert_eq!(refused(""), LsdError::OtherRequest);
        assert_eq!(refused("M-SEARCH * HTTP/1.1\r\nPort: 1\r\n"), LsdError::OtherRequest);
        for port in ["", "Port: 0\r\n", "Port: 65536\r\n", "Port: +5\r\n", "Port: -5\r\n", "Port: 5x\r\n", "Port:\r\n"]
        {
            assert_eq!(refused(&format!("{REQUEST_LINE}\r\n{port}Infohash: {HASH}\r\n")), LsdError::BadPort, "{port}");
        }
        for hash in ["", "Infohash: \r\n", "Infohash: +123456789abcdef0123456789ABCDEF01234567\r\n"] {
            assert_eq!(refused(&format!("{REQUEST_LINE}\r\nPort: 5\r\n{hash}")), LsdError::NoInfoHash);
        }
        assert_eq!(refused(&"x".repeat(LSD_DATAGRAM_BYTES + 1)), LsdError::TooLong);
    }

    proptest! {
        #[test]
        fn every_announce_reads_back(
            port in 1u16..,
            hashes in prop::collection::vec(any::<[u8; 20]>(), 1..=LSD_INFO_HASHES_LIMIT),
            cookie in "[0-9a-f]{1,16}",
        ) {
            let hashes: Vec<InfoHash> = hashes.into_iter().map(InfoHash).collect();
            let datagram = encode_lsd(group(), port, &hashes, &cookie);
            let announce = LsdAnnounce::parse(&datagram).unwrap();
            prop_assert_eq!((announce.port, announce.cookie), (port, Some(cookie.as_bytes())));
            prop_assert_eq!(announce.info_hashes.as_slice(), hashes.as_slice());
        }

        #[test]
        fn arbitrary_datagrams_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            lines in prop::collection::vec("(Port|Infohash|cookie)?:? ?[0-9a-f:\r\n]{0,45}", 0..9),
        ) {
            let _ = LsdAnnounce::parse(&bytes);
            let _ = LsdAnnounce::parse(format!("{REQUEST_LINE}\r\n{}", lines.join("\r\n")).as_bytes());
        }
    }
}
