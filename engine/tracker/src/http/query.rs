//! A query string as bytes: pairs split and percent-decoded without any belief in UTF-8, since an info-hash is none.

/// The pairs of a query, decoded, in their order. `None` stands for a broken escape (`%` without two hex digits).
pub(super) fn pairs(query: &[u8]) -> impl Iterator<Item = Option<(Vec<u8>, Vec<u8>)>> + '_ {
    query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let split = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = match split {
            Some(at) => (pair.get(..at).unwrap_or_default(), pair.get(at + 1..).unwrap_or_default()),
            None => (pair, &[][..]),
        };
        Some((decode(name)?, decode(value)?))
    })
}

/// Appends `bytes` with all but RFC 3986's unreserved characters escaped.
pub(super) fn encode_into(out: &mut String, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// The bytes that forty hex digits stand for.
pub(super) fn twenty_from_hex(text: &[u8]) -> Option<[u8; 20]> {
    let mut out = [0; 20];
    if text.len() != 40 {
        return None;
    }
    for (byte, digits) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = hex_digit(*digits.first()?)? << 4 | hex_digit(*digits.get(1)?)?;
    }
    Some(out)
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => hex_digit(*rest.next()?)? << 4 | hex_digit(*rest.next()?)?,
            other => *other,
        });
    }
    Some(out)
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}
