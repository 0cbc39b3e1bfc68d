//! Words that must not be seen: neither `Debug` nor a message nor the settings as they are shown has them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A word that only [`Secret::expose`] shows.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// What is shown instead.
pub(crate) const HIDDEN: &str = "(hidden)";

impl Secret {
    /// Takes a word into keeping.
    pub fn new(word: impl Into<String>) -> Secret {
        Secret(word.into())
    }

    /// The word itself, for whoever signs or compares with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown_by_accident() {
        let secret = Secret::new("hush");
        assert_eq!(format!("{secret:?}"), "(hidden)");
        assert!(!toml::Value::try_from(&secret).unwrap().to_string().contains("hush"));
        assert_eq!(secret.expose(), "hush");
    }
}
