//! Bencode (BEP 3): a borrowed decoder that allocates nothing and never recurses, and a canonical encoder. What the
//! values mean is for `metainfo`, `wire` and `tracker`.
#![forbid(unsafe_code)]

mod decode;
mod encode;
mod error;
mod token;
mod value;

pub use decode::{decode, decode_prefix};
pub use encode::{DictEncoder, Encoder, encode, encode_dict};
pub use error::{DecodeError, ErrorKind};
pub use token::{KeyOrder, Limits, MAX_DEPTH, Token, Tokens};
pub use value::{Dict, DictIter, List, ListIter, Value};
