//! The extension handshake (BEP 10, with BEP 9's `metadata_size` and BEP 21's `upload_only`): ours written, a
//! peer's read with patience. A key that is missing, of the wrong type or out of range is as good as absent.

use std::net::IpAddr;

use bencode::{Dict, Value};

use crate::{Message, UT_METADATA_ID, UT_PEX_ID, WireError};

/// The longest extension handshake that is read.
pub const MAX_EXTENSION_HANDSHAKE_BYTES: usize = 8 * 1024;

/// How much of a peer's client name is kept.
pub const MAX_CLIENT_NAME_BYTES: usize = 64;

/// What we say in our extension handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtensionHandshake<'a> {
    /// Size of `info` in bytes, where we serve it (BEP 9).
    pub metadata_size: Option<u32>,
    /// We lack `info` and ask for it. `ut_metadata` is offered if we do or if we serve it: answers come under our id.
    pub wants_metadata: bool,
    /// We take `ut_pex` messages (BEP 11). Never for a private torrent.
    pub takes_pex: bool,
    /// We download nothing (BEP 21): a seed.
    pub upload_only: bool,
    /// How many requests we hold for the peer (`reqq`).
    pub request_queue_limit: u32,
    /// Our name and version (`v`).
    pub client: &'a str,
    /// The peer's address as we see it (`yourip`).
    pub your_ip: Option<IpAddr>,
    /// The port we take connections on (`p`), for peers that we dialled.
    pub listen_port: Option<u16>,
}

impl ExtensionHandshake<'_> {
    /// Appends the whole EXTENDED message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let payload = bencode::encode_dict(|dict| {
            dict.dict("m", |ids| {
                if self.metadata_size.is_some() || self.wants_metadata {
                    ids.int("ut_metadata", UT_METADATA_ID.into());
                }
                if self.takes_pex {
                    ids.int("ut_pex", UT_PEX_ID.into());
                }
            });
            if let Some(size) = self.metadata_size {
                dict.int("metadata_size", size.into());
            }
            if let Some(port) = self.listen_port {
                dict.int("p", port.into());
            }
            dict.int("reqq", self.request_queue_limit.into());
            dict.int("upload_only", self.upload_only.into());
            dict.bytes("v", self.client);
            match self.your_ip.map(|address| address.to_canonical()) {
                Some(IpAddr::V4(v4)) => _ = dict.bytes("yourip", v4.octets()),
                Some(IpAddr::V6(v6)) => _ = dict.bytes("yourip", v6.octets()),
                None => {}
            }
        });
        Message::Extended { id: 0, payload: &payload }.encode(out);
    }
}

/// What a peer has said so far in its extension handshakes. A later handshake changes only what it names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerExtensions {
    /// The id under which the peer takes `ut_metadata` messages; `None` if it does not.
    pub ut_metadata: Option<u8>,
    /// The id under which the peer takes `ut_pex` messages; `None` if it does not.
    pub ut_pex: Option<u8>,
    /// How many requests the peer holds for us (`reqq`).
    pub request_queue_limit: Option<u32>,
    /// The peer's name and version (`v`), cut at [`MAX_CLIENT_NAME_BYTES`], control characters replaced.
    pub client: Option<String>,
    /// Size of `info` in bytes, if the peer has it. Unchecked: the peer may lie.
    pub metadata_size: Option<u32>,
    /// The peer downloads nothing (BEP 21).
    pub upload_only: bool,
    /// The port the peer takes connections on (`p`).
    pub listen_port: Option<u16>,
    /// Our address as the peer sees it (`yourip`).
    pub your_ip: Option<IpAddr>,
}

impl PeerExtensions {
    /// Takes in the payload of an EXTENDED message with id 0.
    ///
    /// # Errors
    /// [`WireError::ExtensionHandshakeTooLong`], or [`WireError::BadDictionary`] if it is not bencode. What was
    /// known before stays as it was.
    pub fn update(&mut self, payload: &[u8]) -> Result<(), WireError> {
        if payload.len() > MAX_EXTENSION_HANDSHAKE_BYTES {
            return Err(WireError::ExtensionHandshakeTooLong { size: payload.len() });
        }
        // Bytes behind the dictionary are ignored, as other clients do.
        let Ok((Value::Dict(dict), _)) = bencode::decode_prefix(payload, &bencode::Limits::default()) else {
            return Err(WireError::BadDictionary);
        };
        let [m, metadata_size, listen_port, request_queue_limit, upload_only, client, your_ip] =
            dict.get_all(["m", "metadata_size", "p", "reqq", "upload_only", "v", "yourip"]);
        if let Some(ids) = m.and_then(|value| value.as_dict()) {
            update_id(&mut self.ut_metadata, ids, "ut_metadata");
            update_id(&mut self.ut_pex, ids, "ut_pex");
        }
        self.metadata_size = positive(metadata_size).or(self.metadata_size);
        self.listen_port = positive(listen_port).and_then(|port| u16::try_from(port).ok()).or(self.listen_port);
        self.request_queue_limit = positive(request_queue_limit).or(self.request_queue_limit);
        if let Some(flag) = upload_only.and_then(|value| value.as_int()) {
            self.upload_only = flag != 0;
        }
        if let Some(name) = client.and_then(|value| value.as_bytes()) {
            self.client = Some(printable(name));
        }
        self.your_ip = your_ip.and_then(|value| address(value.as_bytes()?)).or(self.your_ip);
        Ok(())
    }
}

/// An id of `m`: absent changes nothing, 0 takes the extension back (BEP 10).
fn update_id(id: &mut Option<u8>, ids: Dict<'_>, name: &str) {
    if let Some(value) = ids.get(name).and_then(|value| u8::try_from(value.as_int()?).ok()) {
        *id = (value != 0).then_some(value);
    }
}

fn positive(value: Option<Value<'_>>) -> Option<u32> {
    u32::try_from(value?.as_int()?).ok().filter(|number| *number > 0)
}

/// Four or sixteen bytes in network order.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// The beginning of a name as text that is safe to log.
fn printable(name: &[u8]) -> String {
    let cut = &name[..name.len().min(MAX_CLIENT_NAME_BYTES)];
    let shown = |letter: char| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
    String::from_utf8_lossy(cut).chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Limits, Parsed, parse};

    fn ours() -> ExtensionHandshake<'static> {
        ExtensionHandshake {
            metadata_size: Some(34_256),
            wants_metadata: false,
            takes_pex: false,
            upload_only: true,
            request_queue_limit: 2000,
            client: "Spillway 0.1.0",
            your_ip: Some([192, 0, 2, 7].into()),
            listen_port: Some(6881),
        }
    }

    fn heard(payload: &[u8]) -> PeerExtensions {
        let mut peer = PeerExtensions::default();
        peer.update(payload).unwrap();
        peer
    }

    #[test]
    fn our_handshake_is_the_dictionary_that_others_read() {
        let mut out = Vec::new();
        ours().encode(&mut out);
        let Ok(Parsed::Message { message: Message::Extended { id: 0, payload }, consumed }) =
            parse(&out, &Limits::seed(1))
        else {
            panic!("not an extension handshake")
        };
        assert_eq!(consumed, out.len());
        let expected = b"d1:md11:ut_metadatai1ee13:metadata_sizei34256e1:pi6881e4:reqqi2000e11:upload_onlyi1e\
            1:v14:Spillway 0.1.06:yourip4:\xc0\x00\x02\x07e";
        assert_eq!(payload.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn without_metadata_none_is_offered() {
        let mut out = Vec::new();
        ExtensionHandshake { metadata_size: None, your_ip: None, listen_port: None, ..ours() }.encode(&mut out);
        assert!(out.ends_with(b"d1:mde4:reqqi2000e11:upload_onlyi1e1:v14:Spillway 0.1.0e"));
    }

    #[test]
    fn a_leech_of_a_magnet_offers_to_take_what_it_cannot_serve() {
        let mut out = Vec::new();
        let leech = ExtensionHandshake {
            metadata_size: None,
            wants_metadata: true,
            takes_pex: true,
            upload_only: false,
            ..ours()
        };
        leech.encode(&mut out);
        let expected = b"d1:md11:ut_metadatai1e6:ut_pexi2ee1:pi6881e4:reqqi2000e11:upload_onlyi0e";
        assert!(out[6..].starts_with(expected), "{}", out.escape_ascii());
    }

    #[test]
    fn a_v4_address_that_came_over_a_v6_socket_is_told_in_four_bytes() {
        let mut out = Vec::new();
        let mapped = "::ffff:192.0.2.7".parse().unwrap();
        ExtensionHandshake { your_ip: Some(mapped), ..ours() }.encode(&mut out);
        assert!(out.ends_with(b"6:yourip4:\xc0\x00\x02\x07e"));
    }

    #[test]
    fn what_a_peer_says_is_kept_until_it_says_otherwise() {
        let mut peer = heard(b"d1:md11:ut_metadatai3e6:ut_pexi1ee4:reqqi500e1:v17:libtorrent/2.0.11e");
        assert_eq!((peer.ut_metadata, peer.ut_pex, peer.request_queue_limit), (Some(3), Some(1), Some(500)));
        assert_eq!(peer.client.as_deref(), Some("libtorrent/2.0.11"));
        peer.update(b"d1:md6:ut_pexi0ee11:upload_onlyi1ee").unwrap();
        assert_eq!((peer.ut_metadata, peer.ut_pex, peer.upload_only), (Some(3), None, true));
        assert_eq!(peer.request_queue_limit, Some(500));
    }

    #[test]
    fn values_of_the_wrong_type_or_range_are_ignored() {
        let odd = heard(
            b"d1:mi7e13:metadata_size2:xx1:pi70000e4:reqqi-5e11:upload_only1:11:vli1ee6:yourip3:abc5:otherld1:ai1eeee",
        );
        assert_eq!(odd, PeerExtensions::default());
        let odd = heard(b"d1:md11:ut_metadatai300e6:ut_pex1:2e4:reqqi99999999999ee");
        assert_eq!(odd, PeerExtensions::default());
    }

    #[test]
    fn what_is_no_dictionary_or_too_long_is_refused_and_changes_nothing() {
        let mut peer = heard(b"d4:reqqi500ee");
        for bad in [&b""[..], b"i1e", b"le", b"d4:reqq", b"d4:reqqi01ee", &[b'd'; 5000], &[b'l'; 5000]] {
            assert_eq!(peer.update(bad), Err(WireError::BadDictionary));
        }
        let size = MAX_EXTENSION_HANDSHAKE_BYTES + 1;
        assert_eq!(peer.update(&vec![b'd'; size]), Err(WireError::ExtensionHandshakeTooLong { size }));
        assert_eq!(peer, heard(b"d4:reqqi500ee"));
    }

    #[test]
    fn a_client_name_is_cut_and_made_safe_for_a_log() {
        let name = |value: &[u8]| {
            let mut payload = format!("d1:v{}:", value.len()).into_bytes();
            payload.extend_from_slice(value);
            payload.push(b'e');
            heard(&payload).client.unwrap()
        };
        assert_eq!(name(b"a\nb\x1b[2J\xffc"), "a\u{fffd}b\u{fffd}[2J\u{fffd}c");
        assert_eq!(name(&[b'x'; 500]).len(), MAX_CLIENT_NAME_BYTES);
        assert_eq!(name("µTorrent 3.6".as_bytes()), "µTorrent 3.6");
    }

    proptest! {
        #[test]
        fn our_handshake_reads_back(
            metadata_size in prop::option::of(1u32..),
            wants_metadata: bool,
            takes_pex: bool,
            upload_only: bool,
            request_queue_limit in 1u32..,
            client in "[ -~]{0,64}",
            your_ip: Option<IpAddr>,
            listen_port in prop::option::of(1u16..),
        ) {
            let sent = ExtensionHandshake {
                metadata_size, wants_metadata, takes_pex, upload_only, request_queue_limit, client: &client, your_ip, listen_port,
            };
            let mut out = Vec::new();
            sent.encode(&mut out);
            let peer = heard(&out[6..]);
            prop_assert_eq!(peer, PeerExtensions {
                ut_metadata: (metadata_size.is_some() || wants_metadata).then_some(UT_METADATA_ID),
                ut_pex: takes_pex.then_some(UT_PEX_ID),
                request_queue_limit: Some(request_queue_limit),
                client: Some(client),
                metadata_size,
                upload_only,
                listen_port,
                your_ip: your_ip.map(|address| address.to_canonical()),
            });
        }

        #[test]
        fn arbitrary_payloads_never_panic(payload in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = PeerExtensions::default().update(&payload);
        }
    }
}
