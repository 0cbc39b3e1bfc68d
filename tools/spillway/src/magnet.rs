//! `spillway magnet`: the magnet link of a torrent file.

use std::path::PathBuf;

use crate::failure::Failure;
use crate::{output, torrent_file};

/// Print the magnet link of a torrent file.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The torrent file
    file: PathBuf,
}

/// Prints the link.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    output::line(&torrent_file::read(&args.file)?.magnet().to_string())
}
