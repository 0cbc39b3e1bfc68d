use proptest::prelude::*;

use super::*;

fn base() -> Url {
    Url::parse("https://example.org/feeds/all.rss").unwrap()
}

fn items(text: &str) -> Vec<Item> {
    read(text.as_bytes(), &base()).unwrap().items
}

fn file(url: &str) -> Source {
    Source::File(Url::parse(url).unwrap())
}

fn rss(item: &str) -> Vec<Item> {
    items(&format!(
        "<?xml version='1.0'?><rss version='2.0'><channel><title>Feed</title><item>{item}</item></channel></rss>"
    ))
}

#[test]
fn an_enclosure_of_rss_is_a_torrent_and_its_guid_is_its_name() {
    let found = rss(
        "<title>\n  Live &amp; &#x41;  <![CDATA[<b>]]></title><link>https://example.org/p/1</link><guid isPermaLink='false'>urn:1</guid>
         <enclosure url='/files/a%20b.torrent?x=1&amp;y=2' length='7' type='application/x-bittorrent'/>",
    );
    let source = file("https://example.org/files/a%20b.torrent?x=1&y=2");
    let item = Item { id: "urn:1".into(), title: "Live & A <b>".into(), source, content_bytes: None };
    assert_eq!(found, [item]);
}

#[test]
fn an_entry_of_atom_names_its_torrent_by_type() {
    let found = items(
        "<feed xmlns='http://www.w3.org/2005/Atom'><title>T</title><entry><id>tag:x,1</id><title type='text'>One</title>
         <link rel='alternate' href='https://example.org/p'/><link rel='self' href='https://example.org/self.torrent'/>
         <link rel='enclosure' type='application/x-bittorrent' href='https://example.org/get?id=1' length='9'/></entry></feed>",
    );
    let source = file("https://example.org/get?id=1");
    assert_eq!(found, [Item { id: "tag:x,1".into(), title: "One".into(), source, content_bytes: None }]);
}

#[test]
fn magnet_links_are_found_where_feeds_put_them() {
    let link = "magnet:?xt=urn:btih:c1358948eb337bff1a844ceb95536f6ade2feca9&dn=x";
    let escaped = link.replace('&', "&amp;");
    let hash = "c1358948eb337bff1a844ceb95536f6ade2feca9";
    for inner in [
        format!("<enclosure url='{escaped}' length='0' type='application/x-bittorrent'/>"),
        format!("<link>{escaped}</link>"),
        format!("<guid>{escaped}</guid>"),
        format!("<torrent:magnetURI xmlns:torrent='u'><![CDATA[{link}]]></torrent:magnetURI>"),
        format!("<torrent xmlns='u'><magnetURI>{escaped}</magnetURI><contentLength>5</contentLength></torrent>"),
    ] {
        let found = rss(&format!("<title>t</title>{inner}"));
        assert_eq!(found.len(), 1, "{inner}");
        assert_eq!(found[0].source, Source::Magnet(link.to_owned()), "{inner}");
    }
    let found = rss(&format!("<title>t</title><guid>1</guid><x:infoHash xmlns:x='u'>{hash}</x:infoHash>"));
    assert_eq!(found[0].source, Source::Magnet(format!("magnet:?xt=urn:btih:{hash}")));
}

#[test]
fn a_torrent_file_goes_before_a_link_and_the_content_s_size_is_read() {
    let found = rss("<torrent:magnetURI xmlns:torrent='u'>magnet:?xt=urn:btih:x</torrent:magnetURI>
         <torrent:contentLength xmlns:torrent='u'>12345</torrent:contentLength>
         <enclosure url='https://example.org/a.torrent' type='application/x-bittorrent' length='3'/>");
    assert_eq!(found[0].source, file("https://example.org/a.torrent"));
    assert_eq!((found[0].content_bytes, &*found[0].id), (Some(12345), "https://example.org/a.torrent"));
}

#[test]
fn what_names_no_torrent_is_passed_over() {
    let document = read(
        b"<rss><channel><item><title>a</title><link>https://example.org/p</link></item>
          <item><enclosure url='file:///etc/x.torrent' type='application/x-bittorrent'/></item>
          <item><enclosure url='x.iso' type='application/octet-stream'/></item>
          <item><link>ftp://example.org/a.torrent</link></item></channel></rss>",
        &base(),
    );
    assert_eq!(document.unwrap(), Document { items: vec![], without_torrent: 4, is_cut: false });
}

#[test]
fn an_xml_bomb_is_not_expanded() {
    let mut text = String::from("<!DOCTYPE rss [<!ENTITY a0 'boom'>");
    for level in 1..40 {
        text +=
            &format!("<!ENTITY a{level} '&a{0};&a{0};&a{0};&a{0};&a{0};&a{0};&a{0};&a{0};&a{0};&a{0};'>", level - 1);
    }
    text += "<!ENTITY file SYSTEM 'file:///etc/passwd'>]>";
    text += "<rss><channel><item><title>&a39;&file;t</title><link>https://x/a.torrent</link></item></channel></rss>";
    let found = items(&text);
    assert_eq!(found[0].title, "t");
}

#[test]
fn depth_text_items_and_links_are_bounded() {
    let deep = format!("<rss>{}{}</rss>", "<a>".repeat(100_000), "</a>".repeat(100_000));
    assert_eq!(read(deep.as_bytes(), &base()), Err(DocumentError::TooDeep));
    let long = rss(&format!("<title>{}</title><link>https://x/a.torrent</link>", "ä".repeat(1_000_000)));
    assert_eq!(long[0].title.chars().count(), TITLE_CHARS_MAX);
    let item = "<item><link>https://x/a.torrent</link></item>";
    let many = read(format!("<rss>{}</rss>", item.repeat(ITEMS_MAX + 1)).as_bytes(), &base()).unwrap();
    assert!(many.is_cut && many.items.len() == ITEMS_MAX);
    let links = "<link>https://x/p</link>".repeat(LINKS_MAX * 2) + "<link>https://x/a.torrent</link>";
    assert!(rss(&links).is_empty());
}

#[test]
fn what_is_no_feed_says_so() {
    let error = |text: &str| read(text.as_bytes(), &base()).unwrap_err().to_string();
    assert_eq!(error("<html><body>Sign in</body></html>"), "no feed: it begins with <html>");
    assert_eq!(error("  "), "the feed is empty");
    assert!(error("<rss><channel></rss>").starts_with("no XML"));
    assert!(error("<rss><channel>").starts_with("no XML"));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = read(&bytes, &base());
    }

    #[test]
    fn no_feed_like_bytes_panic(parts in prop::collection::vec(prop::sample::select(vec![
        "<rss>", "</rss>", "<item>", "</item>", "<entry>", "</entry>", "<link href='", "<link>", "</link>", "'/>", "magnet:?xt=",
        "https://x/a.torrent", "&amp;", "&#x0;", "&#xd800;", "&x;", "<![CDATA[", "]]>", "<!--", "-->", "\u{feff}", "ä", "<torrent>",
        "<magnetURI>", "</magnetURI>", "<enclosure url=\"", "\"", ">", "<", "\0",
    ]), 0..40)) {
        let _ = read(parts.concat().as_bytes(), &base());
    }
}

#[test]
fn an_element_with_a_hundred_thousand_attributes_costs_no_more_than_its_bytes() {
    // With each compared with all before it, this would take minutes.
    let names: String = (0..100_000).map(|number| format!(" a{number}=''")).collect();
    let again = " a99999=''".repeat(100_000);
    let found = rss(&format!("<enclosure{names}{again} url='/1.torrent' url='/2.torrent'/>"));
    assert_eq!(found[0].source, file("https://example.org/1.torrent"));
}
