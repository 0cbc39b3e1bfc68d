//! The name under which aria2 up to 1.36 (Debian 12) looks for a hybrid torrent. Its parser drops dictionary
//! entries with an empty key, and it hashes what it then writes anew; the file tree of a v2 torrent has such a key for every
//! file (BEP 52). A seed that wants to serve these clients answers to that name, too. Mended after 1.36 (aria2/aria2
//! pull request 1905).

use bencode::{Limits, Value};
use hash::{InfoHash, sha1};

use crate::limits::{MAX_DEPTH, MAX_TORRENT_BYTES};
use crate::torrent::{Torrent, Version};

impl Torrent {
    /// The info-hash by which aria2 up to 1.36 knows this torrent, where that is not the right one: for hybrids.
    /// Reckoned once; the first call takes as long as hashing the info dictionary.
    pub fn info_hash_without_empty_keys(&self) -> Option<InfoHash> {
        *self.misnamed.get_or_init(|| self.reckon_misnamed())
    }

    fn reckon_misnamed(&self) -> Option<InfoHash> {
        if self.version() != Version::Hybrid {
            return None;
        }
        let limits = Limits { input_bytes: MAX_TORRENT_BYTES, depth: MAX_DEPTH, keys: bencode::KeyOrder::Any };
        let info = bencode::decode(self.info_bytes(), &limits).ok()?;
        Some(sha1(&without_empty_keys(info)).into())
    }
}

/// The value written anew. As deep as the decoder's limit allows.
fn without_empty_keys(value: Value<'_>) -> Vec<u8> {
    match value {
        Value::Dict(dict) => bencode::encode_dict(|out| {
            for (key, value) in dict.iter().filter(|(key, _)| !key.is_empty()) {
                out.raw(key, without_empty_keys(value));
            }
        }),
        Value::List(list) => list.raw().to_vec(),
        Value::Bytes(bytes) => bencode::encode(|out| {
            out.bytes(bytes);
        }),
        Value::Int(int) => bencode::encode(|out| {
            out.int(int);
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_entries_with_an_empty_key_are_dropped() {
        let limits = Limits { input_bytes: 1000, depth: 10, keys: bencode::KeyOrder::Any };
        let value = bencode::decode(b"d1:ad1:fd0:d6:lengthi3eeee1:bl0:d0:i1eee1:ci-2ee", &limits).unwrap();
        assert_eq!(without_empty_keys(value), b"d1:ad1:fdee1:bl0:d0:i1eee1:ci-2ee");
    }
}
