//! What is done to torrents, one after the other: a failure of one does not keep the others from it.

use std::path::PathBuf;

use api::operator::types::{Done, MoveTorrent, OperatorError, Recheck, TorrentRef};
use serde::Serialize;
use serde_json::json;

use super::client::{Client, Refusal, said, torrent_path};
use super::select::Selection;
use crate::failure::Failure;
use crate::output;

/// Serve or fetch torrents that were stopped or have failed
#[derive(Debug, clap::Args)]
pub(super) struct StartArgs {
    #[command(flatten)]
    selection: Selection,
}

/// Stop serving, fetching and announcing torrents until they are started
#[derive(Debug, clap::Args)]
pub(super) struct StopArgs {
    #[command(flatten)]
    selection: Selection,
}

/// Announce torrents to all their trackers now
#[derive(Debug, clap::Args)]
pub(super) struct AnnounceArgs {
    #[command(flatten)]
    selection: Selection,
}

/// Forget torrents; their content stays where it is
#[derive(Debug, clap::Args)]
pub(super) struct RemoveArgs {
    #[command(flatten)]
    selection: Selection,

    /// Delete their content, too
    #[arg(long)]
    delete_content: bool,

    /// Yes, all of them: without it, --all removes nothing
    #[arg(long)]
    yes: bool,
}

/// Read and compare the content of torrents again
#[derive(Debug, clap::Args)]
pub(super) struct RecheckArgs {
    #[command(flatten)]
    selection: Selection,

    /// Fetch what is lacking or wrong, instead of reporting it
    #[arg(long)]
    fetch_missing: bool,
}

/// Move the content of a torrent to another folder
#[derive(Debug, clap::Args)]
pub(super) struct MoveArgs {
    /// The torrent: its number, an info-hash or its first six or more digits, or its exact name
    #[arg(value_name = "TORRENT")]
    torrent: String,

    /// The folder, in which the content will lie under the torrent's name
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn start(client: &mut Client, args: &StartArgs, json: bool) -> Result<(), Failure> {
    each(client, &args.selection, json, "started", |client, torrent| {
        client.post(&torrent_path(torrent, "/start"), &json!({}))
    })
}

pub(super) fn stop(client: &mut Client, args: &StopArgs, json: bool) -> Result<(), Failure> {
    each(client, &args.selection, json, "stopped", |client, torrent| {
        client.post(&torrent_path(torrent, "/stop"), &json!({}))
    })
}

pub(super) fn announce(client: &mut Client, args: &AnnounceArgs, json: bool) -> Result<(), Failure> {
    each(client, &args.selection, json, "announcing", |client, torrent| {
        client.post(&torrent_path(torrent, "/announce"), &json!({}))
    })
}

pub(super) fn remove(client: &mut Client, args: &RemoveArgs, json: bool) -> Result<(), Failure> {
    if args.selection.all && !args.yes {
        return Err(Failure::new("this would remove every torrent that it is about: say --yes as well"));
    }
    let rest = if args.delete_content { "?delete_content=true" } else { "" };
    each(client, &args.selection, json, "removed", |client, torrent| client.delete(&torrent_path(torrent, rest)))
}

pub(super) fn recheck(client: &mut Client, args: &RecheckArgs, json: bool) -> Result<(), Failure> {
    let recheck = Recheck { fetch_missing: args.fetch_missing };
    each(client, &args.selection, json, "checking", |client, torrent| {
        client.post(&torrent_path(torrent, "/recheck"), &recheck)
    })
}

pub(super) fn move_to(client: &mut Client, args: &MoveArgs, json: bool) -> Result<(), Failure> {
    let folder = absolute(&args.folder)?;
    let torrent = TorrentRef(args.torrent.clone());
    let done: Done = client.post(&torrent_path(&torrent, "/move"), &MoveTorrent { folder })?;
    if json { output::json(&done) } else { output::line(&told("moving", &done)) }
}

/// A path as the service must see it, whose own folder is another.
pub(super) fn absolute(path: &std::path::Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path).map_err(|error| Failure::from(error).context(path.display()))?;
    let text = absolute.into_os_string().into_string();
    text.map_err(|path| Failure::new(format!("{}: the path is not UTF-8", path.display())))
}

/// What became of one torrent, as JSON.
#[derive(Serialize)]
struct Outcome<'a> {
    /// As it was called.
    torrent: &'a str,
    done: Option<Done>,
    error: Option<OperatorError>,
}

/// Does the same to all that are selected.
pub(super) fn each(
    client: &mut Client,
    selection: &Selection,
    json: bool,
    word: &str,
    mut act: impl FnMut(&mut Client, &TorrentRef) -> Result<Done, Refusal>,
) -> Result<(), Failure> {
    let torrents = selection.resolve(client)?;
    let mut outcomes = Vec::new();
    let mut failures = 0;
    for torrent in &torrents {
        let (done, error) = match act(client, torrent) {
            Ok(done) => (Some(done), None),
            Err(Refusal::Service(error)) => (None, Some(error)),
            Err(Refusal::Connection(failure)) => return Err(failure),
        };
        failures += usize::from(error.is_some());
        match (&done, &error) {
            _ if json => {}
            (Some(done), _) => output::line(&told(word, done))?,
            (_, Some(error)) if torrents.len() > 1 => output::error_line(&format!("{}: {}", torrent.0, said(error))),
            (_, Some(error)) => return Err(Failure::new(said(error))),
            (None, None) => {}
        }
        outcomes.push(Outcome { torrent: &torrent.0, done, error });
    }
    if json {
        output::json(&outcomes)?;
    }
    match failures {
        0 => Ok(()),
        failures => Err(Failure::new(format!("{failures} of {} torrents: not done", torrents.len()))),
    }
}

fn told(word: &str, done: &Done) -> String {
    let note = done.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
    format!("{word}  {}  {}{note}", done.id, done.name)
}
