//! The extension handshake (BEP 10, with BEP 9's `metadata_size` and BEP 21's `upload_only`): ours written, a
//! peer's read with patience. A key that is missing, of the wrong type or out of range is as good as absent.

use std::net::IpAddr;

use crate::message::extended;
use crate::{UT_METADATA_ID, WireError};

/// The longest extension handshake that is read.
pub const MAX_EXTENSION_HANDSHAKE_BYTES: usize = 8 * 1024;

/// How much of a peer's client name is kept.
pub const MAX_CLIENT_NAME_BYTES: usize = 64;

/// What we say in our extension handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtensionHandshake<'a> {
    /// Size of `info` in bytes, where we serve it (BEP 9); without it `ut_metadata` is not offered.
    pub metadata_size: Option<u32>,
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
        extended(out, 0, |out| {
            out.extend_from_slice(b"d1:md");
            if self.metadata_size.is_some() {
                number(out, "ut_metadata", UT_METADATA_ID.into());
            }
            out.push(b'e');
            if let Some(size) = self.metadata_size {
                number(out, "metadata_size", size);
            }
            if let Some(port) = self.listen_port {
                number(out, "p", port.into());
            }
            number(out, "reqq", self.request_queue_limit);
            number(out, "upload_only", self.upload_only.into());
            bytes(out, b"v");
            bytes(out, self.client.as_bytes());
            match self.your_ip.map(|address| address.to_canonical()) {
                Some(IpAddr::V4(v4)) => {
                    bytes(out, b"yourip");
                    bytes(out, &v4.octets());
                }
                Some(IpAddr::V6(v6)) => {
                    bytes(out, b"yourip");
                    bytes(out, &v6.octets());
                }
                None => {}
            }
            out.push(b'e');
        });
    }
}

fn number(out: &mut Vec<u8>, key: &str, value: u32) {
    bytes(out, key.as_bytes());
    out.extend_from_slice(format!("i{value}e").as_bytes());
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(format!("{}:", value.len()).as_bytes());
    out.extend_from_slice(value);
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
        Ok(())
    }
}
