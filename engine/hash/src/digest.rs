//! The digests' types. They carry no meaning beyond "these bytes"; whether a torrent agrees is for
//! `metainfo` to say.

use std::fmt;

/// A SHA-1 digest: a v1 piece hash or a v1 info-hash (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sha1Digest(pub [u8; 20]);

/// A SHA-256 digest: a merkle node or a v2 info-hash (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sha256Digest(pub [u8; 32]);

/// The twenty bytes that name a swarm in a handshake, an announce or a scrape: the SHA-1 of `info` for v1,
/// the first twenty bytes of its SHA-256 for v2 (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct InfoHash(pub [u8; 20]);

impl From<Sha1Digest> for InfoHash {
    fn from(digest: Sha1Digest) -> InfoHash {
        InfoHash(digest.0)
    }
}

impl From<Sha256Digest> for InfoHash {
    fn from(digest: Sha256Digest) -> InfoHash {
        let mut bytes = [0; 20];
        bytes.copy_from_slice(&digest.0[..20]);
        InfoHash(bytes)
    }
}

impl Sha1Digest {
    /// The digest of a final chaining value: its words, big-endian (FIPS 180-4, 6.1.2).
    pub(crate) fn from_state(state: &[u32; 5]) -> Sha1Digest {
        let mut digest = Sha1Digest::default();
        for (bytes, word) in digest.0.chunks_exact_mut(4).zip(state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }
}

impl Sha256Digest {
    /// The digest of a final chaining value: its words, big-endian (FIPS 180-4, 6.2.2).
    pub(crate) fn from_state(state: &[u32; 8]) -> Sha256Digest {
        let mut digest = Sha256Digest::default();
        for (bytes, word) in digest.0.chunks_exact_mut(4).zip(state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for Sha1Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for Sha1Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha1Digest({self})")
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256Digest({self})")
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHash({self})")
    }
}
