//! The paths of a tracker's URLs: what is asked, and the key that may stand before it (`/KEY/announce`).

/// What may be asked of a tracker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Peers, by one who is one.
    Announce,
    /// The sizes of swarms.
    Scrape,
}

/// What a path asks for, and the key that it shows, if it is one of a tracker's. The query must not be part of it.
pub fn read_path(path: &str) -> Option<(Asked, Option<&str>)> {
    let (before, last) = path
        .strip_prefix('/')?
        .rsplit_once('/')
        .map_or_else(|| (None, path.trim_start_matches('/')), |(before, last)| (Some(before), last));
    let asked = match last {
        "announce" => Asked::Announce,
        "scrape" => Asked::Scrape,
        _ => return None,
    };
    match before {
        Some(key) if key.is_empty() || key.contains('/') => None,
        key => Some((asked, key)),
    }
}

/// The key that a UDP announce shows in the path of its URL (BEP 41), if it shows one.
pub(crate) fn key_of_url_data(url_data: &[u8]) -> Option<&str> {
    let path = std::str::from_utf8(url_data).ok()?.split('?').next()?;
    read_path(path)?.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_segment_before_what_is_asked() {
        assert_eq!(read_path("/announce"), Some((Asked::Announce, None)));
        assert_eq!(read_path("/scrape"), Some((Asked::Scrape, None)));
        assert_eq!(read_path("/k-e.y/announce"), Some((Asked::Announce, Some("k-e.y"))));
        assert_eq!(read_path("/key/scrape"), Some((Asked::Scrape, Some("key"))));
        for path in
            ["", "/", "announce", "//announce", "/a/b/announce", "/announce/", "/key/", "/announce.php", "/Announce"]
        {
            assert_eq!(read_path(path), None, "{path}");
        }
    }

    #[test]
    fn a_datagram_shows_its_key_in_the_path_that_it_carries() {
        assert_eq!(key_of_url_data(b"/key/announce?x=/y/announce"), Some("key"));
        assert_eq!(key_of_url_data(b"/announce"), None);
        assert_eq!(key_of_url_data(b""), None);
        assert_eq!(key_of_url_data(b"/\xff/announce"), None);
    }
}
