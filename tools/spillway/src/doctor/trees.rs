//! The directories that the settings name: whether they are there, how much is in them, and what that asks of memory and inotify.

use std::path::Path;

use indicatif::BinaryBytes;
use settings::{Settings, Watch};
use walkdir::WalkDir;

use super::finding::Finding;
use super::machine::Machine;

/// Entries that are counted; a machine with more gets a lower bound.
const MAX_ENTRIES: usize = 500_000;

/// The directories of the settings, and what is in them.
#[derive(Debug, Default)]
pub(super) struct Trees {
    findings: Vec<Finding>,
    content_bytes: u64,
    watched_folders: u64,
    is_cut: bool,
}

impl Trees {
    /// Walks over all of them.
    pub(super) fn measure(settings: &Settings) -> Trees {
        let mut trees = Trees::default();
        for publish in &settings.publish {
            trees.check(&publish.name, &publish.root);
            trees.count(&publish.root, publish.watch != Watch::Poll);
        }
        for subscribe in &settings.subscribe {
            trees.check(&subscribe.name, &subscribe.output);
            trees.count(&subscribe.output, false);
        }
        trees
    }

    /// What was found of each, and of all together.
    pub(super) fn look(mut self, machine: &Machine) -> Vec<Finding> {
        if self.content_bytes > 0 {
            let memory = machine.text("/proc/meminfo").and_then(|text| memory_for_pages(&text));
            self.findings.push(page_cache(memory, self.content_bytes, self.is_cut));
        }
        if self.watched_folders > 0 {
            let watches = machine.number("/proc/sys/fs/inotify/max_user_watches");
            self.findings.push(inotify(watches, self.watched_folders, self.is_cut));
        }
        self.findings
    }

    fn check(&mut self, name: &str, path: &Path) {
        let shown = path.display();
        self.findings.push(match std::fs::read_dir(path) {
            Ok(_) => Finding::ok("tree", format!("{name}: {shown}")),
            Err(error) => {
                let change = format!("mkdir -p {shown}, or let the service's user read it, or edit the settings");
                Finding::problem(
                    "tree",
                    format!("{name}: {shown}: {error}"),
                    change,
                    "Nothing can be published from or fetched into it",
                )
            }
        });
    }

    fn count(&mut self, path: &Path, is_watched: bool) {
        for (number, entry) in WalkDir::new(path).into_iter().flatten().enumerate() {
            if number == MAX_ENTRIES {
                self.is_cut = true;
                return;
            }
            if entry.file_type().is_dir() {
                self.watched_folders += u64::from(is_watched);
            } else if entry.file_type().is_file() {
                let size_bytes = entry.metadata().map_or(0, |metadata| metadata.len());
                self.content_bytes = self.content_bytes.saturating_add(size_bytes);
            }
        }
    }
}

fn page_cache(memory_bytes: Option<u64>, content_bytes: u64, is_cut: bool) -> Finding {
    let at_least = if is_cut { "at least " } else { "" };
    let Some(memory_bytes) = memory_bytes else {
        return Finding::unknown("page cache", "no /proc/meminfo");
    };
    let found = format!("{at_least}{} of content, {} for it", BinaryBytes(content_bytes), BinaryBytes(memory_bytes));
    if content_bytes <= memory_bytes {
        return Finding::ok("page cache", found);
    }
    Finding::advice(
        "page cache",
        found,
        "more memory, or see to it that what is asked for at one time fits",
        "What does not fit is read from the disk again and again",
    )
}

/// What the page cache can grow to: what is available, cached pages included (proc_meminfo(5)).
fn memory_for_pages(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn inotify(watches: Option<u64>, folders: u64, is_cut: bool) -> Finding {
    let at_least = if is_cut { "at least " } else { "" };
    let Some(watches) = watches else {
        return Finding::unknown("inotify", "no /proc/sys/fs/inotify/max_user_watches");
    };
    let found = format!("{at_least}{folders} folders to watch, {watches} watches");
    // Others of the same user take watches as well.
    if folders <= watches / 2 {
        return Finding::ok("inotify", found);
    }
    let enough = (folders * 4).next_power_of_two();
    Finding::advice(
        "inotify",
        found,
        format!("sysctl fs.inotify.max_user_watches={enough}"),
        "What cannot be watched is only seen by the next rescan",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    #[test]
    fn available_memory_is_read_in_kib() {
        let text = "MemTotal:       16000000 kB\nMemFree:          100000 kB\nMemAvailable:    8000000 kB\n";
        assert_eq!(memory_for_pages(text), Some(8_192_000_000));
        for nonsense in ["", "MemAvailable:", "MemAvailable: x kB", "MemAvailable: 99999999999999999999 kB"] {
            assert_eq!(memory_for_pages(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn content_that_does_not_fit_and_folders_that_cannot_be_watched_are_advice() {
        assert_eq!(page_cache(Some(100), 101, false).verdict, Verdict::Advice);
        assert_eq!(page_cache(Some(100), 100, false).verdict, Verdict::Ok);
        assert_eq!(page_cache(None, 1, false).verdict, Verdict::Unknown);
        assert_eq!(inotify(Some(8192), 5000, false).verdict, Verdict::Advice);
        assert_eq!(inotify(Some(8192), 4096, false).verdict, Verdict::Ok);
        assert_eq!(inotify(None, 1, true).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_tree_that_is_not_there_is_a_problem_and_the_others_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        std::fs::write(folder.path().join("sub/file"), [0; 1000]).unwrap();
        let text = format!(
            "[[publish]]\nname = 'a'\nroot = '{}'\n[[publish]]\nname = 'b'\nroot = '/nonexistent'\n",
            folder.path().display()
        );
        let trees = Trees::measure(&Settings::read("s", &text, []).unwrap());
        assert_eq!((trees.content_bytes, trees.watched_folders), (1000, 2));
        let verdicts: Vec<Verdict> = trees.findings.iter().map(|finding| finding.verdict).collect();
        assert_eq!(verdicts, [Verdict::Ok, Verdict::Problem]);
    }
}
