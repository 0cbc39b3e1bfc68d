//! Values of data that was checked before. Lists and dictionaries are read again from their bytes as they are walked,
//! so a value is a few words whatever it holds. Walking costs time in proportion to the bytes passed over.

use crate::token::{Token, read_head};

/// A bencoded value that borrows from its input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// An integer.
    Int(i64),
    /// A string: bytes that need not be text.
    Bytes(&'a [u8]),
    /// A list.
    List(List<'a>),
    /// A dictionary.
    Dict(Dict<'a>),
}

impl<'a> Value<'a> {
    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match *self {
            Value::Int(value) => Some(value),
            _ => None,
        }
    }

    /// The string's bytes, if it is one.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match *self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The string, if it is one and is UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The list, if it is one.
    pub fn as_list(&self) -> Option<List<'a>> {
        match *self {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The dictionary, if it is one.
    pub fn as_dict(&self) -> Option<Dict<'a>> {
        match *self {
            Value::Dict(dict) => Some(dict),
            _ => None,
        }
    }

    /// The value at `position` of checked data, and where it ends.
    pub(crate) fn read(data: &'a [u8], position: usize) -> Option<(Value<'a>, usize)> {
        let (head, mut end) = read_head(data, position).ok()?;
        let mut open = match head {
            Token::Int(value) => return Some((Value::Int(value), end)),
            Token::Bytes(bytes) | Token::Key(bytes) => return Some((Value::Bytes(bytes), end)),
            Token::End => return None,
            Token::ListStart | Token::DictStart => 1usize,
        };
        while open > 0 {
            let (inner, next) = read_head(data, end).ok()?;
            match inner {
                Token::ListStart | Token::DictStart => open += 1,
                Token::End => open -= 1,
                Token::Int(_) | Token::Bytes(_) | Token::Key(_) => {}
            }
            end = next;
        }
        let raw = data.get(position..end)?;
        let value = if head == Token::ListStart { Value::List(List { raw }) } else { Value::Dict(Dict { raw }) };
        Some((value, end))
    }
}

/// A list of checked values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct List<'a> {
    raw: &'a [u8],
}

impl<'a> List<'a> {
    /// The bytes that it was read from, `l` and `e` included.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.raw.len() <= 2
    }

    /// The values in order.
    pub fn iter(&self) -> ListIter<'a> {
        ListIter { raw: self.raw, position: 1 }
    }
}

impl<'a> IntoIterator for List<'a> {
    type Item = Value<'a>;
    type IntoIter = ListIter<'a>;

    fn into_iter(self) -> ListIter<'a> {
        self.iter()
    }
}

/// The values of a list.
#[derive(Clone, Debug)]
pub struct ListIter<'a> {
    raw: &'a [u8],
    position: usize,
}

impl<'a> Iterator for ListIter<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        // The `e` of the list reads as no value and ends the walk.
        let (value, next) = Value::read(self.raw, self.position)?;
        self.position = next;
        Some(value)
    }
}

/// A dictionary of checked values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dict<'a> {
    raw: &'a [u8],
}

impl<'a> Dict<'a> {
    /// The bytes that it was read from, `d` and `e` included: what an info-hash is taken over.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.raw.len() <= 2
    }

    /// Keys and values in the order of the input.
    pub fn iter(&self) -> DictIter<'a> {
        DictIter { raw: self.raw, position: 1 }
    }

    /// The value of the first `key`. Walks the dictionary; for several keys of a large one use [`Dict::get_all`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Value<'a>> {
        let key = key.as_ref();
        self.iter().find(|(found, _)| *found == key).map(|(_, value)| value)
    }

    /// The values of several keys in one walk. Of a key that appears twice the first counts.
    pub fn get_all<const N: usize>(&self, keys: [&str; N]) -> [Option<Value<'a>>; N] {
        let mut values = [None; N];
        for (found, value) in self.iter() {
            if let Some(slot) = keys.iter().position(|key| key.as_bytes() == found) {
                values[slot].get_or_insert(value);
            }
        }
        values
    }
}

impl<'a> IntoIterator for Dict<'a> {
    type Item = (&'a [u8], Value<'a>);
    type IntoIter = DictIter<'a>;

    fn into_iter(self) -> DictIter<'a> {
        self.iter()
    }
}

/// Keys and values of a dictionary.
#[derive(Clone, Debug)]
pub struct DictIter<'a> {
    raw: &'a [u8],
    position: usize,
}

impl<'a> Iterator for DictIter<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<(&'a [u8], Value<'a>)> {
        let (Value::Bytes(key), next) = Value::read(self.raw, self.position)? else { return None };
        let (value, next) = Value::read(self.raw, next)?;
        self.position = next;
        Some((key, value))
    }
}
