//! `spillway verify`: whether files on disk are what a torrent says.

use std::path::PathBuf;
use std::sync::Arc;

use indicatif::HumanCount;
use metainfo::{FileIndex, Torrent};
use serde::Serialize;
use storage::{Meter, Place, VerifyReport};

use crate::failure::Failure;
use crate::{output, progress, torrent_file};

/// Check files against a torrent: every piece, on every core.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The torrent file
    file: PathBuf,

    /// The content: the file or directory itself, or the directory that holds it under the torrent's name
    path: PathBuf,

    /// Threads that hash [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,

    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

/// What was found. The JSON keys are for programs to rely on.
#[derive(Debug, Serialize)]
struct Verdict {
    name: String,
    complete: bool,
    piece_count: u32,
    bad_pieces: Vec<u32>,
    bad_files: Vec<BadFile>,
}

/// A file that is not what the torrent says.
#[derive(Debug, Serialize)]
struct BadFile {
    /// With `/`, below the torrent's folder.
    path: String,
    /// How many of its pieces are wrong or missing.
    bad_pieces: usize,
    /// Why it could not be read, if that is so.
    error: Option<String>,
}

/// Verifies, prints the verdict, and fails if anything is missing or wrong.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let torrent = torrent_file::read(&args.file)?;
    let place = Place::find(torrent.layout(), &args.path);
    let meter = Arc::new(Meter::new());
    let report = progress::shown("verifying", &meter, || seedbox::verify(&torrent, &place, args.threads, &meter))?;
    let verdict = Verdict::new(&torrent, &report);
    if args.json {
        output::json(&verdict)?;
    } else {
        output::lines(&verdict.lines())?;
    }
    match verdict.problem() {
        None => Ok(()),
        Some(problem) => Err(Failure::new(problem).context(args.path.display())),
    }
}

impl Verdict {
    fn new(torrent: &Torrent, report: &VerifyReport) -> Verdict {
        let layout = torrent.layout();
        let bad_file = |file: FileIndex| {
            let problem = report.problems.iter().find(|problem| problem.file == file);
            let bad_pieces = report.bad_pieces_of(layout, file);
            let is_bad = problem.is_some() || (bad_pieces > 0 && !layout.file(file).is_pad());
            is_bad.then(|| BadFile {
                path: layout.file(file).path().to_string(),
                bad_pieces,
                error: problem.map(|problem| problem.error.to_string()),
            })
        };
        Verdict {
            name: layout.name().to_owned(),
            complete: report.is_complete(),
            piece_count: report.piece_count,
            bad_pieces: report.bad_pieces.iter().map(|piece| piece.get()).collect(),
            bad_files: layout.file_indices().filter_map(bad_file).collect(),
        }
    }

    /// One line for each bad file, or one that says that all is well.
    fn lines(&self) -> Vec<String> {
        if self.complete {
            return vec![format!("{}: all {} pieces are right", self.name, HumanCount(self.piece_count.into()))];
        }
        self.bad_files.iter().map(BadFile::line).collect()
    }

    /// The failure in one line, with the first bad file as a lead.
    fn problem(&self) -> Option<String> {
        if self.complete {
            return None;
        }
        let (files, pieces) = (self.bad_files.len(), self.bad_pieces.len());
        let nouns = if files == 1 { "file is" } else { "files are" };
        let first = self.bad_files.first().map(|file| format!("; first: {}", file.line())).unwrap_or_default();
        let all = HumanCount(self.piece_count.into());
        Some(format!("{files} {nouns} missing or wrong, {pieces} of {all} pieces{first}"))
    }
}

impl BadFile {
    fn line(&self) -> String {
        match &self.error {
            // Errors about files name them.
            Some(error) => error.clone(),
            None if self.bad_pieces == 1 => format!("{}: 1 piece is wrong", self.path),
            None => format!("{}: {} pieces are wrong", self.path, self.bad_pieces),
        }
    }
}
