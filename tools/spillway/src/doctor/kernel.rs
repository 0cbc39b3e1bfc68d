//! The kernel and what it allows: version, io_uring, lockable memory, descriptors, maps.

use seedbox::MEMLOCK_PER_SHARD_BYTES;
use settings::Settings;

use super::finding::Finding;
use super::machine::Machine;

/// io_uring as the executor uses it.
const LEAST_KERNEL: (u32, u32) = (5, 8);

/// From here on `cachestat(2)` tells which pages are in memory (engine/decisions/residency-and-who-may-ask.md).
const GOOD_KERNEL: (u32, u32) = (6, 5);

/// Below this a busy release turns peers away.
const GOOD_DESCRIPTORS: u64 = 65_536;

/// What an engine starts with.
const LEAST_DESCRIPTORS: u64 = 512;

/// A map for each file that is served, beside those of the program.
const GOOD_MAPS: u64 = 262_144;

/// The bit of CAP_IPC_LOCK (capabilities(7)).
const IPC_LOCK_BIT: u64 = 1 << 14;

pub(super) fn look(machine: &Machine, settings: &Settings) -> Vec<Finding> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let shards = settings.engine.shards.map_or(cores, u64::from);
    let limits = machine.of_process("limits");
    let limits = limits.as_deref();
    let may_lock = machine.of_process("status").is_some_and(|status| may_lock_freely(&status));
    vec![
        version(machine.text("/proc/sys/kernel/osrelease").as_deref()),
        io_uring(seedbox::check_io_uring()),
        memlock(limits.and_then(|text| hard_limit(text, "Max locked memory")), shards, may_lock),
        descriptors(limits.and_then(|text| hard_limit(text, "Max open files"))),
        maps(machine.number("/proc/sys/vm/max_map_count")),
    ]
}

fn version(release: Option<&str>) -> Finding {
    const WHY: &str = "Older ones cannot tell which pages are in memory for files of others, and read first";
    let Some(release) = release else { return Finding::unknown("kernel", "no /proc/sys/kernel/osrelease") };
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Finding::unknown("kernel", format!("{release:?} is no version"));
    };
    let found = format!("Linux {release}");
    match (major, minor) {
        version if version < LEAST_KERNEL => {
            Finding::problem("kernel", found, "install Linux 5.8 or newer", "The executor needs its io_uring")
        }
        version if version < GOOD_KERNEL => Finding::advice("kernel", found, "install Linux 6.5 or newer", WHY),
        _ => Finding::ok("kernel", found),
    }
}

fn io_uring(probe: Result<(), String>) -> Finding {
    match probe {
        Ok(()) => Finding::ok("io_uring", "allowed"),
        Err(reason) => {
            let change = "sysctl kernel.io_uring_disabled=0; in a container, a seccomp profile that allows io_uring_setup, \
                          io_uring_enter and io_uring_register";
            Finding::problem("io_uring", reason, change, "Every shard stands on it")
        }
    }
}

fn memlock(limit: Option<Limit>, shards: u64, may_lock: bool) -> Finding {
    let needed = shards * MEMLOCK_PER_SHARD_BYTES;
    let needed_kib = needed / 1024;
    match limit {
        None => Finding::unknown("memlock", "no limits in /proc"),
        Some(_) if may_lock => Finding::ok("memlock", "no limit, by CAP_IPC_LOCK"),
        Some(Limit::None) => Finding::ok("memlock", "no limit"),
        Some(Limit::Of(bytes)) if bytes >= needed => {
            Finding::ok("memlock", format!("{} KiB; {shards} shards need {needed_kib} KiB", bytes / 1024))
        }
        Some(Limit::Of(bytes)) => Finding::problem(
            "memlock",
            format!("{} KiB; {shards} shards need {needed_kib} KiB", bytes / 1024),
            "LimitMEMLOCK=infinity in the unit; `ulimit -l` or /etc/security/limits.d for a shell",
            "Each shard's rings are locked in memory",
        ),
    }
}

fn descriptors(limit: Option<Limit>) -> Finding {
    let change = "LimitNOFILE=1048576 in the unit; `ulimit -n` or /etc/security/limits.d for a shell";
    let why = "Every peer and every open file takes one";
    match limit {
        None => Finding::unknown("nofile", "no limits in /proc"),
        Some(Limit::None) => Finding::ok("nofile", "no limit"),
        Some(Limit::Of(count)) if count < LEAST_DESCRIPTORS => Finding::problem("nofile", count, change, why),
        Some(Limit::Of(count)) if count < GOOD_DESCRIPTORS => Finding::advice("nofile", count, change, why),
        Some(Limit::Of(count)) => Finding::ok("nofile", count),
    }
}

fn maps(count: Option<u64>) -> Finding {
    match count {
        None => Finding::unknown("maps", "no /proc/sys/vm/max_map_count"),
        Some(count) if count < GOOD_MAPS => Finding::advice(
            "maps",
            format!("vm.max_map_count is {count}"),
            format!("sysctl vm.max_map_count={GOOD_MAPS}"),
            "Each file that is served is mapped; with more files than maps, some are read instead",
        ),
        Some(count) => Finding::ok("maps", format!("vm.max_map_count is {count}")),
    }
}

/// A limit of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    None,
    Of(u64),
}

/// The hard limit in `/proc/PID/limits`, to which the soft one is raised at the start.
fn hard_limit(limits: &str, name: &str) -> Option<Limit> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(Limit::None),
        number => number.parse().ok().map(Limit::Of),
    }
}

/// Whether `/proc/PID/status` has CAP_IPC_LOCK among the effective capabilities.
fn may_lock_freely(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|set| set & IPC_LOCK_BIT != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max open files            1024                 524288               files
Max locked memory         8388608              8388608              bytes";

    #[test]
    fn kernels_are_told_apart_by_number_not_by_letter() {
        for (release, verdict) in [
            ("6.18.44-fc-v769", Verdict::Ok),
            ("6.5.0", Verdict::Ok),
            ("6.1.0-37-amd64", Verdict::Advice),
            ("5.10.0-35-amd64", Verdict::Advice),
            ("5.4.0", Verdict::Problem),
            ("4.19", Verdict::Problem),
            ("six", Verdict::Unknown),
            ("", Verdict::Unknown),
        ] {
            assert_eq!(version(Some(release)).verdict, verdict, "{release}");
        }
        assert_eq!(version(None).verdict, Verdict::Unknown);
    }

    #[test]
    fn the_hard_limit_counts_since_the_soft_one_is_raised() {
        assert_eq!(hard_limit(LIMITS, "Max open files"), Some(Limit::Of(524_288)));
        assert_eq!(hard_limit(LIMITS, "Max cpu time"), Some(Limit::None));
        assert_eq!(hard_limit(LIMITS, "Max nothing"), None);
        assert_eq!(hard_limit("Max open files", "Max open files"), None);
    }

    #[test]
    fn memlock_is_held_against_the_shards() {
        let of = |kib: u64| Some(Limit::Of(kib * 1024));
        assert_eq!(memlock(of(8192), 16, false).verdict, Verdict::Ok);
        assert_eq!(memlock(of(8191), 16, false).verdict, Verdict::Problem);
        assert_eq!(memlock(of(64), 16, true).verdict, Verdict::Ok);
        assert_eq!(memlock(None, 1, false).verdict, Verdict::Unknown);
    }

    #[test]
    fn the_capability_to_lock_is_one_bit() {
        assert!(may_lock_freely("Name:\tx\nCapEff:\t0000000000004000\n"));
        assert!(!may_lock_freely("CapEff:\t0000000000000001\n"));
        assert!(!may_lock_freely("CapEff:\tnonsense\n"));
        assert!(!may_lock_freely(""));
    }

    #[test]
    fn few_descriptors_are_advice_and_far_too_few_a_problem() {
        assert_eq!(descriptors(Some(Limit::Of(256))).verdict, Verdict::Problem);
        assert_eq!(descriptors(Some(Limit::Of(4096))).verdict, Verdict::Advice);
        assert_eq!(descriptors(Some(Limit::Of(1 << 20))).verdict, Verdict::Ok);
        assert_eq!(maps(Some(65_530)).verdict, Verdict::Advice);
        assert_eq!(maps(None).verdict, Verdict::Unknown);
    }
}
