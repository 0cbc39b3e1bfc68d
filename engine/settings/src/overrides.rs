//! What the environment says instead of the file: `SPILLWAY_PEERS__SLOTS=500`.
//!
//! Section and key in capitals, joined by two underscores; an entry of a list by its number from 0, the next number adds one
//! (`SPILLWAY_PUBLISH__0__ROOT`). The value is TOML (`["0.0.0.0:51413"]`, `true`, `"text"`), or else a bare text. Variables
//! without two underscores are not ours.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::document::{KeyPath, Step};
use crate::error::{Problem, Whereabouts};
use crate::schema::{self, Kind};

/// What our variables begin with.
pub const PREFIX: &str = "SPILLWAY_";

/// The overrides that were laid over a file.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    given: Vec<Given>,
}

#[derive(Debug)]
struct Given {
    variable: String,
    path: KeyPath,
    text: String,
}

impl Overrides {
    /// Replaces in `table` what `environment` names. A variable of ours that names nothing is a problem.
    pub(crate) fn lay_over(
        table: &mut Table,
        environment: impl IntoIterator<Item = (String, String)>,
        problems: &mut Vec<Problem>,
    ) -> Overrides {
        // In order, so that entry 0 of a list is there before entry 1.
        let ours: BTreeMap<String, String> =
            environment.into_iter().filter(|(name, _)| name.starts_with(PREFIX) && name.contains("__")).collect();
        let mut overrides = Overrides::default();
        for (variable, text) in ours {
            match path_of(&variable).and_then(|path| put(table, &path, value_of(&text)).map(|()| path)) {
                Ok(path) => overrides.given.push(Given { variable, path, text }),
                Err(what) => problems.push(Problem { at: Whereabouts::Variable(variable), key: String::new(), what }),
            }
        }
        overrides
    }

    /// The variable that gave the value at or around `path`.
    pub(crate) fn variable_of(&self, path: &KeyPath) -> Option<&str> {
        self.given(path).map(|given| given.variable.as_str())
    }

    /// Takes a value that was read as TOML for the bare text that it may have been meant as: `SPILLWAY_CONTROL__GROUP=100`.
    /// Whether there was one.
    pub(crate) fn read_as_text(&mut self, path: &KeyPath, table: &mut Table) -> bool {
        let Some(given) = self.given(path) else { return false };
        put(table, &given.path, Value::String(given.text.clone())).is_ok()
    }

    fn given(&self, path: &KeyPath) -> Option<&Given> {
        self.given.iter().filter(|given| path.0.starts_with(&given.path.0)).max_by_key(|given| given.path.0.len())
    }
}

fn value_of(text: &str) -> Value {
    text.parse().unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// From a variable's name to a key, by what keys there are.
fn path_of(variable: &str) -> Result<KeyPath, String> {
    let rest = variable.strip_prefix(PREFIX).unwrap_or(variable);
    let (mut section, mut path) = (String::new(), KeyPath::default());
    let mut words = rest.split("__").map(str::to_lowercase);
    while let Some(word) = words.next() {
        let (kind, below) = schema::kind(&section, &word);
        path = path.name(&word);
        let wants = |what: &str| format!("{path} is followed by {what}, as in {variable}__{}", what_follows(kind));
        match kind {
            Kind::Unknown => return Err(schema::unknown(&section, &word)),
            Kind::Value => {
                return match words.next() {
                    None => Ok(path),
                    Some(_) => Err(format!("{path} is a value; nothing comes after it")),
                };
            }
            Kind::Section => {}
            Kind::List => {
                let index = words.next().and_then(|word| word.parse().ok()).ok_or_else(|| wants("a number from 0"))?;
                path = path.index(index);
            }
            Kind::Named => {
                let name = words.next().filter(|name| !name.is_empty()).ok_or_else(|| wants("a name"))?;
                path = path.name(&name);
            }
        }
        section = below;
    }
    Err(format!("{path} is a section; a key of it comes after two underscores"))
}

fn what_follows(kind: Kind) -> &'static str {
    if kind == Kind::List { "0" } else { "NAME" }
}

/// Puts a value where `path` says, making the sections on the way.
fn put(table: &mut Table, path: &KeyPath, value: Value) -> Result<(), String> {
    let mut steps = path.0.iter();
    let Some(Step::Name(first)) = steps.next() else { return Ok(()) };
    let mut place = table.entry(first.clone()).or_insert_with(|| empty(steps.as_slice().first()));
    while let Some(step) = steps.next() {
        let next = steps.as_slice().first();
        place = match (step, place) {
            (Step::Name(name), Value::Table(table)) => table.entry(name.clone()).or_insert_with(|| empty(next)),
            (Step::Index(index), Value::Array(list)) => {
                let count = list.len();
                if *index == count {
                    list.push(empty(next));
                }
                list.get_mut(*index)
                    .ok_or_else(|| format!("there are {count} before it; the next is number {count}"))?
            }
            _ => return Err(format!("{path} does not fit what the file has there")),
        };
    }
    *place = value;
    Ok(())
}

/// What a step leads into.
fn empty(step: Option<&Step>) -> Value {
    match step {
        Some(Step::Index(_)) => Value::Array(Vec::new()),
        Some(Step::Name(_)) | None => Value::Table(Table::new()),
    }
}
