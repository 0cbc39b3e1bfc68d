//! Raw names from a torrent to names that are safe as one path component. What is safe depends on this program's
//! platform, Linux: names that only other systems reserve (`CON`, `a` beside `A`) stay, since folders that hold them
//! could not be seeded otherwise.

use std::borrow::Cow;

/// The longest component: `NAME_MAX` of Linux file systems.
pub(crate) const MAX_NAME_BYTES: usize = 255;

/// The longest extension that survives when a name is cut.
const MAX_EXTENSION_BYTES: usize = 16;

/// The name as one safe component. `None` for a name that stands for nothing: empty, or `.`.
///
/// Bytes that are not UTF-8 become U+FFFD; separators, NUL and control characters become `_`, and so do the dots of
/// `..`; what is longer than 255 bytes is cut before its extension.
pub(crate) fn component(raw: &[u8]) -> Option<Cow<'_, str>> {
    let text = String::from_utf8_lossy(raw);
    match &*text {
        "" | "." => None,
        ".." => Some(Cow::Borrowed("__")),
        _ if text.contains(is_unsafe) => Some(Cow::Owned(cut(&text.replace(is_unsafe, "_")).into_owned())),
        _ if text.len() > MAX_NAME_BYTES => Some(Cow::Owned(cut(&text).into_owned())),
        _ => Some(text),
    }
}

fn is_unsafe(character: char) -> bool {
    matches!(character, '/' | '\\') || character.is_control()
}

fn cut(name: &str) -> Cow<'_, str> {
    if name.len() <= MAX_NAME_BYTES {
        return Cow::Borrowed(name);
    }
    let (stem, extension) = split_extension(name);
    let stem = cut_to(stem, MAX_NAME_BYTES - extension.len());
    Cow::Owned(format!("{stem}{extension}"))
}

/// The name before and from its last dot; all of it where there is no short extension.
pub(crate) fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= MAX_EXTENSION_BYTES => name.split_at(dot),
        _ => (name, ""),
    }
}

/// The longest beginning of at most `size` bytes that splits no character.
pub(crate) fn cut_to(text: &str, size: usize) -> &str {
    &text[..text.floor_char_boundary(size)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn safe(raw: &[u8]) -> String {
        component(raw).unwrap().into_owned()
    }

    #[test]
    fn names_that_lead_elsewhere_lead_nowhere() {
        assert_eq!(component(b""), None);
        assert_eq!(component(b"."), None);
        assert_eq!(safe(b".."), "__");
        assert_eq!(safe(b"/etc/passwd"), "_etc_passwd");
        assert_eq!(safe(b"..\\..\\boot"), ".._.._boot");
        assert_eq!(safe(b"a\0b\nc\x7f"), "a_b_c_");
        assert_eq!(safe("a\u{85}b".as_bytes()), "a_b");
        assert_eq!(safe(b"/"), "_");
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["...", ".hidden", "CON", "aux.c", "a b ", "日本語.txt", "\u{5d0}\u{200f}", "e\u{301}", "~$%&"] {
            assert_eq!(safe(name.as_bytes()), name);
        }
    }

    #[test]
    fn bytes_that_are_not_text_show_as_such() {
        assert_eq!(safe(b"caf\xe9.txt"), "caf\u{fffd}.txt");
    }

    #[test]
    fn a_long_name_keeps_its_extension_and_whole_characters() {
        let name = safe(format!("{}.tar.gz", "é".repeat(200)).as_bytes());
        assert!(name.len() <= MAX_NAME_BYTES && name.len() > MAX_NAME_BYTES - 2);
        assert!(name.ends_with("é.gz") || name.ends_with(".gz"));
        assert_eq!(safe(&[b'a'; 255]).len(), 255);
        assert_eq!(safe(&[b'a'; 256]).len(), 255);
        assert_eq!(safe(format!("a.{}", "b".repeat(300)).as_bytes()).len(), 255);
    }

    proptest! {
        #[test]
        fn whatever_comes_in_one_safe_component_comes_out(
            raw in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..600),
                prop::collection::vec(prop::sample::select(b"./\\\0a\xc3\xa9".to_vec()), 0..600),
            ],
        ) {
            if let Some(name) = component(&raw) {
                prop_assert!(!name.is_empty() && name.len() <= MAX_NAME_BYTES);
                prop_assert!(name != "." && name != "..");
                prop_assert!(!name.contains(is_unsafe));
                // What is safe is left alone.
                prop_assert_eq!(component(name.as_bytes()), Some(name.clone()));
            }
        }
    }
}
