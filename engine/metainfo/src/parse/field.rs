//! Fields of a dictionary as the types that they must have, and errors that name them.

use bencode::{Dict, Value};

use crate::error::{Problem, Result, TorrentError};
use crate::file_list::Attributes;

/// A field that must be there and be of a type.
pub(super) fn typed<'a, T>(
    field: &str,
    value: Option<Value<'a>>,
    what: &'static str,
    cast: impl Fn(Value<'a>) -> Option<T>,
) -> Result<T> {
    let value = value.ok_or_else(|| TorrentError::new(field, Problem::Missing))?;
    cast(value).ok_or_else(|| TorrentError::new(field, Problem::WrongType(what)))
}

/// An integer that must be there.
pub(super) fn int(field: &str, value: Option<Value<'_>>) -> Result<i64> {
    typed(field, value, "an integer", |value| value.as_int())
}

/// A size that must be there and not be negative. `field` is only made up for an error.
pub(super) fn size(field: impl Fn() -> String, value: Option<Value<'_>>) -> Result<u64> {
    let error = |problem| TorrentError::new(field(), problem);
    let value = value.ok_or_else(|| error(Problem::Missing))?;
    let value = value.as_int().ok_or_else(|| error(Problem::WrongType("an integer")))?;
    u64::try_from(value).map_err(|_| error(Problem::Negative))
}

/// Text for people, if there is any; bytes that are not UTF-8 show as U+FFFD.
pub(super) fn text(value: Option<Value<'_>>) -> Option<String> {
    let bytes = value?.as_bytes().filter(|bytes| !bytes.is_empty())?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// The components of a path, if the value is a list of strings only.
pub(super) fn path(value: Option<Value<'_>>) -> Option<impl Iterator<Item = &[u8]> + Clone> {
    let list = value?.as_list()?;
    list.iter().all(|item| item.as_bytes().is_some()).then(|| list.iter().filter_map(|item| item.as_bytes()))
}

/// The attributes of BEP 47; letters that are not known mean nothing.
pub(super) fn attributes(dict: Dict<'_>) -> Attributes {
    let letters = dict.get("attr").and_then(|value| value.as_bytes()).unwrap_or_default();
    Attributes {
        is_pad: letters.contains(&b'p'),
        executable: letters.contains(&b'x'),
        hidden: letters.contains(&b'h'),
        is_symlink: letters.contains(&b'l'),
    }
}
