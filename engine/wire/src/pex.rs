//! Peer exchange (BEP 11, `ut_pex`): who joined and who left a swarm, in packed addresses. When such a message may be
//! sent or is too much is for `swarm`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use bencode::Value;

use crate::{Message, WireError};

/// How many addresses of each family are taken from each of a message's lists. BEP 11 allows 50 of both families
/// together in all messages but a peer's first; libtorrent sends up to 100.
pub const PEX_LIST_LIMIT: usize = 50;

/// Bytes of a packed address: the address, then the port, in network order.
const V4_SIZE: usize = 6;
const V6_SIZE: usize = 18;

/// What is said of an added peer.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct PexFlags(pub u8);

impl PexFlags {
    /// Nothing.
    pub const NONE: PexFlags = PexFlags(0);
    /// It would rather speak encrypted.
    pub const PREFERS_ENCRYPTION: PexFlags = PexFlags(0x01);
    /// It downloads nothing.
    pub const SEED: PexFlags = PexFlags(0x02);
    /// It speaks uTP.
    pub const UTP: PexFlags = PexFlags(0x04);
    /// It speaks `ut_holepunch`.
    pub const HOLEPUNCH: PexFlags = PexFlags(0x08);
    /// The teller reached it by dialling.
    pub const REACHABLE: PexFlags = PexFlags(0x10);

    /// These flags and `other`'s.
    #[must_use]
    pub const fn with(self, other: PexFlags) -> PexFlags {
        PexFlags(self.0 | other.0)
    }

    /// Whether all flags of `other` are set.
    pub const fn has(self, other: PexFlags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Debug for PexFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PexFlags({:#04x})", self.0)
    }
}

/// A `ut_pex` message as it was received. The addresses are the teller's word: unchecked, perhaps invented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PexMessage<'a> {
    added: [&'a [u8]; 2],
    added_flags: [&'a [u8]; 2],
    dropped: [&'a [u8]; 2],
}

impl<'a> PexMessage<'a> {
    /// Reads the payload of an EXTENDED message that came under [`crate::UT_PEX_ID`]. A list that is missing or of the
    /// wrong type is as good as empty; an address that is cut short, and all behind the limit, are left out.
    ///
    /// # Errors
    /// [`WireError::BadDictionary`].
    pub fn parse(payload: &'a [u8]) -> Result<PexMessage<'a>, WireError> {
        let Ok((Value::Dict(dict), _)) = bencode::decode_prefix(payload, &bencode::Limits::default()) else {
            return Err(WireError::BadDictionary);
        };
        let [added, flags, added6, flags6, dropped, dropped6] = dict
            .get_all(["added", "added.f", "added6", "added6.f", "dropped", "dropped6"])
            .map(|value| value.and_then(|value| value.as_bytes()).unwrap_or_default());
        Ok(PexMessage { added: [added, added6], added_flags: [flags, flags6], dropped: [dropped, dropped6] })
    }

    /// The peers that joined: at most [`PEX_LIST_LIMIT`] of each family.
    pub fn added(&self) -> impl Iterator<Item = (SocketAddr, PexFlags)> + use<'a> {
        let [v4, v6] = [0, 1].map(|family| {
            // Flags that are missing say nothing of the peer.
            let flags = self.added_flags[family].iter().copied().map(PexFlags).chain(std::iter::repeat(PexFlags::NONE));
            unpack(self.added[family], family).zip(flags)
        });
        v4.chain(v6)
    }

    /// The peers that left: at most [`PEX_LIST_LIMIT`] of each family.
    pub fn dropped(&self) -> impl Iterator<Item = SocketAddr> + use<'a> {
        unpack(self.dropped[0], 0).chain(unpack(self.dropped[1], 1))
    }

    /// How many peers the message says have joined, those beyond the limit included.
    pub fn added_count(&self) -> usize {
        self.added[0].len() / V4_SIZE + self.added[1].len() / V6_SIZE
    }
}

/// The addresses of a list; family 0 is IPv4.
fn unpack<'a>(list: &'a [u8], family: usize) -> impl Iterator<Item = SocketAddr> + use<'a> {
    let size = [V4_SIZE, V6_SIZE][family];
    list.chunks_exact(size).take(PEX_LIST_LIMIT).filter_map(|packed| {
        let (ip, port) = packed.split_last_chunk::<2>()?;
        let ip: IpAddr = match ip.len() {
            4 => <[u8; 4]>::try_from(ip).ok()?.into(),
            _ => <[u8; 16]>::try_from(ip).ok()?.into(),
        };
        Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
    })
}

/// Appends a whole EXTENDED message to `out`. `extended_id` is the receiver's, from its own `m`. An IPv4 address that is
/// mapped into IPv6 is told as IPv4. Lists without an entry are left out, as uTorrent wants it.
pub fn encode_pex(extended_id: u8, added: &[(SocketAddr, PexFlags)], dropped: &[SocketAddr], out: &mut Vec<u8>) {
    let (mut lists, mut flags) = ([const { Vec::new() }; 4], [const { Vec::new() }; 2]);
    for (address, flag) in added {
        let family = pack(*address, &mut lists, 0);
        flags[family].push(flag.0);
    }
    for address in dropped {
        pack(*address, &mut lists, 2);
    }
    let payload = bencode::encode_dict(|dict| {
        let names = ["added", "added6", "dropped", "dropped6"];
        for (name, list) in names.iter().zip(&lists).filter(|(_, list)| !list.is_empty()) {
            dict.bytes(name, list);
        }
        for (name, list) in ["added.f", "added6.f"].iter().zip(&flags).filter(|(_, list)| !list.is_empty()) {
            dict.bytes(name, list);
        }
    });
    Message::Extended { id: extended_id, payload: &payload }.encode(out);
}

/// Appends the address to the list of its family, which is returned: `lists[first]` is for IPv4, the one behind for IPv6.
fn pack(address: SocketAddr, lists: &mut [Vec<u8>; 4], first: usize) -> usize {
    let family = match address.ip().to_canonical() {
        IpAddr::V4(v4) => {
            lists[first].extend_from_slice(&v4.octets());
            0
        }
        IpAddr::V6(v6) => {
            lists[first + 1].extend_from_slice(&v6.octets());
            1
        }
    };
    lists[first + family].extend_from_slice(&address.port().to_be_bytes());
    family
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn payload(out: &[u8]) -> &[u8] {
        &out[6..]
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_message_is_the_dictionary_that_others_read() {
        let mut out = Vec::new();
        let seed = PexFlags::SEED.with(PexFlags::REACHABLE);
        let added = [
            (address("192.0.2.1:6881"), seed),
            (address("[2001:db8::1]:258"), PexFlags::NONE),
            (address("[::ffff:192.0.2.2]:1"), PexFlags::UTP),
        ];
        encode_pex(7, &added, &[address("[2001:db8::2]:2")], &mut out);
        let mut expected = b"d5:added12:\xc0\x00\x02\x01\x1a\xe1\xc0\x00\x02\x02\x00\x017:added.f2:\x12\x04".to_vec();
        expected.extend_from_slice(b"6:added618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x028:added6.f1:\0");
        expected.extend_from_slice(b"8:dropped618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\0\x02e");
        assert_eq!(payload(&out).escape_ascii().to_string(), expected.escape_ascii().to_string());
        assert_eq!(out[4..6], [crate::id::EXTENDED, 7]);
    }

    #[test]
    fn lists_of_the_wrong_type_or_length_hold_what_they_can() {
        let read = |payload: &'static [u8]| PexMessage::parse(payload).unwrap();
        let odd = read(b"d5:addedi7e6:added618:\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x097:droppedle8:dropped63:abce");
        assert_eq!(odd.added().collect::<Vec<_>>(), [(address("[::1]:9"), PexFlags::NONE)]);
        assert_eq!(odd.dropped().count(), 0);
        let cut = read(b"d5:added8:\x01\x02\x03\x04\x00\x05\x01\x027:added.f3:\x02\x03\x04e");
        assert_eq!(cut.added().collect::<Vec<_>>(), [(address("1.2.3.4:5"), PexFlags::SEED)]);
        assert_eq!(read(b"de"), PexMessage::default());
    }

    #[test]
    fn what_is_no_dictionary_is_refused() {
        for bad in [&b""[..], b"le", b"i1e", b"d5:added", b"d5:added9:xe", &[b'd'; 5000]] {
            assert_eq!(PexMessage::parse(bad), Err(WireError::BadDictionary));
        }
    }

    #[test]
    fn more_addresses_than_the_limit_are_counted_and_left_out() {
        let list = |count: usize, size: usize| vec![1; count * size + size - 1];
        let payload = bencode::encode_dict(|dict| {
            dict.bytes("added", list(PEX_LIST_LIMIT + 3, V4_SIZE)).bytes("added6", list(PEX_LIST_LIMIT + 1, V6_SIZE));
            dict.bytes("dropped", list(PEX_LIST_LIMIT, V4_SIZE)).bytes("dropped6", list(900, V6_SIZE));
        });
        let message = PexMessage::parse(&payload).unwrap();
        assert_eq!(message.added().count(), 2 * PEX_LIST_LIMIT);
        assert_eq!(message.dropped().count(), 2 * PEX_LIST_LIMIT);
        assert_eq!(message.added_count(), 2 * PEX_LIST_LIMIT + 3 + 1);
    }

    proptest! {
        #[test]
        fn every_message_reads_back(
            added in prop::collection::vec(any::<(SocketAddr, u8)>(), 0..PEX_LIST_LIMIT),
            dropped in prop::collection::vec(any::<SocketAddr>(), 0..PEX_LIST_LIMIT),
        ) {
            // What the packed form keeps, IPv4 before IPv6.
            let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
            let mut added: Vec<_> = added.into_iter().map(|(address, flag)| (plain(address), PexFlags(flag))).collect();
            let mut dropped: Vec<_> = dropped.into_iter().map(plain).collect();
            let mut out = Vec::new();
            encode_pex(3, &added, &dropped, &mut out);
            added.sort_by_key(|(address, _)| address.is_ipv6());
            dropped.sort_by_key(SocketAddr::is_ipv6);
            let message = PexMessage::parse(payload(&out)).unwrap();
            prop_assert_eq!(message.added_count(), added.len());
            prop_assert_eq!(message.added().collect::<Vec<_>>(), added);
            prop_assert_eq!(message.dropped().collect::<Vec<_>>(), dropped);
        }

        #[test]
        fn arbitrary_payloads_never_panic(payload in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(message) = PexMessage::parse(&payload) {
                let _ = (message.added().count(), message.dropped().count(), message.added_count());
            }
        }
    }
}
