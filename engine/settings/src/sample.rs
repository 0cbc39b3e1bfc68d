//! The sample file: every key at its default, commented out, with what its type's doc comment says.

use std::fmt::Write;

use toml::Value;

use crate::schema::{self, Kind, Section};
use crate::secret::HIDDEN;

/// Where a line of the sample ends.
const WIDTH: usize = 100;

/// What the sample has in place of a secret.
const SECRET_EXAMPLE: &str = "a-long-random-word";

const HEAD: &str = "\
# The settings of `spillway serve`.
#
# Each key is shown at its default and commented out: take the # away to change it. Where a key is not set by
# default, an example is shown. `spillway config check` says what is wrong; `systemctl reload spillway` applies
# what can change live and says what cannot.
#
# Sizes are written as 65536, \"64KiB\" or \"1.5GB\"; rates, in bytes a second, as \"100MB\", \"1Gbit\" or
# \"unlimited\"; spans of time as \"90s\", \"6h\" or \"7d\". Paths are absolute.
#
# A variable of the environment replaces a key: SPILLWAY_PEERS__SLOTS=500, SPILLWAY_PUBLISH__0__ROOT=/srv/releases.
";

/// The sample of the settings file. It parses, and is the same as an empty file.
pub fn sample() -> String {
    let mut text = HEAD.to_owned();
    for section in schema::sections().iter().filter(|section| !section.path.is_empty()) {
        write_section(&mut text, section);
    }
    text
}

fn write_section(text: &mut String, section: &Section) {
    text.push('\n');
    write_comment(text, section.about);
    // A list or a table by name that is not commented out would be one.
    let optional = section.path.contains(['[', '*']);
    let mark = if optional { "#" } else { "" };
    let _ = writeln!(text, "{mark}{}", section.header());
    for (key, doc) in section.keys.iter().zip(section.docs) {
        if schema::kind(section.path, key).0 != Kind::Value {
            continue;
        }
        let (Some(value), is_default) = shown(section, key) else { continue };
        text.push('\n');
        write_comment(text, doc);
        let note = if is_default { "" } else { "  # an example" };
        let _ = writeln!(text, "#{key} = {value}{note}");
    }
}

/// The default, or an example where that is nothing; and whether it is the default.
fn shown(section: &Section, key: &str) -> (Option<Value>, bool) {
    let says_something = |value: &&Value| match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    let (default, example) = (section.defaults.get(key), section.examples.get(key));
    let (value, is_default) = match example.filter(|_| default.filter(says_something).is_none()) {
        Some(example) => (Some(example), Some(example) == default),
        None => (default, true),
    };
    (value.map(without_hidden), is_default)
}

fn without_hidden(value: &Value) -> Value {
    match value {
        Value::String(text) if text == HIDDEN => Value::String(SECRET_EXAMPLE.to_owned()),
        value => value.clone(),
    }
}

/// Wraps at a width, with `# ` in front of each line.
fn write_comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    /// Takes the marks off all lines that hold a key or begin a section.
    fn uncommented() -> String {
        let is_setting = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line != "#";
        sample()
            .lines()
            .map(|line| if is_setting(line) { &line[1..] } else { line })
            .fold(String::new(), |text, line| text + line + "\n")
    }

    #[test]
    fn the_sample_is_the_same_as_an_empty_file() {
        assert_eq!(Settings::read("sample", &sample(), []).unwrap(), Settings::default());
    }

    #[test]
    fn the_sample_parses_with_every_key_set() {
        let settings = Settings::read("sample", &uncommented(), []).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((settings.publish.len(), settings.feed.len()), (1, 1));
        assert_eq!((settings.subscribe.len(), settings.webhook.len()), (1, 1));
        assert_eq!(settings.publish[0].early_key.as_ref().unwrap().expose(), SECRET_EXAMPLE);
    }

    #[test]
    fn every_key_is_in_the_sample() {
        let sample = sample();
        for section in schema::sections().iter().filter(|section| !section.path.is_empty()) {
            for key in section.keys {
                let there = match schema::kind(section.path, key) {
                    (Kind::Value, _) => sample.contains(&format!("\n#{key} = ")),
                    (_, below) => sample.contains(&schema::section(&below).unwrap().header()),
                };
                assert!(there, "{}.{key}", section.path);
            }
        }
    }

    #[test]
    fn lines_of_the_sample_fit_a_screen() {
        for line in sample().lines() {
            assert!(line.len() <= 120, "{line}");
            assert_eq!(line, line.trim_end());
        }
    }
}
