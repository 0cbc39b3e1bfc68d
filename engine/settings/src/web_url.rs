//! URLs of the web that may carry a password or a token: shown without it.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// An `http` or `https` URL. Its password and its query are not shown, since tokens are kept there.
#[derive(Clone, PartialEq, Eq)]
pub struct WebUrl(Url);

/// The longest URL that is read.
const MAX_URL_BYTES: usize = 4096;

impl WebUrl {
    /// All of it.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// All of it, as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for WebUrl {
    type Err = String;

    /// The text is not repeated in errors, since it may hold a password.
    fn from_str(text: &str) -> Result<WebUrl, String> {
        if text.len() > MAX_URL_BYTES {
            return Err(format!("a URL has at most {MAX_URL_BYTES} bytes"));
        }
        let url = Url::parse(text).map_err(|error| format!("no URL: {error}; one begins with http:// or https://"))?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(WebUrl(url)),
            scheme => Err(format!("a URL that begins with http:// or https:// belongs here, not {scheme}:")),
        }
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        let secret = shown.password().is_some() || !shown.username().is_empty();
        if secret {
            // Both succeed on a URL that has a host.
            let _ = shown.set_password(None);
            let _ = shown.set_username("");
        }
        let query = shown.query().is_some();
        shown.set_query(None);
        write!(f, "{shown}{}", if query { "?…" } else { "" })
    }
}

impl fmt::Debug for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

text_form!(WebUrl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_queries_are_not_shown() {
        let url: WebUrl = "https://user:hush@example.org/feed?token=hush".parse().unwrap();
        assert_eq!(url.to_string(), "https://example.org/feed?…");
        assert!(!format!("{url:?}").contains("hush"));
        assert!(url.as_str().contains("hush"));
    }

    #[test]
    fn only_the_web_is_taken() {
        for text in ["", "example.org", "/feed", "ftp://example.org/", "file:///etc/passwd", "http://", "javascript:x"]
        {
            let problem = text.parse::<WebUrl>().unwrap_err();
            assert!(!problem.contains('\n'), "{problem}");
        }
    }
}
