//! A run from the outside: starts the threads, decides when measuring begins, samples the seeder, adds up.

use std::num::NonZero;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::args::Args;
use crate::board::{Board, Window};
use crate::clock::{Clock, SECOND_NS, ns};
use crate::connection::Role;
use crate::content::Content;
use crate::failure::Failure;
use crate::live::Live;
use crate::seeder::{Memory, Seeder, Used, own_cpu_ns};
use crate::tally::Tally;
use crate::worker::{Shared, Slot, Worker};

/// What a run has found.
pub(crate) struct Findings {
    pub(crate) tally: Tally,
    pub(crate) duration_s: f64,
    /// Downloading connections at the end, and connections that ended by themselves.
    pub(crate) connected: u64,
    pub(crate) unchoked: u64,
    pub(crate) lost: u64,
    /// How many were unchoked when measuring began, and how long after the start that was.
    pub(crate) unchoked_at_start: u64,
    pub(crate) measured_after_s: f64,
    /// Processor time of the load within the window.
    pub(crate) load_cpu_s: f64,
    pub(crate) seeder: Option<SeederFindings>,
    /// Bytes by time, within the window.
    pub(crate) timeline: Vec<Sample>,
}

/// What the seeder spent within the window, and its peaks in it.
pub(crate) struct SeederFindings {
    pub(crate) pid: u32,
    pub(crate) cpu_s: f64,
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
    pub(crate) memory: Memory,
}

/// Payload bytes between the sample before and this one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) t_s: f64,
    pub(crate) bytes: u64,
}

/// How often the watcher looks before the window.
const LOOK: Duration = Duration::from_millis(10);

/// The window begins so long after it was decided on, so that every thread knows.
const NOTICE_NS: u64 = 30_000_000;

/// Carries out the run.
pub(crate) fn run(args: &Args, content: &Content) -> Result<Findings, Failure> {
    let seeder = args.pid.map(Seeder::new).transpose()?;
    if let Some(mismatch) = args.sources.mismatch(args.target) {
        return Err(Failure::new(mismatch));
    }
    let cores = args.cores.as_deref().map(cores).transpose()?;
    if let Some(cores) = &cores {
        pin(cores)?;
    }
    raise_file_limit(args)?;
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|error| Failure::new(format!("no random bytes: {error}")))?;
    let (clock, window) = (Clock::start(), Window::new());
    let shared = Shared { args, content, clock, window: &window, seed: u64::from_le_bytes(seed) };
    let boards: Vec<Board> = (0..args.threads).map(|_| Board::default()).collect();

    let workers: Vec<Worker<'_>> = share(args)
        .into_iter()
        .zip(&boards)
        .map(|(slots, board)| {
            let measured = slots.iter().filter(|slot| slot.role.is_measured()).count();
            let rate = args.rate.map(|rate| rate as f64 * measured as f64 / f64::from(args.connections.max(1)));
            Worker::new(&shared, board, slots, rate.filter(|rate| *rate > 0.0))
        })
        .collect::<Result<_, _>>()?;

    thread::scope(|scope| {
        let threads: Vec<_> = workers
            .into_iter()
            .enumerate()
            .map(|(number, worker)| {
                let core = cores.as_ref().map(|cores| cores[number % cores.len()]);
                scope.spawn(move || {
                    core.map(|core| pin(&[core])).transpose()?;
                    worker.run()
                })
            })
            .collect();
        let alive = || threads.iter().all(|thread| !thread.is_finished());
        let mut findings = watch(args, clock, &window, &boards, seeder.as_ref(), alive)?;
        for thread in threads {
            let tally = thread.join().map_err(|_| Failure::new("a thread of the load ended by a fault of its own"))?;
            findings.tally.add(&tally?)?;
        }
        Ok(findings)
    })
}

/// The connections of each thread: dealt in turn, so that every thread has its share of each kind, measured ones first.
pub(crate) fn share(args: &Args) -> Vec<Vec<Slot>> {
    let mut shares: Vec<Vec<Slot>> = (0..args.threads).map(|_| Vec::new()).collect();
    let measured = (0..u64::from(args.connections)).map(|number| {
        // Spread evenly: the connection where the share of verified ones passes the next whole number.
        let verified = |count: u64| count * u64::from(args.verify) / 100;
        if verified(number + 1) > verified(number) { Role::Verify } else { Role::Discard }
    });
    let slow = args.slow.into_iter().flat_map(|slow| (0..slow.count).map(move |_| Role::Slow(slow.rate_bytes)));
    let metadata = (0..args.metadata).map(|_| Role::Metadata);
    for (number, role) in measured.chain(slow).chain(metadata).enumerate() {
        shares[number % args.threads as usize].push(Slot {
            number,
            role,
            connection: None,
            generation: 0,
            window_bytes: None,
            allowance: 0,
        });
    }
    shares
}

/// Sums of all boards.
#[derive(Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) bytes: u64,
    pub(crate) pending: u64,
    pub(crate) connected: u64,
    pub(crate) unchoked: u64,
    pub(crate) lost: u64,
    last_connect_ns: u64,
}

fn totals(boards: &[Board]) -> Totals {
    boards.iter().fold(Totals::default(), |sum, board| Totals {
        // First, see `Board::pending`.
        pending: sum.pending + board.pending.load(Acquire),
        bytes: sum.bytes + board.bytes.load(Relaxed),
        connected: sum.connected + board.connected.load(Relaxed),
        unchoked: sum.unchoked + board.unchoked.load(Relaxed),
        lost: sum.lost + board.lost.load(Relaxed),
        last_connect_ns: sum.last_connect_ns.max(board.last_connect_ns.load(Relaxed)),
    })
}

/// Watches the run until the window's end.
fn watch(
    args: &Args,
    clock: Clock,
    window: &Window,
    boards: &[Board],
    seeder: Option<&Seeder>,
    alive: impl Fn() -> bool,
) -> Result<Findings, Failure> {
    let mut live = Live::new(args.quiet);
    await_settled(args, clock, boards, &mut live, &alive);
    let start_ns = clock.now_ns() + NOTICE_NS;
    let end_ns = start_ns + ns(args.duration).max(1);
    window.set(start_ns, end_ns);
    sleep_until(clock, start_ns);

    let before = totals(boards);
    let (own_before, used_before) = (own_cpu_ns(), seeder.and_then(Seeder::used));
    let mut memory = Memory::default();
    let mut timeline = Vec::new();
    let step_ns = (ns(args.duration) / SAMPLES).clamp(SHORTEST_STEP_NS, SECOND_NS);
    let (mut bytes, mut next_memory_ns) = (before.bytes, start_ns);
    while alive() {
        if clock.now_ns() >= next_memory_ns {
            let asked_ns = clock.now_ns();
            memory = seeder.and_then(Seeder::memory).map_or(memory, |now| memory.or_more(now));
            // The kernel walks all mapped pages for this, at our cost and under the seeder's lock: a hundredth of the time.
            next_memory_ns = asked_ns + SECOND_NS.max(100 * (clock.now_ns() - asked_ns));
        }
        let until_ns = (start_ns + (timeline.len() as u64 + 1) * step_ns).min(end_ns);
        sleep_until(clock, until_ns);
        let now = totals(boards);
        timeline.push(Sample { t_s: seconds(until_ns - start_ns), bytes: now.bytes - bytes });
        bytes = now.bytes;
        live.show(seconds(clock.now_ns()), &now, Some(seconds(end_ns - until_ns)));
        if until_ns >= end_ns {
            break;
        }
    }
    let (own_after, used_after) = (own_cpu_ns(), seeder.and_then(Seeder::used));
    let after = totals(boards);
    live.end();
    let seeder = match (args.pid, used_before, used_after) {
        (Some(pid), Some(from), Some(to)) => Some(spent(pid, from, to, memory)),
        (Some(pid), ..) => return Err(Failure::new(format!("the seeder, process {pid}, ended during the run"))),
        _ => None,
    };
    Ok(Findings {
        tally: Tally::new()?,
        duration_s: seconds(end_ns - start_ns),
        connected: after.connected,
        unchoked: after.unchoked,
        lost: after.lost,
        unchoked_at_start: before.unchoked,
        measured_after_s: seconds(start_ns),
        load_cpu_s: seconds(own_after - own_before),
        seeder,
        timeline,
    })
}

/// Points of the timeline in a short run; a long one has one a second.
const SAMPLES: u64 = 40;
const SHORTEST_STEP_NS: u64 = 100_000_000;

/// Waits for `warm_up` after the last connect, and until all connections are unchoked or `unchoke_wait` more has passed.
fn await_settled(args: &Args, clock: Clock, boards: &[Board], live: &mut Live, alive: &impl Fn() -> bool) {
    while alive() {
        thread::sleep(LOOK);
        let (now, now_ns) = (totals(boards), clock.now_ns());
        live.show(seconds(now_ns), &now, None);
        let settled_ns = now.last_connect_ns + ns(args.warm_up);
        let is_over = now_ns >= settled_ns + ns(args.unchoke_wait);
        // Churn always leaves some that are not unchoked yet.
        let all_unchoked = now.pending == 0 && now.unchoked + u64::from(args.churn) >= now.connected;
        if now_ns >= ns(args.ramp) && now_ns >= settled_ns && (all_unchoked || is_over) {
            break;
        }
    }
}

fn spent(pid: u32, from: Used, to: Used, memory: Memory) -> SeederFindings {
    SeederFindings {
        pid,
        cpu_s: seconds(to.cpu_ns.saturating_sub(from.cpu_ns)),
        user_s: to.user_s - from.user_s,
        system_s: to.system_s - from.system_s,
        memory,
    }
}

impl Memory {
    fn or_more(self, other: Memory) -> Memory {
        Memory {
            anonymous_bytes: self.anonymous_bytes.max(other.anonymous_bytes),
            pss_bytes: self.pss_bytes.max(other.pss_bytes),
        }
    }
}

fn sleep_until(clock: Clock, at_ns: u64) {
    thread::sleep(Duration::from_nanos(at_ns.saturating_sub(clock.now_ns())));
}

fn seconds(time_ns: u64) -> f64 {
    time_ns as f64 / SECOND_NS as f64
}

/// Pins the calling thread, and those that it starts.
fn pin(cores: &[usize]) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    sched_setaffinity(None, &set)
        .map_err(|error| Failure::new(format!("--cores {cores:?} cannot be had here: {error}; see taskset -p $$")))
}

/// Parses `1` or `2,4-7`.
fn cores(text: &str) -> Result<Vec<usize>, Failure> {
    let wrong = || Failure::new(format!("--cores {text:?} is not a list of cores such as 1 or 2,4-7"));
    let number = |text: &str| text.parse::<usize>().ok().filter(|core| *core < CpuSet::MAX_CPU).ok_or_else(wrong);
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cores.extend(number(first)?..=number(last)?);
    }
    NonZero::new(cores.len()).map(|_| cores).ok_or_else(wrong)
}

/// A socket for each connection, and some files.
fn raise_file_limit(args: &Args) -> Result<(), Failure> {
    let slow = args.slow.map_or(0, |slow| slow.count);
    let needed = u64::from(args.connections) + u64::from(args.metadata) + u64::from(slow) + SPARE_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum })?;
    if raised < needed {
        return Err(Failure::new(format!(
            "{needed} open files are needed and {raised} are allowed: raise the limit (ulimit -Hn) or take fewer connections"
        )));
    }
    Ok(())
}

const SPARE_FILES: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_read_as_taskset_has_them() {
        assert_eq!(cores("1").unwrap(), [1]);
        assert_eq!(cores("2,4-6").unwrap(), [2, 4, 5, 6]);
        for text in ["", "a", "1,", "3-1", "-1", "99999999"] {
            assert!(cores(text).is_err(), "{text}");
        }
    }
}
