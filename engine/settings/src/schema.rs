//! Which keys there are, where they belong and what is said of them: taken from the sections' types. The sample, the check for
//! unknown keys and the overrides go by it.

use std::sync::LazyLock;

use documented::{Documented, DocumentedFields};
use serde::Serialize;
use toml::Table;

use crate::sections::{self, Settings};

/// One section of the file.
pub(crate) struct Section {
    /// Where it is: `peers`, `limits.groups.*` (a table by name), `publish[]` (a list); empty for the file itself.
    pub(crate) path: &'static str,
    /// What is said of it.
    pub(crate) about: &'static str,
    /// Its keys, in the order of the sample.
    pub(crate) keys: &'static [&'static str],
    /// What is said of each.
    pub(crate) docs: &'static [&'static str],
    /// What holds if nothing is said; keys that are unset are left out.
    pub(crate) defaults: Table,
    /// What the sample shows of keys that are unset, empty or required.
    pub(crate) examples: Table,
}

/// What a key of a section leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A value.
    Value,
    /// A section of its own.
    Section,
    /// A list of sections.
    List,
    /// Sections by name.
    Named,
    /// There is no such key.
    Unknown,
}

/// All sections, in the order of the sample.
pub(crate) fn sections() -> &'static [Section] {
    static SECTIONS: LazyLock<Vec<Section>> = LazyLock::new(all);
    &SECTIONS
}

/// The section at a path as [`Section::path`] has it.
pub(crate) fn section(path: &str) -> Option<&'static Section> {
    sections().iter().find(|section| section.path == path)
}

/// What `key` in the section at `path` is, and the path that it leads to.
pub(crate) fn kind(path: &str, key: &str) -> (Kind, String) {
    let known = section(path).is_some_and(|section| section.keys.contains(&key));
    let below = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    if !known {
        return (Kind::Unknown, below);
    }
    let candidates = [(Kind::Section, ""), (Kind::List, "[]"), (Kind::Named, ".*")];
    let found = candidates.iter().map(|(kind, mark)| (*kind, format!("{below}{mark}")));
    found.into_iter().find(|(_, path)| section(path).is_some()).unwrap_or((Kind::Value, below))
}

/// What to say of a key that is not there: which one was meant, or where it belongs.
pub(crate) fn unknown(path: &str, key: &str) -> String {
    let keys = section(path).map_or(&[][..], |section| section.keys);
    let near = |known: &&&str| strsim::damerau_levenshtein(&key.to_lowercase(), known);
    let nearest = keys.iter().min_by_key(near).filter(|known| near(known) <= (known.len() / 3).max(2));
    if let Some(nearest) = nearest {
        return format!("there is no such key; did you mean `{nearest}`?");
    }
    match sections().iter().find(|section| section.path != path && section.keys.contains(&key)) {
        Some(home) => format!("there is no such key here; it belongs to {}", home.header()),
        None => format!("there is no such key; there are {}", keys.join(", ")),
    }
}

impl Section {
    /// The line that begins it.
    pub(crate) fn header(&self) -> String {
        match self.path.strip_suffix("[]") {
            Some(list) => format!("[[{list}]]"),
            None if self.path.is_empty() => "the file itself".to_owned(),
            None => format!("[{}]", self.path.replace('*', "releases")),
        }
    }

    fn of<T>(path: &'static str, defaults: &T, examples: &T) -> Section
    where
        T: Documented + DocumentedFields + Serialize,
    {
        // A type whose values TOML cannot hold would show as keys without values, which a test looks for.
        let table = |value: &T| Table::try_from(value).unwrap_or_default();
        let (defaults, examples) = (table(defaults), table(examples));
        Section { path, about: T::DOCS, keys: T::FIELD_NAMES, docs: T::FIELD_DOCS, defaults, examples }
    }

    fn with_example<T>(path: &'static str, example: &T) -> Section
    where
        T: Default + Documented + DocumentedFields + Serialize,
    {
        Section::of(path, &T::default(), example)
    }
}

fn all() -> Vec<Section> {
    use sections::example;
    let mut sections = vec![
        Section::with_example("", &Settings::default()),
        Section::with_example("peers", &example::peers()),
        Section::with_example("engine", &example::engine()),
        Section::with_example("limits", &sections::Limits::default()),
        Section::with_example("limits.groups.*", &example::group()),
        Section::with_example("limits.devices[]", &example::device()),
        Section::with_example("limits.schedule[]", &example::schedule()),
        Section::with_example("torrents", &example::torrents()),
        Section::with_example("tracker", &example::tracker()),
        Section::with_example("tracker.client", &sections::TrackerClient::default()),
        Section::with_example("http", &example::http()),
        Section::with_example("http.tls", &example::tls()),
        Section::with_example("control", &example::control()),
        Section::with_example("log", &sections::Log::default()),
        Section::with_example("publish[]", &example::publish()),
        Section::with_example("feed[]", &example::feed()),
    ];
    if let (Some(plain), Some(example)) = (example::plain_subscribe(), example::subscribe()) {
        sections.push(Section::of("subscribe[]", &plain, &example));
    }
    if let (Some(plain), Some(example)) = (example::plain_webhook(), example::webhook()) {
        sections.push(Section::of("webhook[]", &plain, &example));
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_word_said_of_it_and_a_value_to_show() {
        assert_eq!(sections().len(), 18);
        for section in sections() {
            assert!(!section.about.is_empty());
            assert_eq!(section.keys.len(), section.docs.len());
            for (key, doc) in section.keys.iter().zip(section.docs) {
                assert!(doc.ends_with('.') || doc.ends_with(':'), "{}.{key}: {doc:?} is no sentence", section.path);
                let shown = section.defaults.contains_key(*key) || section.examples.contains_key(*key);
                assert!(shown, "{}.{key} has no value to show", section.path);
            }
        }
    }

    #[test]
    fn sections_lists_and_tables_by_name_are_told_apart() {
        assert_eq!(kind("", "peers"), (Kind::Section, "peers".to_owned()));
        assert_eq!(kind("", "publish"), (Kind::List, "publish[]".to_owned()));
        assert_eq!(kind("limits", "groups"), (Kind::Named, "limits.groups.*".to_owned()));
        assert_eq!(kind("peers", "listen"), (Kind::Value, "peers.listen".to_owned()));
        assert_eq!(kind("peers", "lisen").0, Kind::Unknown);
    }

    #[test]
    fn an_unknown_key_names_the_one_that_was_meant() {
        assert!(unknown("peers", "lisen").contains("`listen`"));
        assert!(unknown("", "peer").contains("`peers`"));
        assert!(unknown("peers", "turn_delay_us").contains("[engine]"));
        assert!(unknown("log", "quite-something-else").contains("filter, format"));
    }
}
