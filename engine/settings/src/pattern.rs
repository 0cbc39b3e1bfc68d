//! What picks paths and titles: globs and regular expressions, checked when they are read.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};
use regex::{Regex, RegexBuilder};

/// A glob over a path's text below a root: `*` and `?` stay within one name, `**` goes over any number of folders,
/// `[a-z]` and `{iso,img}` are choices.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob(globset::Glob);

/// A regular expression that is looked for in a title, whatever the letters' case.
#[derive(Clone)]
pub struct TitlePattern(Regex);

/// The longest pattern that is read.
const MAX_PATTERN_BYTES: usize = 4096;

/// What a compiled expression may take; a feed's titles are matched against it.
const MAX_COMPILED_BYTES: usize = 1 << 20;

impl Glob {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.glob()
    }

    /// What matches paths with it.
    pub fn matcher(&self) -> GlobMatcher {
        self.0.compile_matcher()
    }
}

impl TitlePattern {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it is found in the title.
    pub fn is_in(&self, title: &str) -> bool {
        self.0.is_match(title)
    }
}

impl FromStr for Glob {
    type Err = String;

    fn from_str(text: &str) -> Result<Glob, String> {
        bounded(text)?;
        if text.starts_with('/') || text.ends_with('/') {
            return Err(format!("{text:?} begins or ends with a slash; globs name what is below their root"));
        }
        let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
        glob.map(Glob).map_err(|error| format!("{text:?} is no glob: {}", error.kind()))
    }
}

impl FromStr for TitlePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<TitlePattern, String> {
        bounded(text)?;
        let built = RegexBuilder::new(text).case_insensitive(true).size_limit(MAX_COMPILED_BYTES).build();
        built.map(TitlePattern).map_err(|error| {
            // The crate draws a picture over several lines; the last says what is wrong.
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
            format!("{text:?} is no regular expression: {reason}")
        })
    }
}

fn bounded(text: &str) -> Result<(), String> {
    match text.len() {
        0 => Err("a pattern is not empty".to_owned()),
        length if length > MAX_PATTERN_BYTES => Err(format!("a pattern has at most {MAX_PATTERN_BYTES} bytes")),
        _ => Ok(()),
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Display for TitlePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TitlePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl PartialEq for TitlePattern {
    fn eq(&self, other: &TitlePattern) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for TitlePattern {}

text_form!(Glob, TitlePattern);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_one_name() {
        let glob: Glob = "*.iso".parse().unwrap();
        assert!(glob.matcher().is_match("a.iso"));
        assert!(!glob.matcher().is_match("folder/a.iso"));
        let deep: Glob = "**/*.{iso,img}".parse().unwrap();
        assert!(deep.matcher().is_match("a.iso") && deep.matcher().is_match("x/y/a.img"));
    }

    #[test]
    fn a_slip_in_a_pattern_is_one_line() {
        let glob = "a[".parse::<Glob>().unwrap_err();
        let title = "a(".parse::<TitlePattern>().unwrap_err();
        for problem in [glob, title] {
            assert!(problem.contains(" is no ") && !problem.contains('\n'), "{problem}");
        }
        assert!("/srv/*".parse::<Glob>().is_err());
        assert!("debian-*/".parse::<Glob>().is_err());
        assert!("".parse::<Glob>().is_err());
    }

    #[test]
    fn an_expression_that_would_take_all_memory_is_refused() {
        assert!("(((a{1000}){1000}){1000})".parse::<TitlePattern>().is_err());
    }

    #[test]
    fn titles_are_searched_whatever_the_case() {
        let title: TitlePattern = r"debian-\d+.*amd64".parse().unwrap();
        assert!(title.is_in("Debian-13.2.0-amd64-netinst.iso"));
        assert!(!title.is_in("debian-edu"));
    }
}
