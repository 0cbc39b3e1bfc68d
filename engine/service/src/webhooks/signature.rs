//! How a receiver knows that a message is ours: an HMAC (RFC 2104) with SHA-256 over the time of the try, a full stop, and
//! the body. The time is in it so that an old message cannot be sent again by somebody else.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The value of `X-Spillway-Signature`.
pub(crate) fn sign(secret: &[u8], timestamp_s: i64, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(timestamp_s.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("sha256={hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_other_programs_compute() {
        // printf '%s' '1700000000.{"event":"published"}' | openssl dgst -sha256 -hmac 'hush'
        let signature = sign(b"hush", 1_700_000_000, br#"{"event":"published"}"#).unwrap();
        assert_eq!(signature, "sha256=e48b396cb149023fc4dbb3e5d9e170358b5746fe355ab62df92a2100105a4dd3");
    }
}
