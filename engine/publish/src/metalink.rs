//! Metalink 4 (RFC 5854): the files of a release with their sums, the mirrors that have them and the torrent, for download programs.
//! Pure; the document is a text.

use std::io;

use hash::{Sha1Digest, Sha256Digest};
use metainfo::{Extent, FileIndex, Torrent};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

/// The namespace of Metalink 4.
const NAMESPACE: &str = "urn:ietf:params:xml:ns:metalink";

/// Swarms are tried before mirrors: that is what they are for.
const TORRENT_PRIORITY: u32 = 1;

/// The least urgent priority (RFC 5854, 4.2.16.2); mirrors without one come last.
pub const MAX_PRIORITY: u32 = 999_999;

/// The unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a document says beside the torrent itself.
#[derive(Clone, Debug, Default)]
pub struct MetalinkOptions<'a> {
    /// The program that writes it.
    pub generator: Option<&'a str>,
    /// Who publishes.
    pub publisher: Option<Publisher<'a>>,
    /// Seconds since 1970.
    pub published_s: Option<i64>,
    /// Where the torrent file can be had.
    pub torrent_url: Option<&'a str>,
    /// Web servers that have the release: the torrent's name and the paths of its files are appended to their URLs.
    pub mirrors: &'a [Mirror],
}

/// Who publishes.
#[derive(Clone, Copy, Debug)]
pub struct Publisher<'a> {
    /// A name for people.
    pub name: &'a str,
    /// A page.
    pub url: Option<&'a str>,
}

/// A web server that has the release.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mirror {
    /// The URL of the folder that holds it.
    pub base_url: String,
    /// Its country, two letters (ISO 3166-1).
    pub location: Option<String>,
    /// 1 is tried first, [`MAX_PRIORITY`] last.
    pub priority: Option<u32>,
}

/// Why there is no Metalink. The fault is the operator's, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum MetalinkError {
    /// RFC 5854, 4.1.2: each file has a place to be had from.
    #[error("a Metalink needs a mirror, or a URL of the torrent")]
    NoSource,
    /// XML cannot hold a character of the name.
    #[error("{path}: XML, and so a Metalink, cannot hold this name")]
    UnsafeName {
        /// The file's path in the torrent.
        path: String,
    },
    /// A country that is none, or a priority out of range.
    #[error("mirror {base_url}: {reason}")]
    Mirror {
        /// The mirror.
        base_url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is not one sum for every file. A fault of the program.
    #[error("internal fault: the sums do not fit the files")]
    WrongSums,
    /// The document could not be put together. A fault of the program.
    #[error("internal fault: {0}")]
    Write(#[from] io::Error),
}

/// The document of a torrent's files. `sha256` has the SHA-256 of each file by its index; `None` for pads and links.
pub fn metalink(
    torrent: &Torrent,
    sha256: &[Option<Sha256Digest>],
    options: &MetalinkOptions<'_>,
) -> Result<String, MetalinkError> {
    if options.mirrors.is_empty() && options.torrent_url.is_none() {
        return Err(MetalinkError::NoSource);
    }
    options.mirrors.iter().try_for_each(check)?;
    let layout = torrent.layout();
    let is_file = |file: &FileIndex| {
        let entry = layout.file(*file);
        !entry.is_pad() && entry.symlink_target().is_none()
    };
    if sha256.len() != layout.files().len() {
        return Err(MetalinkError::WrongSums);
    }
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 1);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let mut failed = None;
    writer.create_element("metalink").with_attribute(("xmlns", NAMESPACE)).write_inner_content(|writer| {
        write_head(writer, options)?;
        for file in layout.file_indices().filter(is_file) {
            if let Err(error) = write_file(writer, torrent, file, sha256[file.get() as usize], options) {
                failed = Some(error);
                break;
            }
        }
        Ok(())
    })?;
    match failed {
        Some(error) => Err(error),
        None => {
            let mut text = String::from_utf8(writer.into_inner()).map_err(io::Error::other)?;
            text.push('\n');
            Ok(text)
        }
    }
}

/// A path below a URL, each of its names encoded.
pub fn url_below<'a>(base_url: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let mut url = base_url.trim_end_matches('/').to_owned();
    for name in names {
        url.push('/');
        url.extend(utf8_percent_encode(name, ENCODED));
    }
    url
}

/// The names from the folder that holds a torrent's content down to one of its files.
pub fn names_of(torrent: &Torrent, file: FileIndex) -> Vec<&str> {
    let layout = torrent.layout();
    let path = layout.file(file).path().components();
    if layout.is_single_file() { path.collect() } else { std::iter::once(layout.name()).chain(path).collect() }
}

fn check(mirror: &Mirror) -> Result<(), MetalinkError> {
    let wrong = |reason| MetalinkError::Mirror { base_url: mirror.base_url.clone(), reason };
    let is_country =
        |country: &String| country.len() == 2 && country.bytes().all(|letter| letter.is_ascii_alphabetic());
    if !mirror.location.as_ref().is_none_or(is_country) {
        return Err(wrong("the location is not a country of two letters"));
    }
    if !mirror.priority.is_none_or(|priority| (1..=MAX_PRIORITY).contains(&priority)) {
        return Err(wrong("the priority is not from 1 to 999999"));
    }
    Ok(())
}

fn write_head(writer: &mut Writer<Vec<u8>>, options: &MetalinkOptions<'_>) -> io::Result<()> {
    if let Some(generator) = options.generator {
        writer.create_element("generator").write_text_content(BytesText::new(&legal(generator)))?;
    }
    let published = options.published_s.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    if let Some(published) = published {
        writer.create_element("published").write_text_content(BytesText::new(&published.to_string()))?;
    }
    Ok(())
}

fn write_file(
    writer: &mut Writer<Vec<u8>>,
    torrent: &Torrent,
    file: FileIndex,
    sha256: Option<Sha256Digest>,
    options: &MetalinkOptions<'_>,
) -> Result<(), MetalinkError> {
    let sha256 = sha256.ok_or(MetalinkError::WrongSums)?;
    let names = names_of(torrent, file);
    let path = names.join("/");
    // Names of a torrent are single components and neither `.` nor `..`, so that the path cannot leave its folder.
    if !path.chars().all(is_legal) {
        return Err(MetalinkError::UnsafeName { path });
    }
    let size = torrent.layout().file(file).length().to_string();
    writer.create_element("file").with_attribute(("name", path.as_str())).write_inner_content(|writer| {
        if let Some(publisher) = &options.publisher {
            let element = writer.create_element("publisher").with_attribute(("name", &*legal(publisher.name)));
            element.with_attributes(publisher.url.map(|url| ("url", url))).write_empty()?;
        }
        writer.create_element("size").write_text_content(BytesText::new(&size))?;
        let digest = sha256.to_string();
        writer
            .create_element("hash")
            .with_attribute(("type", "sha-256"))
            .write_text_content(BytesText::new(&digest))?;
        write_pieces(writer, torrent, file)?;
        if let Some(url) = options.torrent_url {
            let priority = TORRENT_PRIORITY.to_string();
            let element = writer.create_element("metaurl").with_attribute(("mediatype", "torrent"));
            let element = element.with_attribute(("priority", priority.as_str()));
            // Of a torrent of several files it says which one is meant.
            let inner = (!torrent.layout().is_single_file()).then_some(("name", path.as_str()));
            element.with_attributes(inner).write_text_content(BytesText::new(&legal(url)))?;
        }
        for mirror in options.mirrors {
            let priority = mirror.priority.map(|priority| priority.to_string());
            let location = mirror.location.as_ref().map(|location| location.to_ascii_lowercase());
            let element = writer.create_element("url");
            let element = element.with_attributes(location.as_deref().map(|location| ("location", location)));
            let element = element.with_attributes(priority.as_deref().map(|priority| ("priority", priority)));
            let url = url_below(&mirror.base_url, names.iter().copied());
            element.write_text_content(BytesText::new(&legal(&url)))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// The SHA-1 of the file's pieces, with which a program finds out what of a download is broken; if they are the file's alone.
fn write_pieces(writer: &mut Writer<Vec<u8>>, torrent: &Torrent, file: FileIndex) -> io::Result<()> {
    let Some(pieces) = own_pieces(torrent, file).filter(|pieces| pieces.len() > 1) else { return Ok(()) };
    let length = torrent.layout().piece_length().to_string();
    let element = writer.create_element("pieces").with_attribute(("length", length.as_str()));
    element.with_attribute(("type", "sha-1")).write_inner_content(|writer| {
        for piece in &pieces {
            writer.create_element("hash").write_text_content(BytesText::new(&piece.to_string()))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// The SHA-1 of each piece of the file, unless one holds anything else: another file, or the pad behind this one.
fn own_pieces(torrent: &Torrent, file: FileIndex) -> Option<Vec<Sha1Digest>> {
    let layout = torrent.layout();
    let pieces = layout.file_pieces(file).map(|piece| {
        let whole = layout.whole_piece(piece);
        let is_own = |extent| matches!(extent, Extent::File { file: of, .. } if of == file);
        if layout.extents(whole).all(is_own) { torrent.piece_hash_v1(piece) } else { None }
    });
    let pieces: Vec<Sha1Digest> = pieces.collect::<Option<_>>()?;
    let is_at_border = layout.file(file).offset().is_multiple_of(u64::from(layout.piece_length()));
    is_at_border.then_some(pieces)
}

/// What XML 1.0 can say, escaped or not (section 2.2).
fn is_legal(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\u{20}'..='\u{FFFD}' | '\u{10000}'..)
}

/// A text for people, with what XML cannot say replaced.
fn legal(text: &str) -> String {
    text.chars().map(|c| if is_legal(c) { c } else { '\u{FFFD}' }).collect()
}

#[cfg(test)]
mod tests;
