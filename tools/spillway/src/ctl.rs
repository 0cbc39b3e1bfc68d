//! `spillway ctl`: what an operator does to a running service, over its socket. The JSON that it prints is the API's own
//! (`api::operator::types`), so it is a contract.

mod act;
mod add;
mod change;
mod client;
mod limits;
mod look;
mod select;
pub(crate) mod served;
mod table;

use std::path::PathBuf;

use crate::failure::Failure;

/// Look at and steer a running `spillway serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service's socket [default: /run/spillway/control.sock, else spillway/control.sock in $XDG_RUNTIME_DIR]
    #[arg(long, global = true, value_name = "PATH", env = "SPILLWAY_SOCKET")]
    socket: Option<PathBuf>,

    /// Print JSON for programs
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    List(look::ListArgs),
    Show(look::OneArgs),
    Add(add::Args),
    Remove(act::RemoveArgs),
    Start(act::StartArgs),
    Stop(act::StopArgs),
    Recheck(act::RecheckArgs),
    Announce(act::AnnounceArgs),
    Limit(limits::Args),
    Move(act::MoveArgs),
    /// Show how the service is as a whole
    Stats,
    Peers(look::PeersArgs),
    Trackers(look::TrackersArgs),
    Files(look::FilesArgs),
    /// Read the settings again; what cannot change live is said
    Reload,
    /// List what the published trees hold
    Releases,
    Rescan(change::RescanArgs),
    /// Show which version answers
    Version,
}

/// Does one thing.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut client = client::Client::connect(args.socket.as_deref())?;
    let (client, json) = (&mut client, args.json);
    match &args.verb {
        Verb::List(list) => look::list(client, list, json),
        Verb::Show(one) => look::show(client, one, json),
        Verb::Add(add) => add::run(client, add, json),
        Verb::Remove(remove) => act::remove(client, remove, json),
        Verb::Start(start) => act::start(client, start, json),
        Verb::Stop(stop) => act::stop(client, stop, json),
        Verb::Recheck(recheck) => act::recheck(client, recheck, json),
        Verb::Announce(announce) => act::announce(client, announce, json),
        Verb::Limit(limit) => limits::run(client, limit, json),
        Verb::Move(to) => act::move_to(client, to, json),
        Verb::Stats => look::stats(client, json),
        Verb::Peers(one) => look::peers(client, one, json),
        Verb::Trackers(one) => look::trackers(client, one, json),
        Verb::Files(one) => look::files(client, one, json),
        Verb::Reload => change::reload(client, json),
        Verb::Releases => change::releases(client, json),
        Verb::Rescan(rescan) => change::rescan(client, rescan, json),
        Verb::Version => change::version(client, json),
    }
}
