//! Peer ids (BEP 20): ours, and what a remote one says of its client. A remote id is informational: nothing but
//! log lines and manners (how soon a client loses patience) may depend on it.

use std::fmt;

/// The twenty bytes by which a peer names itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 20]);

impl PeerId {
    /// The client code and version that our ids begin with.
    pub const PREFIX: &'static [u8; 8] = b"-SW0100-";

    /// Our own id, made of twelve random bytes. Each byte is mapped to a character that needs no escape in a URL;
    /// `'` is not among them, since some trackers fail on it.
    pub fn ours(random: [u8; 12]) -> PeerId {
        const URL_SAFE: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
        let mut id = [0; 20];
        id[..8].copy_from_slice(PeerId::PREFIX);
        for (to, from) in id[8..].iter_mut().zip(random) {
            *to = URL_SAFE[usize::from(from % 64)];
        }
        PeerId(id)
    }

    /// The two letters of an Azureus-style id (`-LT20B0-…` gives `LT`), if it is one.
    pub fn client_code(&self) -> Option<[u8; 2]> {
        let [dash, first, second, version @ .., _, _, _, _, _, _, _, _, _, _, _, _] = &self.0;
        let printable = |byte: &u8| byte.is_ascii_graphic();
        let styled = *dash == b'-' && version[4] == b'-' && version[..4].iter().all(printable);
        (styled && printable(first) && printable(second)).then_some([*first, *second])
    }

    /// The part by which [`PeerId::client`] knows the client; what follows is chance.
    pub fn prefix(&self) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        [a, b, c, d, e, f, g, h]
    }

    /// The client's name and version as far as the id tells, for people to read.
    pub fn client(&self) -> ClientName<'_> {
        ClientName(self)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

/// Displays a client as `libtorrent 2.0.11`, `Transmission 4.1.0`, `client XY 1.2.3` or `unknown client`.
#[derive(Clone, Copy)]
pub struct ClientName<'a>(&'a PeerId);

impl fmt::Display for ClientName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(code) = self.0.client_code() else { return write!(f, "{}", shadow_style_name(self.0)) };
        match CLIENTS.iter().find(|(known, _)| **known == code) {
            Some((_, name)) => f.write_str(name)?,
            None => write!(f, "client {}{}", char::from(code[0]), char::from(code[1]))?,
        }
        let version = &self.0.0[3..7];
        let used = version.iter().rposition(|byte| *byte != b'0').map_or(1, |last| last + 1);
        for (position, byte) in version[..used].iter().enumerate() {
            f.write_str(if position == 0 { " " } else { "." })?;
            match byte {
                b'A'..=b'Z' => write!(f, "{}", byte - b'A' + 10)?,
                _ => write!(f, "{}", char::from(*byte))?,
            }
        }
        Ok(())
    }
}

/// Ids that are not Azureus-style begin with a letter, or with a word of their own.
fn shadow_style_name(id: &PeerId) -> &'static str {
    match &id.0 {
        [b'M', b'0'..=b'9', b'-', ..] => "BitTorrent mainline",
        [b'e', b'x', b'b', b'c', ..] => "BitComet",
        [b'F', b'U', b'T', b'B', ..] => "BitComet",
        [b'X', b'B', b'T', ..] => "XBT",
        [b'O', b'P', ..] => "Opera",
        [b'Q', b'1' | b'2', b'-', ..] => "Queen Bee",
        [b'T', _, _, _, _, _, b'-', b'-', ..] => "BitTornado",
        [b'A', b'2', b'-', ..] => "aria2",
        _ => "unknown client",
    }
}

/// Azureus-style codes, sorted, of clients that are still met.
const CLIENTS: &[(&[u8; 2], &str)] = &[
    (b"7T", "aTorrent"),
    (b"A2", "aria2"),
    (b"AZ", "Vuze"),
    (b"BC", "BitComet"),
    (b"BI", "BiglyBT"),
    (b"BT", "BitTorrent"),
    (b"BW", "BitTorrent Web"),
    (b"CT", "CTorrent"),
    (b"DE", "Deluge"),
    (b"FD", "Free Download Manager"),
    (b"FL", "Folx"),
    (b"FW", "FrostWire"),
    (b"KT", "KTorrent"),
    (b"LT", "libtorrent"),
    (b"MO", "MonoTorrent"),
    (b"PI", "PicoTorrent"),
    (b"SD", "Xunlei"),
    (b"SW", "Spillway"),
    (b"SZ", "Shareaza"),
    (b"TB", "Torch"),
    (b"TL", "Tribler"),
    (b"TR", "Transmission"),
    (b"TT", "TuoTu"),
    (b"TX", "Tixati"),
    (b"UE", "uTorrent Embedded"),
    (b"UM", "uTorrent Mac"),
    (b"UT", "uTorrent"),
    (b"UW", "uTorrent Web"),
    (b"WD", "WebTorrent Desktop"),
    (b"WT", "BitLet"),
    (b"WW", "WebTorrent"),
    (b"XL", "Xunlei"),
    (b"lt", "rTorrent"),
    (b"qB", "qBittorrent"),
    (b"rQ", "rqbit"),
    (b"st", "SharkTorrent"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn remote_ids_are_named_for_people() {
        let named = |id: &[u8; 20]| PeerId(*id).client().to_string();
        assert_eq!(named(b"-LT20B0-abcdefghijkl"), "libtorrent 2.0.11");
        assert_eq!(named(b"-TR4100-abcdefghijkl"), "Transmission 4.1");
        assert_eq!(named(b"-lt0D80-abcdefghijkl"), "rTorrent 0.13.8");
        assert_eq!(named(b"A2-1-37-0-abcdefghij"), "aria2");
        assert_eq!(named(b"-ZQ1230-abcdefghijkl"), "client ZQ 1.2.3");
        assert_eq!(named(b"M7-9-2--abcdefghijkl"), "BitTorrent mainline");
        assert_eq!(named(&[0; 20]), "unknown client");
    }

    #[test]
    fn an_id_with_unprintable_bytes_is_no_client_code_and_prints_escaped() {
        let id = PeerId(*b"-L\n20B0-abcdefghijkl");
        assert_eq!(id.client_code(), None);
        assert_eq!(id.to_string(), "-L\\n20B0-abcdefghijkl");
    }

    proptest! {
        #[test]
        fn our_ids_need_no_escape_in_a_tracker_url(random: [u8; 12]) {
            let id = PeerId::ours(random);
            prop_assert!(id.0.starts_with(b"-SW0100-"));
            prop_assert!(id.0.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)));
            prop_assert_eq!(id.client().to_string(), "Spillway 0.1");
        }

        #[test]
        fn any_id_displays_and_its_first_part_names_the_client(id: [u8; 20]) {
            let mut of_prefix = [0; 20];
            of_prefix[..8].copy_from_slice(&PeerId(id).prefix());
            let _ = PeerId(id).to_string();
            prop_assert_eq!(PeerId(id).client().to_string(), PeerId(of_prefix).client().to_string());
        }
    }
}
