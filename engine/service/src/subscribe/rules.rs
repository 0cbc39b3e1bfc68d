//! What is wanted of a feed, by its settings: titles, sizes, numbers.

use settings::Subscribe;

/// What is said of an item that was in the feed before it was followed.
pub(super) const BEFORE: &str = "was there before";

/// Why an item is not wanted, going by what the feed says of it.
pub(super) fn refusal(settings: &Subscribe, title: &str, content_bytes: Option<u64>) -> Option<String> {
    if settings.reject.iter().any(|pattern| pattern.is_in(title)) {
        return Some("its title is rejected".to_owned());
    }
    if !settings.accept.is_empty() && !settings.accept.iter().any(|pattern| pattern.is_in(title)) {
        return Some("its title is not accepted".to_owned());
    }
    too_large(settings, content_bytes?)
}

/// Why content of this size is not wanted.
pub(super) fn too_large(settings: &Subscribe, size_bytes: u64) -> Option<String> {
    let most = settings.max_item_size?.bytes();
    (size_bytes > most).then(|| format!("{size_bytes} bytes are more than max_item_size ({most})"))
}

/// Why something has to wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoRoom {
    pub(super) why: String,
    /// There is none for anything else either; if not, something smaller may find some.
    pub(super) is_full: bool,
}

/// Why there is no room for one more, of a size that may not be known. `taken` is what is there: how many, and their bytes.
pub(super) fn no_room(settings: &Subscribe, taken: (u64, u64), size_bytes: Option<u64>) -> Option<NoRoom> {
    let (count, bytes) = taken;
    if let Some(most) = settings.max_items.filter(|most| count >= u64::from(*most)) {
        return Some(NoRoom { why: format!("there are max_items ({most}) already"), is_full: true });
    }
    let most = settings.max_total_size?.bytes();
    let is_full = bytes >= most;
    // One of an unknown size is looked at again when it is known.
    (is_full || bytes.saturating_add(size_bytes.unwrap_or(0)) > most)
        .then(|| NoRoom { why: format!("it would be more than max_total_size ({most} bytes)"), is_full })
}

#[cfg(test)]
mod tests {
    use settings::Size;

    use super::*;
    use crate::subscribe::tests::stand::subscribe;

    #[test]
    fn titles_sizes_and_numbers_decide() {
        let settings = Subscribe {
            accept: vec!["debian.*amd64".parse().unwrap(), "ubuntu".parse().unwrap()],
            reject: vec!["beta".parse().unwrap()],
            max_item_size: Some(Size(100)),
            max_total_size: Some(Size(1000)),
            max_items: Some(5),
            ..subscribe("http://127.0.0.1/")
        };
        assert_eq!(refusal(&settings, "Debian 13 AMD64", None), None);
        assert_eq!(refusal(&settings, "Ubuntu 26.04", Some(100)), None);
        assert!(refusal(&settings, "Ubuntu 26.10 Beta", None).unwrap().contains("rejected"));
        assert!(refusal(&settings, "Debian 13 arm64", None).unwrap().contains("not accepted"));
        assert!(refusal(&settings, "ubuntu", Some(101)).unwrap().contains("max_item_size"));
        assert_eq!(no_room(&settings, (4, 900), Some(100)), None);
        let lacks = |taken, size_bytes, what, is_full| {
            let no_room = no_room(&settings, taken, size_bytes).unwrap();
            assert!(no_room.why.contains(what) && no_room.is_full == is_full, "{no_room:?}");
        };
        lacks((4, 900), Some(101), "max_total_size", false);
        lacks((4, 1000), None, "max_total_size", true);
        lacks((5, 0), None, "max_items", true);
        assert_eq!(no_room(&subscribe("http://127.0.0.1/"), (u64::MAX, u64::MAX), Some(u64::MAX)), None);
    }
}
