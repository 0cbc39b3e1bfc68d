//! `spillway show`: what a torrent file or a magnet link says, as text or as JSON. The JSON keys are a contract.

mod text;

use std::ffi::OsString;
use std::path::Path;

use metainfo::{FileEntry, Magnet, MagnetError, Torrent, Version};
use serde::Serialize;

use crate::failure::Failure;
use crate::{output, torrent_file};

/// Show what a torrent file or a magnet link holds.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The torrent file, or the magnet link in quotes
    #[arg(value_name = "FILE|MAGNET")]
    target: OsString,

    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

/// Prints it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match args.target.to_str().filter(|text| is_magnet(text)) {
        Some(link) => {
            let magnet: Magnet =
                link.parse().map_err(|error: MagnetError| Failure::from(error).context("magnet link"))?;
            let shown = ShownMagnet::new(&magnet);
            if args.json { output::json(&shown) } else { output::lines(&text::of_magnet(&shown)) }
        }
        None => {
            let torrent = torrent_file::read(Path::new(&args.target))?;
            let shown = ShownTorrent::new(&torrent);
            if args.json { output::json(&shown) } else { output::lines(&text::of_torrent(&shown)) }
        }
    }
}

/// Schemes are case-insensitive (RFC 3986, section 3.1).
fn is_magnet(text: &str) -> bool {
    text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("magnet:"))
}

/// A torrent as it is shown.
#[derive(Debug, Serialize)]
struct ShownTorrent<'a> {
    name: &'a str,
    /// `v1`, `v2` or `hybrid`.
    version: &'static str,
    info_hash_v1: Option<String>,
    info_hash_v2: Option<String>,
    piece_length: u32,
    piece_count: u32,
    /// Bytes of content, pads left out.
    total_size: u64,
    private: bool,
    /// Tiers of announce URLs.
    trackers: &'a [Vec<String>],
    web_seeds: &'a [String],
    http_seeds: &'a [String],
    comment: Option<&'a str>,
    created_by: Option<&'a str>,
    /// Seconds since 1970.
    creation_date: Option<i64>,
    source: Option<&'a str>,
    magnet: String,
    files: Vec<ShownFile>,
}

/// A file as it is shown.
#[derive(Debug, Serialize)]
struct ShownFile {
    /// With `/`, and with the torrent's name in front in a torrent of many files.
    path: String,
    length: u64,
    pad: bool,
    executable: bool,
    hidden: bool,
    /// Where a link leads, from the torrent's folder.
    symlink_target: Option<String>,
    /// The root of the file's merkle tree in v2 and hybrid torrents.
    pieces_root: Option<String>,
}

/// A magnet link as it is shown.
#[derive(Debug, Serialize)]
struct ShownMagnet<'a> {
    name: Option<&'a str>,
    info_hash_v1: Option<String>,
    info_hash_v2: Option<String>,
    total_size: Option<u64>,
    /// A tier for each, as clients take them.
    trackers: Vec<[&'a str; 1]>,
    web_seeds: &'a [String],
    /// `host:port` each.
    peers: Vec<String>,
    /// First and last index of each range of files (BEP 53).
    select_only: Vec<[u32; 2]>,
}

impl<'a> ShownTorrent<'a> {
    fn new(torrent: &'a Torrent) -> ShownTorrent<'a> {
        let layout = torrent.layout();
        let top = if layout.is_single_file() { None } else { Some(layout.name()) };
        ShownTorrent {
            name: layout.name(),
            version: match torrent.version() {
                Version::V1 => "v1",
                Version::V2 => "v2",
                Version::Hybrid => "hybrid",
            },
            info_hash_v1: torrent.info_hash_v1().map(|hash| hash.to_string()),
            info_hash_v2: torrent.info_hash_v2().map(|hash| hash.to_string()),
            piece_length: layout.piece_length(),
            piece_count: layout.piece_count(),
            total_size: layout.total_size(),
            private: torrent.is_private(),
            trackers: torrent.trackers(),
            web_seeds: torrent.web_seeds(),
            http_seeds: torrent.http_seeds(),
            comment: torrent.comment(),
            created_by: torrent.created_by(),
            creation_date: torrent.creation_date(),
            source: torrent.source(),
            magnet: torrent.magnet().to_string(),
            files: layout.files().iter().map(|file| ShownFile::new(file, top)).collect(),
        }
    }
}

impl ShownFile {
    fn new(file: &FileEntry, top: Option<&str>) -> ShownFile {
        ShownFile {
            path: top.map_or_else(|| file.path().to_string(), |top| format!("{top}/{}", file.path())),
            length: file.length(),
            pad: file.is_pad(),
            executable: file.executable(),
            hidden: file.hidden(),
            symlink_target: file.symlink_target().map(ToString::to_string),
            pieces_root: file.pieces_root().map(|root| root.to_string()),
        }
    }
}

impl<'a> ShownMagnet<'a> {
    fn new(magnet: &'a Magnet) -> ShownMagnet<'a> {
        ShownMagnet {
            name: magnet.name.as_deref(),
            info_hash_v1: magnet.info_hash_v1.map(|hash| hash.to_string()),
            info_hash_v2: magnet.info_hash_v2.map(|hash| hash.to_string()),
            total_size: magnet.total_size,
            trackers: magnet.trackers.iter().map(|tracker| [tracker.as_str()]).collect(),
            web_seeds: &magnet.web_seeds,
            peers: magnet.peers.iter().map(|peer| format!("{}:{}", peer.host, peer.port)).collect(),
            select_only: magnet.select_only.iter().map(|range| [*range.start(), *range.end()]).collect(),
        }
    }
}
