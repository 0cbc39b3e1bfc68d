//! From text to settings: parses the file, finds unknown keys, lays the environment's overrides over it, and says of whatever
//! is wrong in which line it is written.

use std::fmt;

use serde_path_to_error::Segment;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use crate::error::{Problem, SettingsError, Whereabouts};
use crate::overrides::Overrides;
use crate::schema::{self, Kind};
use crate::sections::Settings;

/// The longest file that is read.
pub const MAX_FILE_BYTES: usize = 1 << 20;

impl Settings {
    /// Reads the text of the file called `name` and lays over it what `environment` has for us: a variable
    /// `SPILLWAY_SECTION__KEY` replaces the value of that key.
    ///
    /// # Errors
    /// All unknown keys with the ones that were meant, or else all values that cannot be; each with its line.
    pub fn read(
        name: &str,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Settings, SettingsError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let document = Document::parse(name, text)?;
        let mut problems = document.unknown_keys();
        let mut table = document.values.clone();
        let mut overrides = Overrides::lay_over(&mut table, environment, &mut problems);
        refuse(problems)?;
        let settings = match from_table(&table) {
            Err(first) if overrides.read_as_text(&first.at, &mut table) => from_table(&table),
            result => result,
        };
        let settings = settings.map_err(|wrong| one(document.place(&overrides, wrong)))?;
        let found = settings.findings();
        refuse(found.into_iter().map(|wrong| document.place(&overrides, wrong)).collect())?;
        Ok(settings)
    }

    /// The settings as a file would say them, all keys, without secrets.
    pub fn to_toml(&self) -> String {
        // A value that TOML cannot hold is a slip in a type here, which a test would show.
        toml::to_string(self).unwrap_or_default()
    }
}

/// Something wrong, before it is known where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The key.
    pub(crate) at: KeyPath,
    /// What is wrong.
    pub(crate) what: String,
}

/// The way to a key: `publish[0].root`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct KeyPath(pub(crate) Vec<Step>);

/// One step of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// Into a table.
    Name(String),
    /// Into a list.
    Index(usize),
}

impl KeyPath {
    /// The key `name` of a section.
    pub(crate) fn name(&self, name: &str) -> KeyPath {
        self.step(Step::Name(name.to_owned()))
    }

    /// The entry `index` of a list.
    pub(crate) fn index(&self, index: usize) -> KeyPath {
        self.step(Step::Index(index))
    }

    fn step(&self, step: Step) -> KeyPath {
        let mut path = self.clone();
        path.0.push(step);
        path
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Name(name) if number == 0 => f.write_str(name)?,
                Step::Name(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The file as it was written.
struct Document<'a> {
    name: &'a str,
    text: &'a str,
    spans: Spanned<DeTable<'a>>,
    values: Table,
}

impl<'a> Document<'a> {
    fn parse(name: &'a str, text: &'a str) -> Result<Document<'a>, SettingsError> {
        let at = |offset| place_in(name, text, offset);
        if text.len() > MAX_FILE_BYTES {
            let what = format!("the file has more than {MAX_FILE_BYTES} bytes");
            return Err(one(Problem { at: at(0), key: String::new(), what }));
        }
        let wrong = |error: toml::de::Error| {
            let span = error.span().unwrap_or_default();
            let what = match error.message() {
                "duplicate key" => already_there(text.get(span.clone()).unwrap_or_default()),
                message => one_line(message),
            };
            one(Problem { at: at(span.start), key: String::new(), what })
        };
        let spans = DeTable::parse(text).map_err(wrong)?;
        let values = text.parse().map_err(wrong)?;
        Ok(Document { name, text, spans, values })
    }

    /// Each key that no section has.
    fn unknown_keys(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.look_for_unknown(self.spans.get_ref(), "", &KeyPath::default(), &mut problems);
        problems.sort_by_key(|problem| match problem.at {
            Whereabouts::File { line, column, .. } => (line, column),
            Whereabouts::Variable(_) => (0, 0),
        });
        problems
    }

    /// Goes no deeper than there are sections.
    fn look_for_unknown(&self, table: &DeTable<'_>, section: &str, at: &KeyPath, problems: &mut Vec<Problem>) {
        for (key, value) in table {
            let (name, here) = (key.get_ref().as_ref(), at.name(key.get_ref()));
            let (kind, below) = schema::kind(section, name);
            match (kind, value.get_ref()) {
                (Kind::Unknown, _) => {
                    let at = place_in(self.name, self.text, key.span().start);
                    problems.push(Problem { at, key: here.to_string(), what: schema::unknown(section, name) });
                }
                (Kind::Section, DeValue::Table(table)) => self.look_for_unknown(table, &below, &here, problems),
                (Kind::Named, DeValue::Table(named)) => {
                    for (name, value) in named {
                        if let DeValue::Table(table) = value.get_ref() {
                            self.look_for_unknown(table, &below, &here.name(name.get_ref()), problems);
                        }
                    }
                }
                (Kind::List, DeValue::Array(list)) => {
                    for (index, value) in list.iter().enumerate() {
                        if let DeValue::Table(table) = value.get_ref() {
                            self.look_for_unknown(table, &below, &here.index(index), problems);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Says where a wrong key is written: in a variable, at its line, or where it should have been.
    fn place(&self, overrides: &Overrides, wrong: Wrong) -> Problem {
        let at = match overrides.variable_of(&wrong.at) {
            Some(variable) => Whereabouts::Variable(variable.to_owned()),
            None => place_in(self.name, self.text, self.offset_of(&wrong.at)),
        };
        Problem { at, key: wrong.at.to_string(), what: wrong.what }
    }

    /// As near as the file has it.
    fn offset_of(&self, path: &KeyPath) -> usize {
        let mut offset = 0;
        let Some((first, rest)) = path.0.split_first() else { return offset };
        let Step::Name(name) = first else { return offset };
        let Some((key, mut value)) = self.spans.get_ref().get_key_value(name.as_str()) else { return offset };
        offset = key.span().start;
        for step in rest {
            let below = match (step, value.get_ref()) {
                (Step::Name(name), DeValue::Table(table)) => {
                    table.get_key_value(name.as_str()).map(|(key, value)| (key.span().start, value))
                }
                (Step::Index(index), DeValue::Array(list)) => list.get(*index).map(|value| (value.span().start, value)),
                _ => None,
            };
            let Some(below) = below else { break };
            (offset, value) = below;
        }
        offset
    }
}

fn from_table(table: &Table) -> Result<Settings, Wrong> {
    serde_path_to_error::deserialize(Value::Table(table.clone())).map_err(|error| {
        let steps = error.path().iter().filter_map(|segment| match segment {
            Segment::Map { key } => Some(Step::Name(key.clone())),
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        Wrong { at: KeyPath(steps.collect()), what: one_line(error.inner().message()) }
    })
}

fn place_in(name: &str, text: &str, offset: usize) -> Whereabouts {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Whereabouts::File { name: name.to_owned(), line, column }
}

/// The sample has each section once, uncommented: whoever appends one finds it there.
fn already_there(key: &str) -> String {
    format!("{key} is there already; put what belongs to it in one place")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn one(problem: Problem) -> SettingsError {
    SettingsError { problems: vec![problem] }
}

fn refuse(problems: Vec<Problem>) -> Result<(), SettingsError> {
    if problems.is_empty() { Ok(()) } else { Err(SettingsError { problems }) }
}

#[cfg(test)]
mod tests;
