//! What the seeder's process costs, read from outside. Processor time comes from the process's own CPU clock
//! (clock_getcpuclockid(3)): nanoseconds, and threads that have ended count, while /proc/PID/stat has hundredths of a second
//! and /proc/PID/task forgets the threads that are gone. Only the split into user and system comes from stat.

use std::fs;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::clock::SECOND_NS;
use crate::failure::Failure;

/// A process that is watched.
#[derive(Debug)]
pub(crate) struct Seeder {
    pid: u32,
    clock: ClockId,
}

/// Processor time that the process has used since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Used {
    pub(crate) cpu_ns: u64,
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
}

/// Memory that the process has now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Pages that no file backs.
    pub(crate) anonymous_bytes: u64,
    /// Its share of all pages, mapped files among them.
    pub(crate) pss_bytes: u64,
}

impl Seeder {
    /// Watches a process.
    pub(crate) fn new(pid: u32) -> Result<Seeder, Failure> {
        let gone = || Failure::new(format!("there is no process {pid}: give the seeder's with --pid"));
        let id = i32::try_from(pid).map_err(|_| gone())?;
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(id)).map_err(|_| gone())?;
        let seeder = Seeder { pid, clock };
        seeder.used().map(|_| seeder).ok_or_else(gone)
    }

    /// Processor time so far; `None` if the process is gone.
    pub(crate) fn used(&self) -> Option<Used> {
        let time = clock_gettime(self.clock).ok()?;
        let cpu_ns = time.tv_sec() as u64 * SECOND_NS + time.tv_nsec() as u64;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        // The name may hold blanks and brackets; behind its last bracket come fields 3 and on, utime and stime are 14 and 15.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let mut seconds = || fields.next()?.parse::<f64>().ok().map(|ticks| ticks / ticks_per_second());
        Some(Used { cpu_ns, user_s: seconds()?, system_s: seconds()? })
    }

    /// Memory now; `None` if it cannot be read.
    pub(crate) fn memory(&self) -> Option<Memory> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).ok()?;
        Some(Memory { anonymous_bytes: kilobytes(&text, "Anonymous:")?, pss_bytes: kilobytes(&text, "Pss:")? })
    }
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// The number on the line that begins with `name`; smaps has kilobytes of 1024.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Processor time that this process has used.
pub(crate) fn own_cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * SECOND_NS + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_from_outside() {
        let own = Seeder::new(std::process::id()).unwrap();
        let before = own.used().unwrap();
        while own.used().unwrap().cpu_ns < before.cpu_ns + 20_000_000 {}
        assert!(own_cpu_ns() >= before.cpu_ns + 20_000_000);
        let memory = own.memory().unwrap();
        assert!(memory.anonymous_bytes > 0 && memory.pss_bytes > 0);
    }

    #[test]
    fn a_process_that_is_not_there_is_said_so() {
        assert!(Seeder::new(u32::MAX).is_err());
        assert!(Seeder::new(i32::MAX as u32).is_err());
    }

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let text = "Pss_Anon: 9 kB\nPss:        3 kB\nAnonymous:   2 kB\n";
        assert_eq!((kilobytes(text, "Pss:"), kilobytes(text, "Anonymous:")), (Some(3072), Some(2048)));
        assert_eq!(kilobytes(text, "Rss:"), None);
    }
}
