//! `spillway create`: a torrent file from a file or a directory, and what download programs want beside it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use publish::checksums::sha256_sums;
use publish::metalink::{MetalinkOptions, Mirror, metalink, names_of};
use seedbox::{CreateOptions, CreatedTorrent};
use storage::{Meter, Symlinks};

use crate::failure::Failure;
use crate::output;
use crate::progress;
use crate::ready::ReadyTorrent;
use crate::torrent_options::TorrentOptions;

/// Make a torrent file from a file or a directory.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file or directory to make a torrent of
    path: PathBuf,

    /// Where to write the torrent file; one that is there is replaced
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    #[command(flatten)]
    torrent: TorrentOptions,

    /// Peers may come from the torrent's trackers only (BEP 27)
    #[arg(long)]
    private: bool,

    /// A note for people
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,

    /// A site's mark, which gives the torrent an info-hash of its own
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,

    /// The torrent's name [default: that of PATH]
    #[arg(long)]
    name: Option<String>,

    /// Leave out files and directories whose name or path below PATH matches; may be used more than once
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,

    /// What to do with symbolic links below PATH
    #[arg(long, value_enum, default_value_t = LinkRule::Keep)]
    symlinks: LinkRule,

    /// Seconds since 1970, or `none`; fix it to get the same file every time [default: now]
    #[arg(long, value_name = "T", value_parser = parse_date, allow_negative_numbers = true)]
    creation_date: Option<CreationDate>,

    /// Also write a Metalink (RFC 5854), for programs that download from mirrors
    #[arg(long, value_name = "FILE", requires = "mirror")]
    metalink: Option<PathBuf>,

    /// The URL of a folder that holds the same content under its name, for the Metalink; may be used more than once, the best
    /// first
    #[arg(long, value_name = "URL", requires = "metalink")]
    mirror: Vec<url::Url>,

    /// Also write the files' SHA-256, for `sha256sum --check` in the folder that holds the content
    #[arg(long, value_name = "FILE")]
    sha256sums: Option<PathBuf>,

    /// Threads that hash [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,

    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LinkRule {
    /// Keep them as links (BEP 47); they have to lead to something inside PATH
    Keep,
    /// Take what they lead to
    Follow,
    /// Fail
    Refuse,
}

#[derive(Clone, Copy, Debug)]
enum CreationDate {
    Seconds(i64),
    None,
}

/// Hashes the files and writes the torrent.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let options = options(args);
    let meter = Arc::new(Meter::new());
    let work = || seedbox::create(&args.path, &options, args.threads, &meter);
    let created = progress::shown("hashing", &meter, work).map_err(Failure::from)?;
    let metalink = args.metalink.as_ref().map(|path| Ok::<_, Failure>((path, metalink_of(&created, &args.mirror)?)));
    storage::write_atomically(&args.output, &created.bytes)?;
    if let Some((path, text)) = metalink.transpose()? {
        storage::write_atomically(path, text.as_bytes())?;
    }
    if let Some(path) = &args.sha256sums {
        storage::write_atomically(path, sums_of(&created).as_bytes())?;
    }
    let shown = ReadyTorrent::new(&created.torrent, &args.output);
    if args.json { output::json(&shown) } else { output::lines(&shown.lines()) }
}

fn metalink_of(created: &CreatedTorrent, mirrors: &[url::Url]) -> Result<String, Failure> {
    let numbered = mirrors.iter().zip(1..);
    let mirror = |(url, priority): (&url::Url, u32)| Mirror {
        base_url: url.to_string(),
        location: None,
        priority: Some(priority),
    };
    let mirrors: Vec<Mirror> = numbered.map(mirror).collect();
    let options = MetalinkOptions {
        generator: Some(concat!("spillway/", env!("CARGO_PKG_VERSION"))),
        published_s: created.torrent.creation_date(),
        mirrors: &mirrors,
        ..MetalinkOptions::default()
    };
    Ok(metalink(&created.torrent, &created.file_sha256, &options)?)
}

fn sums_of(created: &CreatedTorrent) -> String {
    let files = created.torrent.layout().file_indices().zip(&created.file_sha256);
    let lines: Vec<_> =
        files.filter_map(|(file, sum)| Some(((*sum)?, names_of(&created.torrent, file).join("/")))).collect();
    sha256_sums(lines.iter().map(|(sum, path)| (*sum, path.as_str())))
}

fn options(args: &Args) -> CreateOptions {
    CreateOptions {
        name: args.name.clone(),
        is_private: args.private,
        comment: args.comment.clone(),
        source: args.source.clone(),
        creation_date: match args.creation_date {
            Some(CreationDate::Seconds(seconds)) => Some(seconds),
            Some(CreationDate::None) => None,
            None => now(),
        },
        exclude: args.exclude.clone(),
        symlinks: match args.symlinks {
            LinkRule::Keep => Symlinks::Keep,
            LinkRule::Follow => Symlinks::Follow,
            LinkRule::Refuse => Symlinks::Refuse,
        },
        file_sha256: args.metalink.is_some() || args.sha256sums.is_some(),
        ..args.torrent.to_create_options()
    }
}

/// A clock before 1970 gives no date.
fn now() -> Option<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

fn parse_date(text: &str) -> Result<CreationDate, String> {
    match text {
        "none" => Ok(CreationDate::None),
        _ => text
            .parse()
            .map(CreationDate::Seconds)
            .map_err(|_| "not a number of seconds since 1970, nor none".to_owned()),
    }
}
