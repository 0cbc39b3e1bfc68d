//! From a path, or a torrent file and a folder, to something an engine can serve: made or verified once, remembered
//! from then on.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use metainfo::{Extent, Torrent, TorrentError};
use storage::{Content, Meter, Place, Seeded, StorageError, VerifiedRecord, VerifyReport};

use crate::create::{CreateError, CreateOptions, recreate};
use crate::state::{self, StateDir};
use crate::verify::{VerifyError, verify};

/// A torrent with its content, ready for [`crate::Engine::add`].
#[derive(Debug)]
pub struct Release {
    /// The torrent and its content.
    pub seeded: Arc<Seeded>,
    /// Where the torrent file lies.
    pub torrent_file: PathBuf,
    /// The content was not read: it is as it was when it was last verified, or it is trusted.
    pub is_recalled: bool,
}

/// Why there is nothing to serve.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// No torrent could be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The content could not be verified.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Files.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The torrent file cannot be read.
    #[error("{}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The torrent file is none.
    #[error("{}: {source}", .path.display())]
    Torrent {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TorrentError,
    },
    /// The content is not what the torrent says.
    #[error("{}: {reason}", .path.display())]
    Incomplete {
        /// The torrent file.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The content changed between its hashing and its opening.
    #[error("{}: changed while it was hashed; publish it again when it is complete", .path.display())]
    Changed {
        /// The content.
        path: PathBuf,
    },
}

/// Makes a torrent of the content at `path` and keeps it in `state`. Files that have not changed since the last time are not
/// hashed again, whatever else of the options has.
pub fn publish(
    path: &Path,
    options: &CreateOptions,
    state: &StateDir,
    threads: Option<NonZeroUsize>,
    meter: &Arc<Meter>,
) -> Result<Release, ReleaseError> {
    let release_dir = state.release_dir(path);
    state::check_writable(&release_dir)?;
    let known = kept_name(&release_dir).and_then(|name| state::recall(&release_dir, &name));
    let created = recreate(path, options, known.as_ref(), threads, meter)?;
    let content = Content::open(created.torrent.layout(), &created.place)?;
    let record = created.record().filter(|record| record_fits(record, &created.torrent, &content));
    let record = record.ok_or_else(|| ReleaseError::Changed { path: path.to_path_buf() })?;
    let name = created.torrent.layout().name();
    if let Some(old) = kept_name(&release_dir).filter(|old| old != name) {
        // Only one torrent file may lie there; that an old one is gone already does no harm.
        let _ = std::fs::remove_file(state::torrent_path(&release_dir, &old));
    }
    let torrent_file = state::remember(&release_dir, name, &created.bytes, &record)?;
    let seeded = Arc::new(Seeded::new(created.torrent, content));
    Ok(Release { seeded, torrent_file, is_recalled: created.is_recalled })
}

/// Reads a torrent file and verifies its content below `data_dir`, unless that was done before or is not wanted.
pub fn load(
    torrent_file: &Path,
    data_dir: &Path,
    trust: bool,
    state: Option<&StateDir>,
    threads: Option<NonZeroUsize>,
    meter: &Arc<Meter>,
) -> Result<Release, ReleaseError> {
    let torrent = read_torrent(torrent_file)?;
    let place = Place::under(data_dir);
    let content = Content::open(torrent.layout(), &place)?;
    let record_path = state.and_then(|state| state.record_path(&torrent, data_dir));
    let remembered = record_path.as_deref().and_then(state::read_record);
    let is_recalled = trust || remembered.is_some_and(|record| record_fits(&record, &torrent, &content));
    if !is_recalled {
        let report = verify(&torrent, &place, threads, meter)?;
        let (Some(files), Some(info_hash)) = (report.verified_files(), torrent.info_hashes().next()) else {
            return Err(ReleaseError::Incomplete {
                path: torrent_file.to_path_buf(),
                reason: what_is_missing(&torrent, &report),
            });
        };
        let record = VerifiedRecord::new(info_hash, files);
        if !record_fits(&record, &torrent, &content) {
            return Err(ReleaseError::Changed { path: data_dir.join(torrent.layout().name()) });
        }
        if let Some(path) = &record_path
            && let Err(error) = state::write_record(path, &record)
        {
            // Nothing of the state is needed to serve; the next start verifies again.
            tracing::warn!(%error, "cannot remember that the content was verified");
        }
    }
    let seeded = Arc::new(Seeded::new(Arc::new(torrent), content));
    Ok(Release { seeded, torrent_file: torrent_file.to_path_buf(), is_recalled })
}

/// Reads a torrent file.
pub(crate) fn read_torrent(path: &Path) -> Result<Torrent, ReleaseError> {
    let bytes =
        state::read_bounded(path).map_err(|source| ReleaseError::Unreadable { path: path.to_path_buf(), source })?;
    Torrent::parse(&bytes).map_err(|source| ReleaseError::Torrent { path: path.to_path_buf(), source })
}

/// Whether the record is about this torrent, and its files are as they were.
pub(crate) fn record_fits(record: &VerifiedRecord, torrent: &Torrent, content: &Content) -> bool {
    torrent.info_hashes().next().is_some_and(|info_hash| record.matches(info_hash, &content.identity()))
}

/// The name of the torrent file that a release's folder holds.
fn kept_name(release_dir: &Path) -> Option<String> {
    let names = std::fs::read_dir(release_dir).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.into_iter().find_map(|name| Some(name.strip_suffix(".torrent")?.to_owned()))
}

/// One line for a person, with the first file that is not right.
pub fn what_is_missing(torrent: &Torrent, report: &VerifyReport) -> String {
    let (bad, all) = (report.bad_pieces.len(), report.piece_count);
    if let Some(problem) = report.problems.first() {
        return match bad {
            0 => problem.error.to_string(),
            _ => format!("{bad} of {all} pieces are not there: {}", problem.error),
        };
    }
    let layout = torrent.layout();
    let first = report.bad_pieces.iter().flat_map(|piece| layout.extents(layout.whole_piece(*piece)));
    let file = first.into_iter().find_map(|extent| match extent {
        Extent::File { file, .. } => Some(layout.disk_path(file)),
        Extent::Zeros { .. } => None,
    });
    let file = file.unwrap_or_default();
    format!("{bad} of {all} pieces have wrong bytes, the first of them in {}", file.display())
}
