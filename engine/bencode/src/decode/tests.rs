use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind::*;
use crate::token::{KeyOrder, MAX_DEPTH, Token};

fn refused(input: &[u8]) -> (ErrorKind, usize) {
    let error = decode(input, &Limits::default()).unwrap_err();
    (error.kind, error.offset)
}

fn accepted(input: &[u8]) -> Value<'_> {
    decode(input, &Limits::default()).unwrap()
}

#[test]
fn values_read_as_written() {
    assert_eq!(accepted(b"i-42e"), Value::Int(-42));
    assert_eq!(accepted(b"i9223372036854775807e"), Value::Int(i64::MAX));
    assert_eq!(accepted(b"i-9223372036854775808e"), Value::Int(i64::MIN));
    assert_eq!(accepted(b"0:"), Value::Bytes(b""));
    assert_eq!(accepted(b"3:a\xff:"), Value::Bytes(b"a\xff:"));
    let list = accepted(b"li1el2:abed1:k0:ee").as_list().unwrap();
    let items: Vec<_> = list.iter().collect();
    assert_eq!(items[0].as_int(), Some(1));
    assert_eq!(items[1].as_list().unwrap().raw(), b"l2:abe");
    assert_eq!(items[2].as_dict().unwrap().get("k"), Some(Value::Bytes(b"")));
    assert_eq!(items.len(), 3);
}

#[test]
fn a_dictionary_hands_out_its_own_bytes_for_hashing() {
    let info = accepted(b"d4:infod1:b1:x1:a1:yee").as_dict().unwrap().get("info").unwrap();
    assert_eq!(info.as_dict().unwrap().raw(), b"d1:b1:x1:a1:ye");
}

#[test]
fn of_a_key_that_appears_twice_the_first_counts() {
    let dict = accepted(b"d1:ai1e1:bi2e1:ai3ee").as_dict().unwrap();
    assert_eq!(dict.get("a"), Some(Value::Int(1)));
    assert_eq!(dict.get_all(["b", "c", "a"]), [Some(Value::Int(2)), None, Some(Value::Int(1))]);
}

#[test]
fn every_cut_of_a_value_is_truncated_and_not_something_else() {
    let whole = b"d1:ai-12e1:bl4:spamd0:lee1:xee";
    for size in 0..whole.len() {
        assert_eq!(refused(&whole[..size]), (Truncated, size), "{size}");
    }
    assert!(decode(whole, &Limits::default()).is_ok());
}

#[test]
fn integers_must_be_plain() {
    for bad in [&b"ie"[..], b"i-e", b"i-0e", b"i00e", b"i03e", b"i-01e", b"i+1e", b"i1.0e", b"i 1e", b"i1-e", b"i--1e"]
    {
        assert_eq!(refused(bad), (BadInteger, 0), "{}", bad.escape_ascii());
    }
    assert_eq!(refused(b"i9223372036854775808e"), (IntegerTooLong, 0));
    assert_eq!(refused(b"i-9223372036854775809e"), (IntegerTooLong, 0));
    let long = [b"i".as_slice(), &[b'1'; 5000], b"e"].concat();
    assert_eq!(refused(&long), (IntegerTooLong, 0));
}

#[test]
fn string_lengths_must_be_plain_and_true() {
    assert_eq!(refused(b"01:a"), (BadLength, 0));
    assert_eq!(refused(b"1a"), (BadLength, 0));
    assert_eq!(refused(b"4:abc"), (Truncated, 5));
    assert_eq!(refused(b"18446744073709551615:a"), (Truncated, 22));
    assert_eq!(refused(b"18446744073709551616:a"), (BadLength, 0));
    assert_eq!(refused(b"-1:a"), (NotAValue(b'-'), 0));
}

#[test]
fn dictionaries_must_be_pairs_with_string_keys() {
    assert_eq!(refused(b"di1ei2ee"), (KeyNotAString, 1));
    assert_eq!(refused(b"dleee"), (KeyNotAString, 1));
    assert_eq!(refused(b"d1:ae"), (MissingValue, 4));
    assert_eq!(refused(b"e"), (NotAValue(b'e'), 0));
    assert_eq!(refused(b""), (Truncated, 0));
    assert_eq!(refused(b"x"), (NotAValue(b'x'), 0));
}

#[test]
fn nesting_beyond_the_limit_is_refused_and_a_million_levels_do_no_harm() {
    let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
    let limits = Limits { depth: 4, ..Limits::default() };
    assert!(decode(&nested(4), &limits).is_ok());
    assert_eq!(decode(&nested(5), &limits).unwrap_err(), DecodeError { offset: 4, kind: TooDeep(4) });
    let limits = Limits { depth: usize::MAX, input_bytes: usize::MAX, ..limits };
    assert!(decode(&nested(MAX_DEPTH), &limits).is_ok());
    assert_eq!(decode(&nested(1_000_000), &limits).unwrap_err().kind, TooDeep(MAX_DEPTH));
    assert_eq!(decode(&b"d1:a".repeat(1_000_000), &limits).unwrap_err().kind, TooDeep(MAX_DEPTH));
}

#[test]
fn input_beyond_the_limit_is_refused_unread() {
    let limits = Limits { input_bytes: 3, ..Limits::default() };
    assert_eq!(decode(b"i10e", &limits).unwrap_err().kind, TooLong(3));
}

#[test]
fn trailing_data_is_an_error_unless_asked_for() {
    assert_eq!(refused(b"i1ei2e"), (TrailingData, 3));
    let (value, rest) = decode_prefix(b"d1:ai1ee\x00\xffrest", &Limits::default()).unwrap();
    assert_eq!(value.as_dict().unwrap().get("a"), Some(Value::Int(1)));
    assert_eq!(rest, b"\x00\xffrest");
}

#[test]
fn order_matters_only_where_it_is_asked_for() {
    let sorted = Limits { keys: KeyOrder::Sorted, ..Limits::default() };
    for (input, kind) in
        [(&b"d1:b0:1:a0:e"[..], Unsorted), (b"d1:a0:1:a0:e", DuplicateKey), (b"d1:ad1:y0:1:x0:ee", Unsorted)]
    {
        assert!(decode(input, &Limits::default()).is_ok());
        assert_eq!(decode(input, &sorted).unwrap_err().kind, kind);
    }
    // A key is compared with its own level only.
    assert!(decode(b"d1:ad1:z0:e1:bld1:a0:eee", &sorted).is_ok());
}

#[test]
fn a_value_in_the_middle_of_tokens_is_read_whole() {
    let mut tokens = Tokens::new(b"d1:ad1:bi1ee1:cle1:di2ee", &Limits::default()).unwrap();
    assert_eq!(tokens.next_token().unwrap(), Some(Token::DictStart));
    assert_eq!(tokens.next_token().unwrap(), Some(Token::Key(b"a")));
    let inner = tokens.next_value().unwrap().unwrap();
    assert_eq!(inner.as_dict().unwrap().raw(), b"d1:bi1ee");
    assert_eq!(tokens.next_value().unwrap(), None);
    assert!(tokens.next_value().unwrap().unwrap().as_list().unwrap().is_empty());
    assert_eq!(tokens.next_token().unwrap(), Some(Token::Key(b"d")));
    assert_eq!(tokens.next_value().unwrap(), Some(Value::Int(2)));
    assert_eq!(tokens.next_token().unwrap(), Some(Token::End));
    assert_eq!(tokens.next_token().unwrap(), None);
}

/// A value to encode, for round trips.
#[derive(Clone, Debug)]
enum Tree {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Tree>),
    Dict(Vec<(Vec<u8>, Tree)>),
}

impl Tree {
    fn write(&self, encoder: &mut crate::Encoder) {
        match self {
            Tree::Int(value) => drop(encoder.int(*value)),
            Tree::Bytes(bytes) => drop(encoder.bytes(bytes)),
            Tree::List(items) => drop(encoder.list(|list| items.iter().for_each(|item| item.write(list)))),
            Tree::Dict(entries) => drop(encoder.dict(|dict| {
                for (key, value) in entries {
                    dict.raw(key, crate::encode(|encoder| value.write(encoder)));
                }
            })),
        }
    }

    fn agrees(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Tree::Int(a), Value::Int(b)) => *a == b,
            (Tree::Bytes(a), Value::Bytes(b)) => a == b,
            (Tree::List(a), Value::List(b)) => a.len() == b.iter().count() && a.iter().zip(b).all(|(a, b)| a.agrees(b)),
            (Tree::Dict(a), Value::Dict(b)) => b.iter().all(|(key, value)| {
                a.iter().find(|(found, _)| found == key).is_some_and(|(_, tree)| tree.agrees(value))
            }),
            _ => false,
        }
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf =
        prop_oneof![any::<i64>().prop_map(Tree::Int), prop::collection::vec(any::<u8>(), 0..20).prop_map(Tree::Bytes),];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::List),
            prop::collection::vec((prop::collection::vec(any::<u8>(), 0..4), inner), 0..6).prop_map(Tree::Dict),
        ]
    })
}

/// Bytes that look like bencode more often than random ones.
fn near_bencode() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(b"ilde0123456789:-ax".to_vec()), 0..40)
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same_and_is_canonical(tree in trees()) {
        let bytes = crate::encode(|encoder| tree.write(encoder));
        let value = decode(&bytes, &Limits { keys: KeyOrder::Sorted, ..Limits::default() }).unwrap();
        prop_assert!(tree.agrees(value));
    }

    #[test]
    fn an_independent_decoder_reads_the_same(tree in trees()) {
        let bytes = crate::encode(|encoder| tree.write(encoder));
        let oracle = bencode_oracle::from_vec(bytes.clone()).unwrap();
        prop_assert!(oracle_agrees(&oracle, decode(&bytes, &Limits::default()).unwrap()));
        prop_assert_eq!(oracle.to_bytes().unwrap(), bytes);
    }

    #[test]
    fn no_bytes_make_it_panic_and_what_it_accepts_can_be_walked(bytes in near_bencode(), depth in 0usize..6) {
        let limits = Limits { depth, ..Limits::default() };
        if let Ok((value, rest)) = decode_prefix(&bytes, &limits) {
            let walked = crate::encode(|encoder| rewrite(value, encoder));
            // Re-encoded, so equal but for the order of keys and for duplicates.
            prop_assert!(walked.len() <= bytes.len() - rest.len());
        }
    }
}

fn rewrite(value: Value<'_>, encoder: &mut crate::Encoder) {
    match value {
        Value::Int(value) => drop(encoder.int(value)),
        Value::Bytes(bytes) => drop(encoder.bytes(bytes)),
        Value::List(list) => drop(encoder.list(|out| list.iter().for_each(|item| rewrite(item, out)))),
        Value::Dict(dict) => drop(encoder.dict(|out| {
            for (key, value) in dict {
                out.raw(key, crate::encode(|encoder| rewrite(value, encoder)));
            }
        })),
    }
}

fn oracle_agrees(oracle: &bencode_oracle::Bencode, value: Value<'_>) -> bool {
    use bencode_oracle::Bencode;
    match (oracle, value) {
        (Bencode::Number(a), Value::Int(b)) => *a == b,
        (Bencode::ByteString(a), Value::Bytes(b)) => a == b,
        (Bencode::List(a), Value::List(b)) => {
            a.len() == b.iter().count() && a.iter().zip(b).all(|(a, b)| oracle_agrees(a, b))
        }
        (Bencode::Dict(a), Value::Dict(b)) => {
            a.len() == b.iter().count()
                && a.iter().zip(b).all(|((key, a), (found, b))| key.as_slice() == found && oracle_agrees(a, b))
        }
        _ => false,
    }
}
