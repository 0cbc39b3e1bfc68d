//! What the program writes: lines and JSON to stdout, errors to stderr, files that appear whole or not at all.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::Serialize;

use crate::failure::Failure;

/// Writes one line of results to stdout.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    write_all(text)
}

/// Writes `value` to stdout as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    write_all(&serde_json::to_string_pretty(value)?)
}

/// Writes `error: …` to stderr; there is nowhere to report that this failed.
pub(crate) fn error_line(message: &str) {
    let _ = writeln!(io::stderr().lock(), "error: {message}");
}

/// Replaces `path` by a file with these bytes in one step. They are synced first, so that a crash leaves no empty file.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Temporary files are private by default; this one will be a plain file, so it asks for what the umask allows.
    let fill = || -> io::Result<()> {
        let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    fill().map_err(|error| Failure::from(error).context(path.display()))
}

/// One line to stdout. A reader that closed the pipe has seen enough: that is no failure.
fn write_all(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::from(error).context("stdout")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_others_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready.json");
        std::fs::write(&path, "a longer text from before").unwrap();
        write_whole(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_ne!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o600, 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_folder_that_is_missing_is_named_in_the_failure() {
        let folder = tempfile::tempdir().unwrap();
        let failure = write_whole(&folder.path().join("no/where.json"), b"").unwrap_err();
        assert!(format!("{failure:?}").contains("where.json"), "{failure:?}");
    }
}
