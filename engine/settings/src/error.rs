//! What is wrong with settings, and where that is written.

use std::fmt;

/// All that is wrong with the settings, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.problems))]
pub struct SettingsError {
    /// At least one, in the order of the file.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is written.
    pub at: Whereabouts,
    /// The key, as `peers.listen` or `publish[0].root`; empty where the text is no TOML.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub what: String,
}

/// Where a setting is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// In the file, lines and columns from 1.
    File {
        /// The file's name.
        name: String,
        /// The line.
        line: usize,
        /// The character in it.
        column: usize,
    },
    /// In a variable of the environment.
    Variable(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Whereabouts::File { name, line, column } => write!(f, "{name}:{line}:{column}: ")?,
            Whereabouts::Variable(name) => write!(f, "{name}: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
