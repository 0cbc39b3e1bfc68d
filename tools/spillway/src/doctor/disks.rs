//! The disks below the directories of the settings: scheduler, read-ahead, and file systems that inotify does not reach.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};
use settings::{Settings, Watch};

use super::finding::Finding;
use super::machine::Machine;

/// Read-ahead below this makes a spinning disk seek, and above that reads more than is sent.
const SPINNING_READ_AHEAD_KIB: std::ops::RangeInclusive<u64> = 128..=8192;
const FLASH_READ_AHEAD_KIB: std::ops::RangeInclusive<u64> = 64..=2048;

/// File systems whose changes on other machines the kernel does not tell.
const NETWORK: [&str; 10] = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "lustre", "afs", "virtiofs"];

pub(super) fn look(machine: &Machine, settings: &Settings) -> Vec<Finding> {
    let mounts = machine.of_process("mountinfo").unwrap_or_default();
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, watch) in places(settings) {
        let Ok(path) = path.canonicalize() else { continue };
        let file_system = file_system_of(&mounts, &path);
        if let Some(watch) = watch
            && let Some(kind) = file_system.as_deref().filter(|kind| is_network(kind))
        {
            findings.push(network(&path, kind, watch));
        }
        let Ok(metadata) = path.metadata() else { continue };
        let device = (major(metadata.dev()), minor(metadata.dev()));
        if seen.insert(device) {
            findings.extend(disk(machine, device, &path, file_system.as_deref()));
        }
    }
    findings
}

/// Each place, and how a tree that publishes itself is watched.
fn places(settings: &Settings) -> Vec<(PathBuf, Option<Watch>)> {
    let roots = settings.publish.iter().map(|publish| (publish.root.clone(), Some(publish.watch)));
    let outputs = settings.subscribe.iter().map(|subscribe| (subscribe.output.clone(), None));
    roots.chain(outputs).chain(settings.engine.state_dir.iter().map(|dir| (dir.clone(), None))).collect()
}

fn disk(machine: &Machine, device: (u32, u32), path: &Path, file_system: Option<&str>) -> Vec<Finding> {
    let (major, minor) = device;
    let Some(block) = machine.resolve(format!("/sys/dev/block/{major}:{minor}")) else {
        let kind = file_system.unwrap_or("a file system of its own kind");
        return vec![Finding::unknown("disk", format!("{} is on {kind}, whose disks are not seen", path.display()))];
    };
    // A partition has its queue in the disk's folder.
    let whole = if machine.has(block.join("partition")) { block.parent().unwrap_or(&block) } else { &block };
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let queue = |file: &str| machine.text(whole.join("queue").join(file));
    let spins = queue("rotational").as_deref() == Some("1");
    let read_ahead_kib = queue("read_ahead_kb").and_then(|text| text.parse().ok());
    vec![
        scheduler(&name, queue("scheduler").as_deref().and_then(chosen), spins),
        read_ahead(&name, read_ahead_kib, spins),
    ]
}

/// The one in brackets: `[none] mq-deadline`.
fn chosen(schedulers: &str) -> Option<&str> {
    schedulers.split_once('[')?.1.split_once(']').map(|(name, _)| name)
}

fn scheduler(disk: &str, name: Option<&str>, spins: bool) -> Finding {
    let kind = if spins { "spinning" } else { "flash" };
    let Some(name) = name else { return Finding::unknown("scheduler", format!("{disk} has none that is told")) };
    let found = format!("{disk} ({kind}) has {name}");
    let change = |name: &str| format!("echo {name} > /sys/block/{disk}/queue/scheduler");
    // A virtual disk calls itself spinning; its host does the sorting.
    let is_virtual = disk.starts_with("vd") || disk.starts_with("xvd");
    match (spins && !is_virtual, name) {
        (true, "none") => {
            let why = "Without one, reads of many peers are not sorted, and the disk seeks for each";
            Finding::advice("scheduler", found, change("mq-deadline"), why)
        }
        (false, "bfq") => Finding::advice("scheduler", found, change("none"), "bfq costs more than flash gains by it"),
        _ => Finding::ok("scheduler", found),
    }
}

fn read_ahead(disk: &str, kib: Option<u64>, spins: bool) -> Finding {
    let Some(kib) = kib else { return Finding::unknown("read-ahead", format!("{disk} does not tell")) };
    let range = if spins { SPINNING_READ_AHEAD_KIB } else { FLASH_READ_AHEAD_KIB };
    let found = format!("{disk} reads {kib} KiB ahead");
    if range.contains(&kib) {
        return Finding::ok("read-ahead", found);
    }
    let good = if spins { 1024 } else { 256 };
    Finding::advice(
        "read-ahead",
        found,
        format!("echo {good} > /sys/block/{disk}/queue/read_ahead_kb"),
        "Cold content is read in windows of 256 KiB: far less ahead seeks, far more reads what nobody gets",
    )
}

fn network(path: &Path, kind: &str, watch: Watch) -> Finding {
    let found = format!("{} is on {kind}", path.display());
    match watch {
        Watch::Auto | Watch::Poll => Finding::ok("watch", format!("{found}, and is polled")),
        Watch::Inotify => Finding::advice(
            "watch",
            found,
            "watch = \"auto\" in its [[publish]]",
            "The kernel does not tell what another machine changes; it is seen by the next rescan only",
        ),
    }
}

fn is_network(kind: &str) -> bool {
    NETWORK.contains(&kind) || kind.starts_with("fuse")
}

/// The type of the file system that a path lies on, by `/proc/self/mountinfo` (proc_pid_mountinfo(5)): the last of the longest mount
/// points above it.
fn file_system_of(mountinfo: &str, path: &Path) -> Option<String> {
    let mut best: Option<(usize, &str)> = None;
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let (Some(point), Some(kind)) = (before.split(' ').nth(4), after.split(' ').next()) else { continue };
        let point = unescape(point);
        let depth = Path::new(&point).components().count();
        if path.starts_with(&point) && best.is_none_or(|(most, _)| depth >= most) {
            best = Some((depth, kind));
        }
    }
    best.map(|(_, kind)| kind.to_owned())
}

/// Spaces and the like are written as `\040`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let octal = behind.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal.filter(|_| first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[3..];
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /srv rw - nfs4 host:/srv rw
31 30 8:1 / /srv/with\\040space rw master:1 propagate_from:2 - xfs /dev/sda1 rw
32 22 0:41 / /fuse rw - fuse.sshfs host: rw
nonsense
33 22 - x";

    #[test]
    fn a_path_lies_on_the_deepest_mount_above_it() {
        let kind = |path: &str| file_system_of(MOUNTS, Path::new(path));
        assert_eq!(kind("/home").as_deref(), Some("ext4"));
        assert_eq!(kind("/srv/releases").as_deref(), Some("nfs4"));
        assert_eq!(kind("/srv2").as_deref(), Some("ext4"));
        assert_eq!(kind("/srv/with space/a").as_deref(), Some("xfs"));
        assert!(is_network(&kind("/fuse").unwrap()));
        assert_eq!(file_system_of("", Path::new("/")), None);
    }

    #[test]
    fn escapes_that_are_cut_off_are_taken_as_they_are() {
        for (text, plain) in [("a\\040b", "a b"), ("\\", "\\"), ("\\04", "\\04"), ("\\999", "\\999"), ("ü", "ü")] {
            assert_eq!(unescape(text), plain);
        }
    }

    #[test]
    fn a_spinning_disk_wants_a_scheduler_and_flash_none_that_is_costly() {
        assert_eq!(chosen("[none] mq-deadline kyber bfq"), Some("none"));
        assert_eq!(chosen("none"), None);
        assert_eq!(scheduler("sda", Some("none"), true).verdict, Verdict::Advice);
        assert_eq!(scheduler("vda", Some("none"), true).verdict, Verdict::Ok);
        assert_eq!(scheduler("sda", Some("mq-deadline"), true).verdict, Verdict::Ok);
        assert_eq!(scheduler("nvme0n1", Some("none"), false).verdict, Verdict::Ok);
        assert_eq!(scheduler("nvme0n1", Some("bfq"), false).verdict, Verdict::Advice);
        assert_eq!(scheduler("nvme0n1", None, false).verdict, Verdict::Unknown);
    }

    #[test]
    fn read_ahead_that_wastes_the_disk_is_told() {
        assert_eq!(read_ahead("sda", Some(128), true).verdict, Verdict::Ok);
        assert_eq!(read_ahead("nvme0n1", Some(0), false).verdict, Verdict::Advice);
        assert_eq!(read_ahead("nvme0n1", Some(16_384), false).verdict, Verdict::Advice);
        assert_eq!(read_ahead("nvme0n1", None, false).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_tree_on_a_network_is_told_where_only_inotify_watches_it() {
        assert_eq!(network(Path::new("/srv"), "nfs4", Watch::Inotify).verdict, Verdict::Advice);
        assert_eq!(network(Path::new("/srv"), "nfs4", Watch::Auto).verdict, Verdict::Ok);
    }

    #[test]
    fn a_partition_is_looked_up_in_its_disk() {
        let folder = tempfile::tempdir().unwrap();
        let disk_path = folder.path().join("sys/devices/sda");
        std::fs::create_dir_all(disk_path.join("queue")).unwrap();
        std::fs::create_dir_all(disk_path.join("sda1")).unwrap();
        std::fs::write(disk_path.join("sda1/partition"), "1\n").unwrap();
        std::fs::write(disk_path.join("queue/scheduler"), "[none] mq-deadline\n").unwrap();
        std::fs::write(disk_path.join("queue/rotational"), "1\n").unwrap();
        std::fs::create_dir_all(folder.path().join("sys/dev/block")).unwrap();
        std::os::unix::fs::symlink("../../devices/sda/sda1", folder.path().join("sys/dev/block/8:1")).unwrap();
        let findings = disk(&Machine::under(folder.path()), (8, 1), Path::new("/srv"), Some("ext4"));
        assert_eq!(findings[0].change.as_deref(), Some("echo mq-deadline > /sys/block/sda/queue/scheduler"));
        assert_eq!(findings[1].verdict, Verdict::Unknown);
        let elsewhere = disk(&Machine::under(folder.path()), (0, 40), Path::new("/srv"), Some("btrfs"));
        assert_eq!(elsewhere[0].verdict, Verdict::Unknown);
    }
}
