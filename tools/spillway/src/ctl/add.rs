//! `spillway ctl add`: a torrent from a file that the caller can read, or from a magnet link.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use api::operator::types::{AddTorrent, Done, TorrentSource};

use super::act::absolute;
use super::client::Client;
use super::limits::LimitOptions;
use crate::failure::Failure;
use crate::{output, torrent_file};

/// Add a torrent: what is there of its content is served, what is lacking is fetched
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The torrent file, or the magnet link in quotes
    #[arg(value_name = "TORRENT|MAGNET")]
    target: OsString,

    /// The folder in which the content lies, or goes, under the torrent's name
    #[arg(short, long, value_name = "DIR", required_unless_present = "content")]
    folder: Option<PathBuf>,

    /// The content itself, where it is called otherwise than the torrent
    #[arg(long, value_name = "PATH", conflicts_with = "folder")]
    content: Option<PathBuf>,

    /// A peer to begin with; may be used more than once
    #[arg(long, value_name = "ADDR:PORT")]
    peer: Vec<std::net::SocketAddr>,

    /// Keep it, but neither serve nor fetch it until it is started
    #[arg(long)]
    stopped: bool,

    #[command(flatten)]
    limits: LimitOptions,
}

pub(super) fn run(client: &mut Client, args: &Args, json: bool) -> Result<(), Failure> {
    let place = args.content.as_deref().or(args.folder.as_deref()).unwrap_or(Path::new("."));
    let mut limits = args.limits.change();
    let add = AddTorrent {
        source: source(&args.target)?,
        folder: absolute(place)?,
        folder_is_content: args.content.is_some(),
        peers: args.peer.iter().map(ToString::to_string).collect(),
        group: limits.group.take().flatten(),
        stopped: args.stopped,
        limits,
    };
    let done: Done = client.post("/v1/torrents", &add)?;
    if json {
        return output::json(&done);
    }
    let note = done.note.map(|note| format!(" ({note})")).unwrap_or_default();
    output::line(&format!("added  {}  {}{note}", done.id, done.name))
}

/// The file is read here: the service may not be allowed to.
fn source(target: &OsString) -> Result<TorrentSource, Failure> {
    let is_link = |text: &&str| text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("magnet:"));
    match target.to_str().filter(is_link) {
        Some(link) => Ok(TorrentSource::Magnet(link.to_owned())),
        None => Ok(TorrentSource::Torrent(torrent_file::read_bytes(Path::new(target))?)),
    }
}
