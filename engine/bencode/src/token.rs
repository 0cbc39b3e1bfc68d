//! The pull tokenizer: one pass over untrusted bytes, checked as it goes, no recursion, no allocation (but one key per
//! level where sorted keys are asked for). Everything else in this crate stands on it.

use crate::error::{DecodeError, ErrorKind};
use crate::value::Value;

/// The deepest nesting that can be allowed; a bit each on the tokenizer's stack.
pub const MAX_DEPTH: usize = 256;

/// What input is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The longest input.
    pub input_bytes: usize,
    /// How deep lists and dictionaries may nest; values above [`MAX_DEPTH`] mean [`MAX_DEPTH`].
    pub depth: usize,
    /// Whether dictionary keys may stand in any order.
    pub keys: KeyOrder,
}

/// Which dictionaries are accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyOrder {
    /// Any order, and duplicates (the first one counts): what is found in the wild.
    Any,
    /// Sorted and without duplicates, as BEP 3 asks.
    Sorted,
}

impl Default for Limits {
    /// For messages and replies: 1 MiB, 32 levels, keys in any order.
    fn default() -> Limits {
        Limits { input_bytes: 1 << 20, depth: 32, keys: KeyOrder::Any }
    }
}

/// One step through bencoded data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Token<'a> {
    /// An integer.
    Int(i64),
    /// A string that is a value.
    Bytes(&'a [u8]),
    /// A string that is a dictionary key; its value follows.
    Key(&'a [u8]),
    /// A list starts.
    ListStart,
    /// A dictionary starts.
    DictStart,
    /// The innermost open list or dictionary ends.
    End,
}

/// Reads one value from untrusted bytes, token by token.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    input: &'a [u8],
    position: usize,
    limits: Limits,
    /// How many lists and dictionaries are open.
    depth: usize,
    /// One bit per open level: whether it is a dictionary.
    dict_bits: [u64; MAX_DEPTH / 64],
    /// Whether the innermost level is a dictionary that waits for a key or its end.
    at_key: bool,
    /// The last key of every open dictionary; empty unless keys must be sorted.
    last_keys: Vec<Option<&'a [u8]>>,
    done: bool,
}

impl<'a> Tokens<'a> {
    /// Starts at the first byte. Bytes behind the first value are not looked at.
    pub fn new(input: &'a [u8], limits: &Limits) -> Result<Tokens<'a>, DecodeError> {
        if input.len() > limits.input_bytes {
            return Err(DecodeError { offset: limits.input_bytes, kind: ErrorKind::TooLong(limits.input_bytes) });
        }
        let limits = Limits { depth: limits.depth.min(MAX_DEPTH), ..*limits };
        Ok(Tokens {
            input,
            position: 0,
            limits,
            depth: 0,
            dict_bits: [0; MAX_DEPTH / 64],
            at_key: false,
            last_keys: Vec::new(),
            done: false,
        })
    }

    /// The next token; `None` behind the end of the value. After an error the tokenizer is at its end.
    pub fn next_token(&mut self) -> Result<Option<Token<'a>>, DecodeError> {
        if self.done {
            return Ok(None);
        }
        let offset = self.position;
        match self.advance() {
            Ok(token) => {
                self.done = self.depth == 0;
                Ok(Some(token))
            }
            Err(kind) => {
                self.done = true;
                let offset = if kind == ErrorKind::Truncated { self.input.len() } else { offset };
                Err(DecodeError { offset, kind })
            }
        }
    }

    /// The whole value that starts here: behind a key, or within a list. `None` (and the token is passed) where no value
    /// starts.
    pub fn next_value(&mut self) -> Result<Option<Value<'a>>, DecodeError> {
        let (start, depth) = (self.position, self.depth);
        match self.next_token()? {
            None | Some(Token::Key(_) | Token::End) => return Ok(None),
            Some(_) => {}
        }
        while self.depth > depth {
            self.next_token()?;
        }
        Ok(Value::read(self.input, start).map(|(value, _)| value))
    }

    /// Bytes read so far.
    pub fn offset(&self) -> usize {
        self.position
    }

    fn advance(&mut self) -> Result<Token<'a>, ErrorKind> {
        let (head, next) = read_head(self.input, self.position)?;
        let in_dict = self.depth > 0 && self.is_dict(self.depth - 1);
        let token = match head {
            Token::End if self.depth == 0 => return Err(ErrorKind::NotAValue(b'e')),
            Token::End if in_dict && !self.at_key => return Err(ErrorKind::MissingValue),
            Token::End => self.close(in_dict),
            Token::Bytes(key) if self.at_key => {
                self.check_key(key)?;
                self.at_key = false;
                Token::Key(key)
            }
            _ if self.at_key => return Err(ErrorKind::KeyNotAString),
            Token::ListStart | Token::DictStart => self.open(head)?,
            Token::Int(_) | Token::Bytes(_) | Token::Key(_) => {
                self.at_key = in_dict;
                head
            }
        };
        self.position = next;
        Ok(token)
    }

    fn open(&mut self, head: Token<'a>) -> Result<Token<'a>, ErrorKind> {
        if self.depth >= self.limits.depth {
            return Err(ErrorKind::TooDeep(self.limits.depth));
        }
        self.at_key = head == Token::DictStart;
        let (word, bit) = (self.depth / 64, 1u64 << (self.depth % 64));
        self.dict_bits[word] = if self.at_key { self.dict_bits[word] | bit } else { self.dict_bits[word] & !bit };
        self.depth += 1;
        if self.at_key && self.limits.keys == KeyOrder::Sorted {
            self.last_keys.push(None);
        }
        Ok(head)
    }

    fn close(&mut self, was_dict: bool) -> Token<'a> {
        if was_dict {
            self.last_keys.pop();
        }
        self.depth -= 1;
        // Whatever was closed was a value, so a dictionary around it waits for its next key.
        self.at_key = self.depth > 0 && self.is_dict(self.depth - 1);
        Token::End
    }

    fn check_key(&mut self, key: &'a [u8]) -> Result<(), ErrorKind> {
        let Some(last) = self.last_keys.last_mut() else { return Ok(()) };
        match *last {
            Some(last) if last == key => Err(ErrorKind::DuplicateKey),
            Some(last) if last > key => Err(ErrorKind::Unsorted),
            _ => {
                *last = Some(key);
                Ok(())
            }
        }
    }

    fn is_dict(&self, level: usize) -> bool {
        self.dict_bits[level / 64] >> (level % 64) & 1 == 1
    }
}

/// Reads what starts at `position`: a whole integer or string, or one byte of structure; and where it ends. Never
/// returns [`Token::Key`]: whether a string is a key is for the caller to know.
pub(crate) fn read_head(input: &[u8], position: usize) -> Result<(Token<'_>, usize), ErrorKind> {
    match *input.get(position).ok_or(ErrorKind::Truncated)? {
        b'l' => Ok((Token::ListStart, position + 1)),
        b'd' => Ok((Token::DictStart, position + 1)),
        b'e' => Ok((Token::End, position + 1)),
        b'i' => read_int(input, position + 1),
        b'0'..=b'9' => read_bytes(input, position),
        other => Err(ErrorKind::NotAValue(other)),
    }
}

fn read_int(input: &[u8], start: usize) -> Result<(Token<'_>, usize), ErrorKind> {
    let negative = input.get(start) == Some(&b'-');
    let mut position = start + usize::from(negative);
    let first = position;
    let mut value = 0i64;
    loop {
        let digit = match *input.get(position).ok_or(ErrorKind::Truncated)? {
            b'e' => break,
            byte @ b'0'..=b'9' => i64::from(byte - b'0'),
            _ => return Err(ErrorKind::BadInteger),
        };
        // Counted downwards for negative numbers, so that the least one fits.
        let digit = if negative { -digit } else { digit };
        value = value.checked_mul(10).and_then(|value| value.checked_add(digit)).ok_or(ErrorKind::IntegerTooLong)?;
        position += 1;
    }
    let has_leading_zero = input[first] == b'0' && (position - first > 1 || negative);
    if position == first || has_leading_zero {
        return Err(ErrorKind::BadInteger);
    }
    Ok((Token::Int(value), position + 1))
}

fn read_bytes(input: &[u8], start: usize) -> Result<(Token<'_>, usize), ErrorKind> {
    let mut position = start;
    let mut size = 0usize;
    loop {
        let digit = match *input.get(position).ok_or(ErrorKind::Truncated)? {
            b':' => break,
            byte @ b'0'..=b'9' => usize::from(byte - b'0'),
            _ => return Err(ErrorKind::BadLength),
        };
        size = size.checked_mul(10).and_then(|size| size.checked_add(digit)).ok_or(ErrorKind::BadLength)?;
        position += 1;
    }
    if input[start] == b'0' && position - start > 1 {
        return Err(ErrorKind::BadLength);
    }
    let begin = position + 1;
    let end = begin.checked_add(size).ok_or(ErrorKind::Truncated)?;
    let bytes = input.get(begin..end).ok_or(ErrorKind::Truncated)?;
    Ok((Token::Bytes(bytes), end))
}
