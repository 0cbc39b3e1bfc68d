use std::time::{Duration, UNIX_EPOCH};

use hash::{Sha1Digest, Sha256Digest};
use hyper::header::{ACCEPT_ENCODING, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, VARY};
use hyper::{Response, StatusCode};
use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::*;
use crate::releases::ReleaseKey;
use crate::server::Body;

const BASE: &str = "https://t.example";

fn item(number: u8) -> FeedItem {
    FeedItem {
        name: format!("release {number}.iso"),
        title: format!("Release {number}"),
        description: String::new(),
        page_url: None,
        key: ReleaseKey::V1(Sha1Digest([number; 20])),
        magnet: format!("magnet:?xt=urn:btih:{}&dn=a", Sha1Digest([number; 20])),
        published_at_s: 1_700_000_000 + i64::from(number),
        content_bytes: 4_000_000_000,
        torrent_bytes: 40_000 + u64::from(number),
        metalink_bytes: Some(777),
    }
}

fn head() -> FeedHead {
    FeedHead::new("iso", "Releases")
}

fn board(head: &FeedHead, items: Vec<FeedItem>) -> Board {
    let board = Board::new(&format!("{BASE}/"));
    board.set(head, items).unwrap();
    board
}

fn xml(board: &Board, file_name: &str) -> String {
    String::from_utf8(board.find(file_name).unwrap().plain.bytes.to_vec()).unwrap()
}

/// An element as it is read back: its name, attributes, and text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
}

impl Element {
    fn attribute(&self, name: &str) -> &str {
        self.attributes.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

/// All elements in the order of their ends. Fails if the document is not well formed.
fn elements(xml: &str) -> Vec<Element> {
    let mut reader = Reader::from_str(xml);
    reader.config_mut().check_end_names = true;
    let mut open: Vec<Element> = Vec::new();
    let mut closed = Vec::new();
    let read = |start: &quick_xml::events::BytesStart<'_>| Element {
        name: start.name().as_ref().to_owned(),
        attributes: start
            .attributes()
            .map(|attribute| {
                let attribute = attribute.unwrap();
                let value = quick_xml::escape::unescape(&attribute.value).unwrap().into_owned();
                (attribute.key.as_ref().to_owned(), value)
            })
            .collect(),
        text: String::new(),
    };
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => open.push(read(&start)),
            Event::Empty(start) => closed.push(read(&start)),
            Event::End(_) => closed.push(open.pop().unwrap()),
            Event::Text(text) => {
                if let Some(last) = open.last_mut() {
                    last.text += &text;
                }
            }
            Event::GeneralRef(reference) => {
                let name: &str = &reference;
                let character = quick_xml::escape::unescape(&format!("&{name};")).unwrap().into_owned();
                open.last_mut().unwrap().text += &character;
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?}");
    closed
}

fn all<'a>(elements: &'a [Element], name: &str) -> Vec<&'a Element> {
    elements.iter().filter(|element| element.name == name).collect()
}

fn texts(xml: &str, name: &str) -> Vec<String> {
    all(&elements(xml), name).into_iter().map(|element| element.text.clone()).collect()
}

#[test]
fn an_rss_item_is_what_readers_and_torrent_clients_look_for() {
    let rss = xml(&board(&head(), vec![item(1)]), "iso.rss");
    let read = elements(&rss);
    let hash = "01".repeat(20);
    let torrent_url = format!("{BASE}/releases/{hash}/release%201.iso.torrent");
    let enclosure = all(&read, "enclosure")[0];
    assert_eq!(enclosure.attribute("url"), torrent_url);
    assert_eq!(enclosure.attribute("length"), "40001", "the torrent file's size, not the content's (BEP 36)");
    assert_eq!(enclosure.attribute("type"), "application/x-bittorrent");
    assert_eq!(all(&read, "guid")[0].text, format!("urn:btih:{hash}"));
    assert_eq!(all(&read, "guid")[0].attribute("isPermaLink"), "false");
    assert_eq!(texts(&rss, "pubDate"), ["Tue, 14 Nov 2023 22:13:21 +0000"]);
    assert_eq!(texts(&rss, "link"), [format!("{BASE}/feeds/iso.rss"), torrent_url]);
    assert_eq!(texts(&rss, "torrent:infoHash"), [hash]);
    assert_eq!(texts(&rss, "torrent:contentLength"), ["4000000000"]);
    assert_eq!(texts(&rss, "torrent:magnetURI"), [item(1).magnet]);
    assert_eq!(texts(&rss, "ttl"), ["1"]);
    assert!(rss.contains("xmlns:torrent=\"http://xmlns.ezrss.it/0.1/\"") && !rss.contains("itunes"), "{rss}");
}

#[test]
fn an_atom_entry_has_what_rfc_4287_demands() {
    let atom = xml(&board(&head(), vec![item(2), item(1)]), "iso.atom");
    let read = elements(&atom);
    let (first, second) = (format!("urn:btih:{}", "02".repeat(20)), format!("urn:btih:{}", "01".repeat(20)));
    assert_eq!(texts(&atom, "id"), [format!("{BASE}/feeds/iso.atom"), first, second]);
    assert_eq!(texts(&atom, "updated")[..2], ["2023-11-14T22:13:22Z", "2023-11-14T22:13:22Z"]);
    assert_eq!(texts(&atom, "name"), ["Releases"], "a feed has an author");
    let links = all(&read, "link");
    let of = |rel: &str| links.iter().filter(|link| link.attribute("rel") == rel).count();
    assert_eq!((of("self"), of("alternate"), of("enclosure"), of("related")), (1, 2, 4, 2));
    let metalink = links.iter().find(|link| link.attribute("type") == "application/metalink4+xml").unwrap();
    assert_eq!(metalink.attribute("length"), "777");
    assert!(metalink.attribute("href").ends_with("release%202.iso.meta4"));
}

#[test]
fn a_podcast_has_what_podcast_clients_look_for_and_a_v2_torrent_no_v1_hash() {
    let podcast = Podcast {
        category: Some("Technology".to_owned()),
        image_url: Some("https://t.example/a.png".to_owned()),
        is_explicit: false,
    };
    let mut v2 = item(1);
    v2.key = ReleaseKey::V2(Sha256Digest([7; 32]));
    let rss = xml(&board(&FeedHead { podcast: Some(podcast), ..head() }, vec![v2]), "iso.rss");
    assert_eq!(texts(&rss, "itunes:explicit"), ["false"]);
    assert_eq!(texts(&rss, "itunes:title"), ["Release 1"]);
    assert_eq!(all(&elements(&rss), "itunes:category")[0].attribute("text"), "Technology");
    assert_eq!(texts(&rss, "guid"), [format!("urn:btmh:1220{}", "07".repeat(32))]);
    assert_eq!(texts(&rss, "torrent:infoHash"), Vec::<String>::new());
}

#[test]
fn the_newest_come_first_and_the_oldest_are_left_out() {
    let board = Board::new(BASE);
    let short = FeedHead { max_items: 3, ..head() };
    let update = board.set(&short, (0..10).map(item).collect()).unwrap();
    assert_eq!((update.item_count, update.left_out_count, update.is_changed), (3, 7, true));
    let titles = texts(&xml(&board, "iso.rss"), "title");
    assert_eq!(titles, ["Releases", "Release 9", "Release 8", "Release 7"]);
    // Titles of 4 KiB that take 24 KiB each once escaped.
    let loud = |number: u16| {
        let mut loud = item(0);
        loud.key = ReleaseKey::V1(Sha1Digest([number as u8; 20]));
        loud.title = "\"".repeat(4096);
        loud.description = "\"".repeat(40_960);
        loud
    };
    let long = FeedHead { max_items: usize::MAX, ..head() };
    let update = board.set(&long, (0..1200).map(loud).collect()).unwrap();
    assert!(update.item_count < MAX_ITEMS && update.item_count + update.left_out_count == 1200, "{update:?}");
    let size = board.find("iso.rss").unwrap().plain.bytes.len();
    assert!(size < MAX_FEED_BYTES + (100 << 10), "{size}");
}

#[test]
fn what_does_not_change_keeps_its_validators_and_what_does_has_new_ones() {
    let board = Board::new(BASE);
    assert!(board.set(&head(), vec![item(1)]).unwrap().is_changed);
    let (first, first_atom) = (board.find("iso.rss").unwrap(), board.find("iso.atom").unwrap());
    assert!(!board.set(&head(), vec![item(1)]).unwrap().is_changed, "the order of a second makes no change");
    let again = board.find("iso.rss").unwrap();
    assert_eq!((&again.plain.etag, again.changed_at_s), (&first.plain.etag, first.changed_at_s));
    assert!(board.set(&head(), vec![item(1), item(2)]).unwrap().is_changed);
    let changed = board.find("iso.rss").unwrap();
    assert!(changed.plain.etag != first.plain.etag && changed.changed_at_s >= first.changed_at_s);
    assert_ne!(first.plain.etag, first_atom.plain.etag);
    assert_ne!(Some(&first.plain.etag), first.packed.as_ref().map(|packed| &packed.etag), "two forms, two tags");
}

#[test]
fn feeds_come_and_go_by_name() {
    let board = board(&head(), vec![item(1)]);
    board.set(&FeedHead::new("a.b-c_d", "x"), Vec::new()).unwrap();
    assert_eq!(board.names(), ["a.b-c_d", "iso"]);
    assert!(board.remove("iso") && !board.remove("iso") && board.find("iso.atom").is_none());
    for name in ["", ".", "..", ".x", "a/b", "ü", "a b", &"x".repeat(101)] {
        assert!(matches!(board.set(&FeedHead::new(name, "x"), Vec::new()), Err(FeedError::Name(_))), "{name}");
    }
    for number in 1..MAX_FEEDS {
        board.set(&FeedHead::new(&format!("f{number}"), "x"), Vec::new()).unwrap();
    }
    assert!(matches!(board.set(&head(), Vec::new()), Err(FeedError::TooMany)));
    assert!(board.set(&FeedHead::new("f1", "y"), Vec::new()).is_ok(), "one that is there is no more");
    assert_eq!(board.names().len(), MAX_FEEDS);
}

fn asked(board: &Board, lines: &[(hyper::header::HeaderName, &str)]) -> Response<Body> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(name, value.parse().unwrap());
    }
    respond(board, "iso.rss", &headers).unwrap().0
}

fn text<'a>(response: &'a Response<Body>, name: &hyper::header::HeaderName) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[test]
fn who_has_it_gets_nothing_whichever_form_he_has() {
    use hyper::header::{CONTENT_ENCODING, ETAG};
    let board = board(&head(), (0..20).map(item).collect());
    let plain = asked(&board, &[]);
    assert_eq!((plain.status(), text(&plain, &VARY)), (StatusCode::OK, "accept-encoding"));
    let packed = asked(&board, &[(ACCEPT_ENCODING, "gzip")]);
    assert_eq!(text(&packed, &CONTENT_ENCODING), "gzip");
    assert_ne!(text(&packed, &ETAG), text(&plain, &ETAG));
    let (tag, packed_tag) = (text(&plain, &ETAG).to_owned(), text(&packed, &ETAG).to_owned());
    for (lines, status) in [
        (vec![(IF_NONE_MATCH, tag.as_str())], 304),
        (vec![(IF_NONE_MATCH, "*")], 304),
        (vec![(IF_NONE_MATCH, "\"x\"")], 200),
        (vec![(IF_NONE_MATCH, packed_tag.as_str()), (ACCEPT_ENCODING, "gzip")], 304),
        (vec![(IF_NONE_MATCH, packed_tag.as_str())], 200),
    ] {
        let response = asked(&board, &lines);
        assert_eq!(response.status(), status, "{lines:?}");
        assert_eq!(hyper::body::Body::is_end_stream(response.body()), status == 304);
        assert!(!text(&response, &ETAG).is_empty() && !text(&response, &hyper::header::CACHE_CONTROL).is_empty());
    }
    assert_eq!(respond(&board, "none.rss", &HeaderMap::new()).map(|_| ()), None);
}

#[test]
fn who_has_it_costs_no_allocation_but_the_table_of_headers() {
    let board = board(&head(), (0..100).map(item).collect());
    let mut headers = HeaderMap::new();
    headers.insert(IF_NONE_MATCH, board.find("iso.rss").unwrap().packed.as_ref().unwrap().etag.clone());
    headers.insert(ACCEPT_ENCODING, "gzip, deflate".parse().unwrap());
    let mut status = StatusCode::OK;
    let used = allocation_counter::measure(|| status = respond(&board, "iso.rss", &headers).unwrap().0.status());
    assert_eq!(status, StatusCode::NOT_MODIFIED);
    assert!(used.count_total <= 3 && used.bytes_total < 2048, "{used:?}");
}

#[test]
fn a_date_is_given_only_when_its_second_is_over() {
    let board = board(&head(), vec![item(1)]);
    let feed = board.find("iso.rss").unwrap();
    let at = |offset_s| UNIX_EPOCH + Duration::from_secs(feed.changed_at_s + offset_s);
    assert_eq!(text(&feed.answer(&HeaderMap::new(), at(0)).0, &LAST_MODIFIED), "");
    let date = text(&feed.answer(&HeaderMap::new(), at(1)).0, &LAST_MODIFIED).to_owned();
    assert_eq!(httpdate::parse_http_date(&date).unwrap(), at(0));
    let mut headers = HeaderMap::new();
    headers.insert(IF_MODIFIED_SINCE, date.parse().unwrap());
    assert_eq!(feed.answer(&headers, at(1)).0.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(feed.answer(&headers, at(0)).0.status(), StatusCode::OK, "another change may come in this second");
}

/// What XML 1.0 makes of a text: the legal characters, and a mark for the others.
fn expected(text: &str) -> String {
    let legal = |c: char| matches!(c as u32, 0x9 | 0xA | 0x20..=0xD7FF | 0xE000..=0xFFFD | 0x1_0000..=0x10_FFFF);
    text.chars()
        .map(|c| {
            if c == '\r' {
                '\n'
            } else if legal(c) {
                c
            } else {
                '\u{FFFD}'
            }
        })
        .collect()
}

proptest! {
    #[test]
    fn hostile_texts_are_read_back_as_they_were(
        title in any::<String>(),
        description in "[\\x00-\\x20\\]>&<'\"\u{FFFE}\u{FFFF}\u{85}ü-]{1,40}",
        name in any::<String>(),
        magnet in any::<String>(),
    ) {
        let mut hostile = item(1);
        hostile.title.clone_from(&title);
        hostile.description.clone_from(&description);
        hostile.name.clone_from(&name);
        hostile.magnet.clone_from(&magnet);
        let head = FeedHead { title: title.clone(), page_url: Some(title.clone()), ..head() };
        let board = board(&head, vec![hostile]);
        let rss = xml(&board, "iso.rss");
        prop_assert_eq!(texts(&rss, "title"), [expected(&title), expected(&title)]);
        prop_assert_eq!(&texts(&rss, "description")[1], &expected(&description));
        prop_assert_eq!(texts(&rss, "torrent:fileName"), [expected(&name)]);
        prop_assert_eq!(texts(&rss, "torrent:magnetURI"), [expected(&magnet)]);
        let url = all(&elements(&rss), "enclosure")[0].attribute("url").to_owned();
        let file_name = url.rsplit('/').next().unwrap().strip_suffix(".torrent").unwrap().to_owned();
        prop_assert_eq!(percent_encoding::percent_decode_str(&file_name).decode_utf8().unwrap(), name);
        let atom = xml(&board, "iso.atom");
        prop_assert_eq!(texts(&atom, "title"), [expected(&title), expected(&title)]);
        prop_assert_eq!(texts(&atom, "summary"), [expected(&description)]);
        let read = elements(&atom);
        let related = all(&read, "link").into_iter().find(|link| link.attribute("rel") == "related").unwrap().clone();
        prop_assert_eq!(related.attribute("href"), expected(&magnet));
    }
}

#[test]
fn another_base_url_is_in_what_is_set_after_it() {
    let board = board(&head(), vec![item(1)]);
    board.set_base_url("https://other.example/");
    assert!(!xml(&board, "iso.rss").contains("other.example"), "until it is set");
    assert!(board.set(&head(), vec![item(1)]).unwrap().is_changed);
    let rss = xml(&board, "iso.rss");
    assert!(rss.contains("https://other.example/releases/") && !rss.contains(BASE), "{rss}");
}
