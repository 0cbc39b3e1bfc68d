//! A minimal, honest BitTorrent seeder of one complete torrent, to compare ways to receive requests and send blocks on
//! the machine at hand, on the same work. `epoll-sendmsg` is the floor of `benches/sidebyside`: what a seeder costs that
//! does nothing else. What came of the comparison is told in `engine/decisions`; `compare` beside this file makes it.

mod batch;
mod buffers;
mod content;
mod copy;
mod each;
mod epoll;
mod listen;
mod options;
mod peer;
mod ring;
mod wait;
mod zero_copy;

use batch::Batch;
use clap::Parser;
use content::Content;
use copy::Copied;
use each::{Each, FromFile};
use epoll::{EpollSeeder, Gathered, Sender};
use options::{Options, Path};
use rustix::fd::OwnedFd;
use std::io::{self, Write};
use std::process::ExitCode;
use zero_copy::ZeroCopy;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done about a standard error that is closed.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let content = Content::open(&options.torrent, &options.data)?;
    if let Some(core) = options.core {
        stay_on(core)?;
    }
    // Turn delays are shorter than the 50 microseconds by which timers may be late by default (prctl(2)).
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1))?;
    let listener = listen::listen(options.listen)?;
    let address = std::net::SocketAddr::try_from(rustix::net::getsockname(&listener)?)?;
    writeln!(io::stdout(), "listening on {address}")?;
    match options.path {
        Path::EpollSendmsg => serve(&content, listener, Gathered { batch: Batch::new() }, options),
        Path::EpollSendmsgEach => serve(&content, listener, Each { batch: Batch::new() }, options),
        Path::EpollNowaitCopy => serve(&content, listener, Copied::new(), options),
        Path::EpollMsgZerocopy => serve(&content, listener, ZeroCopy::default(), options),
        Path::EpollSendfile => serve(&content, listener, FromFile { corked: false }, options),
        Path::EpollSendfileCorked => serve(&content, listener, FromFile { corked: true }, options),
        Path::RingPoll | Path::RingMultishot | Path::RingSendZc => {
            ring::RingSeeder::new(&content, listener, options)?.run()
        }
    }
}

fn serve<S: Sender>(content: &Content, listener: OwnedFd, sender: S, options: &Options) -> io::Result<()> {
    EpollSeeder::new(content, listener, sender, options)?.run()
}

fn stay_on(core: usize) -> io::Result<()> {
    let mut cores = rustix::thread::CpuSet::new();
    if core >= rustix::thread::CpuSet::MAX_CPU {
        return Err(io::Error::other("there is no such core"));
    }
    cores.set(core);
    Ok(rustix::thread::sched_setaffinity(None, &cores)?)
}
