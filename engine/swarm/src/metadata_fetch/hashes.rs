//! What metadata must hash to, as the magnet link says.

use hash::{Sha1Digest, Sha256Digest, sha1, sha256};

/// What the whole `info` must hash to; at least one of them is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MetadataHashes {
    /// The SHA-1, for v1 and hybrids.
    pub v1: Option<Sha1Digest>,
    /// The SHA-256, for v2 and hybrids.
    pub v2: Option<Sha256Digest>,
}

/// What a whole copy turned out to be.
pub(super) enum Verdict {
    Right,
    Wrong,
    /// One hash fits and the other does not.
    Disagree,
}

impl MetadataHashes {
    pub(super) fn judge(&self, info: &[u8]) -> Verdict {
        let v1 = self.v1.map(|digest| digest == sha1(info));
        let v2 = self.v2.map(|digest| digest == sha256(info));
        match (v1, v2) {
            (Some(true), Some(false)) | (Some(false), Some(true)) => Verdict::Disagree,
            (Some(true), _) | (_, Some(true)) => Verdict::Right,
            _ => Verdict::Wrong,
        }
    }
}
