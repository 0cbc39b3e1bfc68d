//! From a web seed's URL and a torrent's layout to the URL of each file (BEP 19), and from a redirect to where it leads.

use std::fmt;

use metainfo::limits::MAX_URL_BYTES;
use metainfo::{FileIndex, FileLayout};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

/// Everything but the unreserved characters of RFC 3986: what stands for itself in any part of a URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The longest target of a redirect that is followed; signed links of object stores take some hundreds.
const MAX_TARGET_BYTES: usize = 8192;

/// Why a URL is no web seed. The torrent's fault.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UrlError {
    /// Neither HTTP nor HTTPS.
    #[error("web seeds over {0} are not supported")]
    Scheme(String),
    /// Relative, without a host, too long, or no URL at all.
    #[error("not an absolute URL")]
    NotAbsolute,
}

/// The URLs of a torrent's files on one server.
pub(super) struct FileUrls {
    /// Without a fragment.
    base: String,
    /// Whether a file's path is put behind it.
    is_folder: bool,
}

impl FileUrls {
    /// Reads a web seed's URL. That of a folder of files may lack its last slash.
    pub(super) fn new(text: &str, is_single_file: bool) -> Result<FileUrls, UrlError> {
        let mut url = Url::parse(text.trim()).map_err(|_| UrlError::NotAbsolute)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlError::Scheme(url.scheme().to_owned()));
        }
        url.set_fragment(None);
        let mut base = String::from(url);
        if base.len() > MAX_URL_BYTES {
            return Err(UrlError::NotAbsolute);
        }
        if !is_single_file && !base.ends_with('/') {
            base.push('/');
        }
        Ok(FileUrls { is_folder: base.ends_with('/'), base })
    }

    /// The server's name.
    pub(super) fn host(&self) -> String {
        Url::parse(&self.base).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The server's port.
    pub(super) fn port(&self) -> u16 {
        Url::parse(&self.base).ok().and_then(|url| url.port_or_known_default()).unwrap_or_default()
    }

    /// What all of the URLs begin with, secrets included.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Where the file is: at the URL itself, or below it where a copy of the torrent on a disk would have it.
    pub(super) fn of(&self, layout: &FileLayout, file: FileIndex) -> Result<Url, UrlError> {
        let mut text = self.base.clone();
        if self.is_folder {
            for (depth, component) in layout.disk_path(file).iter().enumerate() {
                if depth > 0 {
                    text.push('/');
                }
                text.extend(utf8_percent_encode(&component.to_string_lossy(), ESCAPED));
            }
        }
        Url::parse(&text).map_err(|_| UrlError::NotAbsolute)
    }
}

impl fmt::Display for FileUrls {
    /// The URL without what may be secret in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_secrets(&self.base))
    }
}

/// A URL without what may be secret in it: user, password, query and fragment. What is no URL shows as it is.
pub(super) fn without_secrets(text: &str) -> String {
    let Ok(url) = Url::parse(text) else { return text.to_owned() };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let query = if url.query().is_some() { "?..." } else { "" };
    format!("{}://{}{port}{}{query}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// Where a redirect leads, or why nobody goes there.
pub(crate) fn redirect_target(from: &Url, location: &str) -> Result<Url, &'static str> {
    let mut to = from.join(location).map_err(|_| "a redirect to what is no URL")?;
    if !matches!(to.scheme(), "http" | "https") || to.as_str().len() > MAX_TARGET_BYTES {
        return Err("a redirect to what is no HTTP URL");
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        return Err("a redirect from HTTPS to HTTP");
    }
    to.set_fragment(None);
    // The user's name and password are for the server that they were given for. A URL of these schemes can hold them, so
    // setting them does not fail.
    let (user, password) = match from.origin() == to.origin() {
        true => (from.username(), from.password()),
        false => ("", None),
    };
    let _ = to.set_username(user);
    let _ = to.set_password(password);
    Ok(to)
}

#[cfg(test)]
mod tests {
    use metainfo::{Builder, CreateOptions, NewFile, Version};

    use super::*;

    fn layout(name: &str, paths: &[&[&str]]) -> FileLayout {
        let options = CreateOptions {
            name: name.to_owned(),
            version: Version::V1,
            piece_length: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            is_private: false,
            comment: None,
            source: None,
            created_by: None,
            creation_date: None,
        };
        let file = |path: &&[&str]| NewFile {
            components: path.iter().map(|&name| name.to_owned()).collect(),
            length: 1,
            ..NewFile::default()
        };
        Builder::new(options, paths.iter().map(file).collect()).unwrap().layout().clone()
    }

    fn urls(text: &str, layout: &FileLayout) -> Vec<String> {
        let urls = FileUrls::new(text, layout.is_single_file()).unwrap();
        layout.file_indices().map(|file| urls.of(layout, file).unwrap().into()).collect()
    }

    #[test]
    fn a_single_file_is_the_url_itself_or_below_a_slash() {
        let layout = layout("a b.iso", &[&[]]);
        assert_eq!(urls("http://x/pub/other.iso", &layout), ["http://x/pub/other.iso"]);
        assert_eq!(urls("http://x/pub/", &layout), ["http://x/pub/a%20b.iso"]);
        assert_eq!(urls("http://x", &layout), ["http://x/a%20b.iso"]);
        assert_eq!(urls("https://x:8443/get?f=1#top", &layout), ["https://x:8443/get?f=1"]);
        assert_eq!(urls("http://x/get?dir=/", &layout), ["http://x/get?dir=/a%20b.iso"]);
    }

    #[test]
    fn files_of_a_folder_are_below_the_url_and_the_name_with_or_without_a_slash() {
        let layout = layout("rel#1", &[&["a?b", "100%.txt"], &["é+&.bin"], &["~x_y-z."]]);
        let expected = [
            "http://x/pub/rel%231/a%3Fb/100%25.txt",
            "http://x/pub/rel%231/~x_y-z.",
            "http://x/pub/rel%231/%C3%A9%2B%26.bin",
        ];
        assert_eq!(urls("http://x/pub", &layout), expected);
        assert_eq!(urls(" http://x/pub/ ", &layout), expected);
    }

    #[test]
    fn what_is_relative_or_of_another_scheme_is_refused() {
        let error = |text: &str| FileUrls::new(text, true).err();
        for text in ["", "pub/x.iso", "/pub/x.iso", "//x/y", "http://", "http:///", "http://[::1", "http://a b/"] {
            assert!(error(text).is_some() && FileUrls::new(text, false).is_err(), "{text}");
        }
        assert_eq!(error("ftp://x/y"), Some(UrlError::Scheme("ftp".into())));
        assert_eq!(error("file:///etc/passwd"), Some(UrlError::Scheme("file".into())));
        assert_eq!(error(&format!("http://x/{}", "y".repeat(MAX_URL_BYTES))), Some(UrlError::NotAbsolute));
    }

    #[test]
    fn a_password_is_not_shown() {
        let shown = |text: &str| FileUrls::new(text, true).unwrap().to_string();
        assert_eq!(shown("http://me:secret@x:81/pub/a?token=secret"), "http://x:81/pub/a?...");
        assert_eq!(shown("https://[2606:4700::1]/a"), "https://[2606:4700::1]/a");
    }

    #[test]
    fn a_redirect_carries_no_password_elsewhere_and_no_secret_over_plain_http() {
        let from = Url::parse("https://me:secret@x/a/b").unwrap();
        let to = |location: &str| redirect_target(&from, location).map(String::from);
        assert_eq!(to("c"), Ok("https://me:secret@x/a/c".into()));
        assert_eq!(to("https://x/c"), Ok("https://me:secret@x/c".into()));
        assert_eq!(to("https://y/c#d"), Ok("https://y/c".into()));
        assert_eq!(to("//eve:pw@y/c"), Ok("https://y/c".into()));
        assert_eq!(to("https://x:444/c"), Ok("https://x:444/c".into()));
        for wrong in ["http://x/c", "ftp://x/c", "file:///etc/passwd", "https://", "data:,x"] {
            assert!(to(wrong).is_err(), "{wrong}");
        }
        assert!(to(&"x".repeat(MAX_TARGET_BYTES)).is_err());
    }
}
