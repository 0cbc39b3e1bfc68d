//! Where probes read: files under a root directory, bounded, and `None` where there is nothing to read.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What one file may have; `/proc/interrupts` of a large machine has some hundred kilobytes.
const MAX_BYTES: u64 = 4 << 20;

/// Entries of one folder that are looked at.
const MAX_ENTRIES: usize = 4096;

/// The machine's `/proc` and `/sys`.
#[derive(Debug)]
pub(super) struct Machine {
    root: PathBuf,
    process: String,
}

impl Machine {
    /// This one; limits are those of the process with this id, or our own.
    pub(super) fn this(pid: Option<u32>) -> Machine {
        let process = pid.map_or("self".to_owned(), |pid| pid.to_string());
        Machine { root: PathBuf::from("/"), process }
    }

    /// One whose files lie in a folder.
    #[cfg(test)]
    pub(super) fn under(root: &Path) -> Machine {
        Machine { root: root.to_path_buf(), process: "self".to_owned() }
    }

    /// A file's text without white space around it.
    pub(super) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.place(path)).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// A file that holds one number.
    pub(super) fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// A file about the process that is looked at.
    pub(super) fn of_process(&self, name: &str) -> Option<String> {
        self.text(format!("/proc/{}/{name}", self.process))
    }

    /// The names in a folder, in order.
    pub(super) fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.place(path)).into_iter().flatten().flatten().take(MAX_ENTRIES);
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Whether there is such a file or folder.
    pub(super) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.place(path).exists()
    }

    /// Where a link leads, as a path of the machine.
    pub(super) fn resolve(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        let resolved = fs::canonicalize(self.place(path)).ok()?;
        let root = fs::canonicalize(&self.root).ok()?;
        Some(Path::new("/").join(resolved.strip_prefix(root).ok()?))
    }

    fn place(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}
