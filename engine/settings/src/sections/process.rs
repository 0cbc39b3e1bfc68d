//! The process and its operator: `[engine]`, `[control]`, `[log]`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use documented::{Documented, DocumentedFields};
use serde::{Deserialize, Serialize};

/// Cores, state and the way of bytes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// Shards, each on a core of its own. If unset, one on every core, or on every core of `cores`.
    pub shards: Option<u32>,
    /// The cores that shards may have, as `lscpu -e` numbers them. If empty, all.
    pub cores: Vec<u32>,
    /// Where the database and all other state is. If unset, what systemd gives (`StateDirectory=`), else
    /// $XDG_STATE_HOME/spillway or ~/.local/state/spillway.
    pub state_dir: Option<PathBuf>,
    /// Microseconds for which requests gather under light load, so that a turn serves several. 0 serves each at once.
    pub turn_delay_us: u32,
    /// Whether the network is handed references to files instead of copies. Only for content that is never overwritten in
    /// place: what changes in a file may go out changed while it waits to be sent.
    pub zero_copy: bool,
}

/// The socket of `spillway ctl`. Who may open it may do everything; its permissions are the authentication.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Its path. If unset, control.sock in what systemd gives (`RuntimeDirectory=`), else in /run/spillway for root and in
    /// $XDG_RUNTIME_DIR/spillway for others.
    pub socket: Option<PathBuf>,
    /// Its permissions, in octal.
    pub mode: Mode,
    /// Its group, by name or number. If unset, that of the process.
    pub group: Option<String>,
}

/// Log lines on stderr, which the journal keeps. There are no log files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Documented, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is logged: error, warn, info, debug or trace, or levels by part as in "info,shard=debug".
    pub filter: String,
    /// How: "text", "json" (an object a line), or "auto", which is text, with the journal's priorities under systemd.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text, with priorities instead of times where the journal reads it.
    #[default]
    Auto,
    /// Text with times.
    Text,
    /// One JSON object a line.
    Json,
}

/// Permissions of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Default for Mode {
    fn default() -> Mode {
        Mode(0o660)
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { filter: "info".to_owned(), format: LogFormat::Auto }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        let plain = (3..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| plain && *mode <= 0o777);
        mode.map(Mode).ok_or_else(|| format!("{text:?} are no permissions such as 0660"))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

text_form!(Mode);

/// What the sample shows where a key is not set by default.
pub(crate) mod example {
    use super::*;

    pub(crate) fn engine() -> Engine {
        Engine {
            shards: Some(4),
            cores: vec![2, 3, 4, 5],
            state_dir: Some("/var/lib/spillway".into()),
            ..Engine::default()
        }
    }

    pub(crate) fn control() -> Control {
        Control {
            socket: Some("/run/spillway/control.sock".into()),
            group: Some("spillway".to_owned()),
            ..Control::default()
        }
    }
}
