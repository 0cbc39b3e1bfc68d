use metainfo::{Builder, CreateOptions, FileHashes, NewFile, PieceHashes, Version};
use proptest::prelude::*;
use quick_xml::Reader;

use super::*;

const PIECE: u32 = 16 * 1024;

/// A torrent of made-up hashes over files of these names and sizes; one file without a folder if there is one empty name.
fn torrent(name: &str, version: Version, files: &[(&str, u64)]) -> Torrent {
    let options = CreateOptions {
        name: name.into(),
        version,
        piece_length: Some(PIECE),
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        is_private: false,
        comment: None,
        source: None,
        created_by: None,
        creation_date: None,
    };
    let new_file = |(path, length): &(&str, u64)| NewFile {
        components: path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        length: *length,
        ..NewFile::default()
    };
    let builder = Builder::new(options, files.iter().map(new_file).collect()).unwrap();
    let layout = builder.layout();
    let v1 = layout.pieces().map(|piece| hash::sha1(&piece.get().to_be_bytes())).collect();
    let with_bytes =
        layout.file_indices().filter(|file| layout.file(*file).length() > 0 && !layout.file(*file).is_pad());
    let v2 = with_bytes.map(|file| {
        let layer: Vec<_> = layout.file_pieces(file).map(|piece| hash::sha256(&piece.get().to_be_bytes())).collect();
        FileHashes { file, root: metainfo::merkle::root_of_piece_layer(&layer, PIECE), layer }
    });
    let hashes = PieceHashes { v1, v2: if version == Version::V1 { Vec::new() } else { v2.collect() } };
    Torrent::parse(&builder.finish(&hashes).unwrap()).unwrap()
}

fn sums(torrent: &Torrent) -> Vec<Option<Sha256Digest>> {
    let layout = torrent.layout();
    layout
        .files()
        .iter()
        .map(|file| (!file.is_pad()).then(|| hash::sha256(file.path().to_string().as_bytes())))
        .collect()
}

fn mirror(base_url: &str, location: Option<&str>, priority: Option<u32>) -> Mirror {
    Mirror { base_url: base_url.into(), location: location.map(str::to_owned), priority }
}

/// An element's name, attributes and text.
type Element = (String, Vec<(String, String)>, String);

/// What an XML parser finds: the elements from the outermost on, their attributes, their text.
fn parsed(text: &str) -> Vec<Element> {
    let mut reader = Reader::from_str(text);
    let (mut open, mut found): (Vec<usize>, Vec<Element>) = (Vec::new(), Vec::new());
    loop {
        let event = reader.read_event().unwrap();
        match &event {
            Event::Start(start) | Event::Empty(start) => {
                let attributes = start.attributes().map(|attribute| {
                    let attribute = attribute.unwrap();
                    let key = attribute.key.as_ref().to_owned();
                    (key, attribute.normalized_value(quick_xml::XmlVersion::Explicit1_0).unwrap().into_owned())
                });
                let name = start.name().as_ref().to_owned();
                found.push((name, attributes.collect(), String::new()));
                if matches!(event, Event::Start(_)) {
                    open.push(found.len() - 1);
                }
            }
            Event::Text(part) => {
                if let Some(at) = open.last() {
                    found[*at].2.push_str(part);
                }
            }
            Event::GeneralRef(part) => {
                let name = part.to_string();
                let c = quick_xml::escape::unescape(&format!("&{name};")).unwrap().into_owned();
                found[*open.last().unwrap()].2.push_str(&c);
            }
            Event::End(_) => drop(open.pop()),
            Event::Eof => break,
            _ => {}
        }
    }
    found
}

fn attribute<'a>(element: &'a Element, key: &str) -> Option<&'a str> {
    element.1.iter().find(|(own, _)| own == key).map(|(_, value)| value.as_str())
}

#[test]
fn a_single_file_has_its_sum_its_pieces_its_torrent_and_its_mirrors() {
    let torrent = torrent("image & co.iso", Version::Hybrid, &[("", 40_000)]);
    let mirrors = [mirror("https://m.example/pub/", Some("DE"), Some(2)), mirror("ftp://f.example/a?b", None, None)];
    let options = MetalinkOptions {
        generator: Some("spillway/1"),
        publisher: Some(Publisher { name: "A <b> & Co", url: Some("https://example.org/?a=1&b=2") }),
        published_s: Some(1_700_000_000),
        torrent_url: Some("http://t.example/releases/image.torrent"),
        mirrors: &mirrors,
    };
    let text = metalink(&torrent, &sums(&torrent), &options).unwrap();
    let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<metalink xmlns="urn:ietf:params:xml:ns:metalink">
 <generator>spillway/1</generator>
 <published>2023-11-14T22:13:20Z</published>
 <file name="image &amp; co.iso">
  <publisher name="A &lt;b&gt; &amp; Co" url="https://example.org/?a=1&amp;b=2"/>
  <size>40000</size>
  <hash type="sha-256">SUM</hash>
  <pieces length="16384" type="sha-1">
   <hash>PIECE0</hash>
   <hash>PIECE1</hash>
   <hash>PIECE2</hash>
  </pieces>
  <metaurl mediatype="torrent" priority="1">http://t.example/releases/image.torrent</metaurl>
  <url location="de" priority="2">https://m.example/pub/image%20%26%20co.iso</url>
  <url>ftp://f.example/a?b/image%20%26%20co.iso</url>
 </file>
</metalink>
"#;
    let mut expected = expected.replace("SUM", &hash::sha256(b"image & co.iso").to_string());
    for piece in 0..3u32 {
        expected = expected.replace(&format!("PIECE{piece}"), &hash::sha1(&piece.to_be_bytes()).to_string());
    }
    assert_eq!(text, expected);
}

#[test]
fn each_file_of_a_folder_says_which_one_of_the_torrent_it_is() {
    let torrent = torrent("rel", Version::Hybrid, &[("a b", 40_000), ("sub/empty", 0), ("sub/z", 32_768)]);
    let mirrors = [mirror("https://m.example", None, Some(1))];
    let options = MetalinkOptions {
        torrent_url: Some("http://t.example/rel.torrent"),
        mirrors: &mirrors,
        ..MetalinkOptions::default()
    };
    let elements = parsed(&metalink(&torrent, &sums(&torrent), &options).unwrap());
    let names: Vec<_> = elements.iter().filter(|e| e.0 == "file").map(|e| attribute(e, "name").unwrap()).collect();
    assert_eq!(names, ["rel/a b", "rel/sub/empty", "rel/sub/z"]);
    let meta: Vec<_> = elements.iter().filter(|e| e.0 == "metaurl").map(|e| attribute(e, "name").unwrap()).collect();
    assert_eq!(meta, names);
    let urls: Vec<_> = elements.iter().filter(|e| e.0 == "url").map(|e| e.2.as_str()).collect();
    assert_eq!(urls, ["https://m.example/rel/a%20b", "https://m.example/rel/sub/empty", "https://m.example/rel/sub/z"]);
    // The last piece of the first file holds a pad too, so its SHA-1 is not one of the file.
    assert_eq!(elements.iter().filter(|e| e.0 == "pieces").count(), 1);
}

#[test]
fn what_a_metalink_cannot_say_is_an_error_and_no_document() {
    let one = torrent("a", Version::V1, &[("", 10)]);
    let none = metalink(&one, &sums(&one), &MetalinkOptions::default()).unwrap_err();
    assert_eq!(none.to_string(), "a Metalink needs a mirror, or a URL of the torrent");
    let with = |mirror: Mirror| {
        let mirrors = [mirror];
        let options = MetalinkOptions { mirrors: &mirrors, ..MetalinkOptions::default() };
        metalink(&one, &sums(&one), &options).map_err(|error| error.to_string())
    };
    assert!(with(mirror("http://m", None, None)).is_ok());
    assert!(with(mirror("http://m", Some("deu"), None)).unwrap_err().contains("http://m: the location"));
    assert!(with(mirror("http://m", None, Some(0))).unwrap_err().contains("http://m: the priority"));
    let odd = torrent("a\u{FFFE}", Version::V1, &[("", 10)]);
    let options = MetalinkOptions { torrent_url: Some("http://t/"), ..MetalinkOptions::default() };
    assert!(matches!(metalink(&odd, &sums(&odd), &options), Err(MetalinkError::UnsafeName { .. })));
    assert!(matches!(metalink(&one, &[], &options), Err(MetalinkError::WrongSums)));
    assert!(matches!(metalink(&one, &[None], &options), Err(MetalinkError::WrongSums)));
}

proptest! {
    #[test]
    fn hostile_names_come_out_of_a_parser_as_they_went_in(names in prop::collection::btree_set(r"[ -.0-\[\]-~äß\u{2028}🦀]{1,20}", 1..6)) {
        // What a torrent cannot hold never comes here (`metainfo` neutralises it).
        let is_fit = |name: &&String| !name.trim_matches('.').is_empty() && name.trim() == name.as_str();
        let files: Vec<(&str, u64)> = names.iter().filter(is_fit).map(|name| (name.as_str(), 5)).collect();
        prop_assume!(!files.is_empty());
        let torrent = torrent("\"<&'>", Version::V1, &files);
        let options = MetalinkOptions { torrent_url: Some("http://t.example/?<>&\"'"), ..MetalinkOptions::default() };
        let elements = parsed(&metalink(&torrent, &sums(&torrent), &options).unwrap());
        let found: Vec<_> = elements.iter().filter(|e| e.0 == "file").map(|e| attribute(e, "name").unwrap().to_owned()).collect();
        let expected: Vec<_> = torrent.layout().files().iter().map(|file| format!("\"<&'>/{}", file.path())).collect();
        prop_assert_eq!(found, expected);
        prop_assert!(elements.iter().filter(|e| e.0 == "metaurl").all(|e| e.2 == "http://t.example/?<>&\"'"));
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_a_url(name in "\\PC{1,20}") {
        let url = url_below("https://m.example/base/", [name.as_str()]);
        let rest = url.strip_prefix("https://m.example/base/").unwrap();
        prop_assert!(rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)), "{}", url);
    }
}
