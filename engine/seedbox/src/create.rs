//! From a path to a torrent: scan, lay out, hash on every core, write. Puts the floors below together and owns the
//! threads; what a torrent says is `metainfo`, how files are read is `storage`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::remembered::Remembered;
use metainfo::{Builder, Torrent, Version};
use storage::{Digests, FileIdentity, HashPass, Meter, Place, ScanOptions, StorageError, Symlinks, VerifiedRecord};

/// What a new torrent is to say, and what of the path goes into it.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// The torrent's name; that of the path if not given.
    pub name: Option<String>,
    /// Which formats to write.
    pub version: Version,
    /// Bytes in a piece, a power of two; chosen by the size of the content if not given.
    pub piece_length: Option<u32>,
    /// Tracker URLs in tiers.
    pub trackers: Vec<Vec<String>>,
    /// Web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// Whether peers may come from trackers only (BEP 27).
    pub is_private: bool,
    /// A note for people.
    pub comment: Option<String>,
    /// A site's mark that gives the torrent its own info-hash.
    pub source: Option<String>,
    /// The program that makes the torrent.
    pub created_by: Option<String>,
    /// Seconds since 1970. Left out, or fixed, the same content gives the same torrent.
    pub creation_date: Option<i64>,
    /// Globs of what to leave out, as [`ScanOptions::exclude`] has them.
    pub exclude: Vec<String>,
    /// What to do with symbolic links below the path.
    pub symlinks: Symlinks,
}

impl Default for CreateOptions {
    /// A hybrid with nothing in it but the content and who made it.
    fn default() -> CreateOptions {
        CreateOptions {
            name: None,
            version: Version::Hybrid,
            piece_length: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            is_private: false,
            comment: None,
            source: None,
            created_by: Some(concat!("spillway/", env!("CARGO_PKG_VERSION")).to_owned()),
            creation_date: None,
            exclude: Vec::new(),
            symlinks: Symlinks::default(),
        }
    }
}

/// A torrent that was just made, and where its content is.
#[derive(Debug)]
pub struct CreatedTorrent {
    /// The torrent file.
    pub bytes: Vec<u8>,
    /// What it says.
    pub torrent: Arc<Torrent>,
    /// Its content, ready to be seeded.
    pub place: Place,
    /// The state of the files that were hashed.
    pub files: Vec<FileIdentity>,
    /// The hashes were remembered; nothing was read.
    pub is_recalled: bool,
}

/// Why a path did not become a torrent.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The processor, or the build, computes wrong digests.
    #[error(transparent)]
    SelfTest(#[from] hash::SelfTestError),
    /// The files.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The options, or names that a torrent cannot hold.
    #[error(transparent)]
    Torrent(#[from] metainfo::CreateError),
    /// The path has no name of its own (`/`), or one that is not UTF-8.
    #[error("{}: has no name that a torrent could carry; give one", .path.display())]
    NoName {
        /// The path as given.
        path: PathBuf,
    },
}

/// Makes a torrent of the file or directory at `path`. Hashes with `threads` threads, the caller's among them, or one for
/// each core. `meter` may be watched, and cancelled, from another thread.
pub fn create(
    path: &Path,
    options: &CreateOptions,
    threads: Option<NonZeroUsize>,
    meter: &Arc<Meter>,
) -> Result<CreatedTorrent, CreateError> {
    recreate(path, options, None, threads, meter)
}

/// Like [`create`], but reads nothing if `remembered` has the hashes of just this content.
pub fn recreate(
    path: &Path,
    options: &CreateOptions,
    remembered: Option<&Remembered>,
    threads: Option<NonZeroUsize>,
    meter: &Arc<Meter>,
) -> Result<CreatedTorrent, CreateError> {
    hash::self_test()?;
    let scan_options = ScanOptions { exclude: options.exclude.clone(), symlinks: options.symlinks };
    let files = storage::scan(path, &scan_options)?;
    let builder = Builder::new(describe(path, options)?, files)?;
    let place = match options.symlinks {
        Symlinks::Follow => Place::at(path).following_links(),
        Symlinks::Keep | Symlinks::Refuse => Place::at(path),
    };
    let digests = Digests { v1: options.version != Version::V2, v2: options.version != Version::V1 };
    let recalled = remembered.and_then(|remembered| remembered.recall(builder.layout(), &place, digests));
    let is_recalled = recalled.is_some();
    let (hashes, files) = match recalled {
        Some(recalled) => recalled,
        None => {
            let pass = HashPass::new(builder.layout(), &place, digests, Arc::clone(meter))?;
            on_threads(threads, || pass.work());
            let hashed = pass.finish()?;
            (hashed.hashes, hashed.files)
        }
    };
    let bytes = builder.finish(&hashes)?;
    let torrent = Torrent::parse(&bytes).map_err(metainfo::CreateError::Unreadable)?;
    Ok(CreatedTorrent { bytes, torrent: Arc::new(torrent), place, files, is_recalled })
}

impl CreatedTorrent {
    /// What to remember, so that the content is not hashed again when the program starts the next time.
    pub fn record(&self) -> Option<VerifiedRecord> {
        let info_hash = self.torrent.info_hashes().next()?;
        Some(VerifiedRecord::new(info_hash, &self.files))
    }
}

fn describe(path: &Path, options: &CreateOptions) -> Result<metainfo::CreateOptions, CreateError> {
    let name = match &options.name {
        Some(name) => name.clone(),
        None => own_name(path).ok_or_else(|| CreateError::NoName { path: path.to_path_buf() })?,
    };
    Ok(metainfo::CreateOptions {
        name,
        version: options.version,
        piece_length: options.piece_length,
        trackers: options.trackers.clone(),
        web_seeds: options.web_seeds.clone(),
        is_private: options.is_private,
        comment: options.comment.clone(),
        source: options.source.clone(),
        created_by: options.created_by.clone(),
        creation_date: options.creation_date,
    })
}

/// The last component of the path; of one that ends in `.` or `..` that of what it stands for.
fn own_name(path: &Path) -> Option<String> {
    let name = match path.file_name() {
        Some(name) => name.to_owned(),
        None => path.canonicalize().ok()?.file_name()?.to_owned(),
    };
    name.into_string().ok()
}

/// Runs `work` on that many threads and waits for all of them. A thread that the system refuses is done without: the
/// work is shared, and the caller's own thread does all of it if need be.
pub(crate) fn on_threads(threads: Option<NonZeroUsize>, work: impl Fn() + Sync) {
    let threads = threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    std::thread::scope(|scope| {
        for index in 1..threads {
            let named = std::thread::Builder::new().name(format!("hash-{index}"));
            let _ = named.spawn_scoped(scope, &work);
        }
        work();
    });
}

#[cfg(test)]
mod tests;
