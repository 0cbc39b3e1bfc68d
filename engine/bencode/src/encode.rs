//! The canonical encoder: whatever order a caller names keys in, they come out sorted and once.

use std::io::Write as _;
use std::ops::Range;

/// What `fill` appends; one value, if it is to be read back with [`crate::decode`].
pub fn encode(fill: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut encoder = Encoder::default();
    fill(&mut encoder);
    encoder.into_bytes()
}

/// A dictionary whose entries `fill` names.
///
/// ```
/// let bytes = bencode::encode_dict(|dict| {
///     dict.bytes("t", b"aa").int("q", 1);
/// });
/// assert_eq!(bytes, b"d1:qi1e1:t2:aae");
/// ```
pub fn encode_dict(fill: impl FnOnce(&mut DictEncoder<'_>)) -> Vec<u8> {
    encode(|encoder| {
        encoder.dict(fill);
    })
}

/// Appends values to a buffer.
#[derive(Default, Debug)]
pub struct Encoder {
    out: Vec<u8>,
}

impl Encoder {
    /// Continues behind what `out` holds.
    pub fn append_to(out: Vec<u8>) -> Encoder {
        Encoder { out }
    }

    /// Appends an integer.
    pub fn int(&mut self, value: i64) -> &mut Encoder {
        // Writing to a Vec cannot fail.
        let _ = write!(self.out, "i{value}e");
        self
    }

    /// Appends a string.
    pub fn bytes(&mut self, value: impl AsRef<[u8]>) -> &mut Encoder {
        let value = value.as_ref();
        // Writing to a Vec cannot fail.
        let _ = write!(self.out, "{}:", value.len());
        self.out.extend_from_slice(value);
        self
    }

    /// Appends one value that is bencoded already, as it is.
    pub fn raw(&mut self, value: impl AsRef<[u8]>) -> &mut Encoder {
        self.out.extend_from_slice(value.as_ref());
        self
    }

    /// Appends a list of what `fill` appends.
    pub fn list(&mut self, fill: impl FnOnce(&mut Encoder)) -> &mut Encoder {
        self.out.push(b'l');
        fill(self);
        self.out.push(b'e');
        self
    }

    /// Appends a dictionary of the entries that `fill` names.
    pub fn dict(&mut self, fill: impl FnOnce(&mut DictEncoder<'_>)) -> &mut Encoder {
        self.out.push(b'd');
        let mut dict = DictEncoder { start: self.out.len(), encoder: self, entries: Vec::new() };
        fill(&mut dict);
        dict.sort();
        self.out.push(b'e');
        self
    }

    /// The bytes written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }
}

/// Names the entries of one dictionary, in any order. Of a key that is named twice the first value stays.
#[derive(Debug)]
pub struct DictEncoder<'a> {
    encoder: &'a mut Encoder,
    start: usize,
    entries: Vec<Entry>,
}

/// Where one entry was written.
#[derive(Clone, Debug)]
struct Entry {
    key: Range<usize>,
    end: usize,
}

impl DictEncoder<'_> {
    /// An entry with an integer.
    pub fn int(&mut self, key: impl AsRef<[u8]>, value: i64) -> &mut Self {
        self.entry(key.as_ref(), |encoder| {
            encoder.int(value);
        })
    }

    /// An entry with a string.
    pub fn bytes(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Self {
        self.entry(key.as_ref(), |encoder| {
            encoder.bytes(value);
        })
    }

    /// An entry with one value that is bencoded already.
    pub fn raw(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Self {
        self.entry(key.as_ref(), |encoder| {
            encoder.raw(value);
        })
    }

    /// An entry with a list of what `fill` appends.
    pub fn list(&mut self, key: impl AsRef<[u8]>, fill: impl FnOnce(&mut Encoder)) -> &mut Self {
        self.entry(key.as_ref(), |encoder| {
            encoder.list(fill);
        })
    }

    /// An entry with a dictionary.
    pub fn dict(&mut self, key: impl AsRef<[u8]>, fill: impl FnOnce(&mut DictEncoder<'_>)) -> &mut Self {
        self.entry(key.as_ref(), |encoder| {
            encoder.dict(fill);
        })
    }

    fn entry(&mut self, key: &[u8], value: impl FnOnce(&mut Encoder)) -> &mut Self {
        self.encoder.bytes(key);
        let key_end = self.encoder.out.len();
        value(self.encoder);
        self.entries.push(Entry { key: key_end - key.len()..key_end, end: self.encoder.out.len() });
        self
    }

    /// Puts the entries in order, if the caller did not.
    fn sort(self) {
        let DictEncoder { encoder, start, entries } = self;
        let written = &encoder.out;
        let key = |index: usize| &written[entries[index].key.clone()];
        if (1..entries.len()).all(|index| key(index - 1) < key(index)) {
            return;
        }
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|index| key(*index));
        order.dedup_by_key(|index| key(*index));
        let mut sorted = Vec::with_capacity(written.len() - start);
        for index in order {
            let begin = if index == 0 { start } else { entries[index - 1].end };
            sorted.extend_from_slice(&written[begin..entries[index].end]);
        }
        encoder.out.truncate(start);
        encoder.out.extend_from_slice(&sorted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_out_sorted_whatever_order_they_are_named_in() {
        let bytes = encode_dict(|dict| {
            dict.int("zz", -1)
                .dict("m", |inner| {
                    inner.int("b", 2).int("a", 1);
                })
                .list("l", |items| {
                    items.bytes("x").int(0).raw(b"le");
                });
        });
        assert_eq!(bytes, b"d1:ll1:xi0elee1:md1:ai1e1:bi2ee2:zzi-1ee");
    }

    #[test]
    fn a_key_named_twice_is_written_once() {
        let bytes = encode_dict(|dict| {
            dict.int("b", 1).int("a", 2).int("b", 3);
        });
        assert_eq!(bytes, b"d1:ai2e1:bi1ee");
    }

    #[test]
    fn what_stands_before_a_dictionary_stays() {
        let mut encoder = Encoder::append_to(b"head".to_vec());
        encoder.dict(|dict| {
            dict.raw("b", b"i1e").bytes("a", [0xff, 0]);
        });
        assert_eq!(encoder.into_bytes(), b"headd1:a2:\xff\x001:bi1ee");
    }
}
