//! The bencode decoder: what it accepts can be walked, and canonical input comes out of the encoder as it was.

use bencode::{DictEncoder, Encoder, KeyOrder, Limits, Value};

/// Decodes `input` under lenient and strict limits.
pub fn bencode(input: &[u8]) {
    let lenient = Limits { depth: 64, ..Limits::default() };
    if let Ok((value, rest)) = ::bencode::decode_prefix(input, &lenient) {
        let used = &input[..input.len() - rest.len()];
        // What was accepted with bytes behind it is accepted without them, as the same value.
        assert_eq!(::bencode::decode(used, &lenient), Ok(value));
        let mut encoder = Encoder::default();
        write(&mut encoder, value);
        let canonical = encoder.into_bytes();
        ::bencode::decode(&canonical, &Limits { keys: KeyOrder::Sorted, ..lenient }).expect("canonical is sorted");
        assert!(canonical.len() <= used.len(), "the canonical form is never longer");
    }
    if let Ok(value) = ::bencode::decode(input, &Limits { keys: KeyOrder::Sorted, ..lenient }) {
        let mut encoder = Encoder::default();
        write(&mut encoder, value);
        assert_eq!(encoder.into_bytes(), input, "sorted input is canonical");
    }
}

fn write(encoder: &mut Encoder, value: Value<'_>) {
    match value {
        Value::Int(number) => _ = encoder.int(number),
        Value::Bytes(bytes) => _ = encoder.bytes(bytes),
        Value::List(list) => {
            encoder.list(|items| list.iter().for_each(|item| write(items, item)));
        }
        Value::Dict(dict) => {
            encoder.dict(|entries| dict.iter().for_each(|(key, item)| write_entry(entries, key, item)));
        }
    }
}

fn write_entry(entries: &mut DictEncoder<'_>, key: &[u8], value: Value<'_>) {
    let mut inner = Encoder::default();
    write(&mut inner, value);
    entries.raw(key, inner.into_bytes());
}
