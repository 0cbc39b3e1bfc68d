//! From a path to a torrent: scan, lay out, hash on every core, write. Puts the floors below together and owns the
//! threads; what a torrent says is `metainfo`, how files are read is `storage`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hash::Sha256Digest;
use metainfo::{Builder, Torrent, Version};
use storage::{
    Digests, FileIdentity, HashPass, KnownFiles, Meter, Place, ScanOptions, StorageError, Symlinks, VerifiedRecord,
    Wanted,
};

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
    /// Whether to find out the SHA-256 of every whole file, which a torrent does not hold but checksum files and Metalinks do.
    pub file_sha256: bool,
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
            file_sha256: false,
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
    /// The SHA-256 of each file, by its index in the torrent; `None` for pads and links. Empty unless
    /// [`CreateOptions::file_sha256`] asked for it.
    pub file_sha256: Vec<Option<Sha256Digest>>,
    /// Bytes of content whose pieces were not read, since their hashes were known.
    pub reused_bytes: u64,
    /// All hashes were known; nothing was read.
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

/// Like [`create`], but reads only what is not `known`: files that changed since, and of a v1 torrent the pieces at their
/// borders.
pub fn recreate(
    path: &Path,
    options: &CreateOptions,
    known: Option<&KnownFiles>,
    threads: Option<NonZeroUsize>,
    meter: &Arc<Meter>,
) -> Result<CreatedTorrent, CreateError> {
    recreate_where(path, options, &|_, _| true, known, threads, meter)
}

/// Like [`recreate`], of what `is_content` says: asked for each path below the top, and whether that is a directory.
pub fn recreate_where(
    path: &Path,
    options: &CreateOptions,
    is_content: &dyn Fn(&Path, bool) -> bool,
    known: Option<&KnownFiles>,
    threads: Option<NonZeroUsize>,
    meter: &Arc<Meter>,
) -> Result<CreatedTorrent, CreateError> {
    hash::self_test()?;
    let scan_options = ScanOptions { exclude: options.exclude.clone(), symlinks: options.symlinks };
    let files = storage::scan_where(path, &scan_options, is_content)?;
    let builder = Builder::new(describe(path, options)?, files)?;
    let place = match options.symlinks {
        Symlinks::Follow => Place::at(path).following_links(),
        Symlinks::Keep | Symlinks::Refuse => Place::at(path),
    };
    let digests = Digests { v1: options.version != Version::V2, v2: options.version != Version::V1 };
    let wanted = Wanted { digests, file_sha256: options.file_sha256, known };
    let pass = HashPass::new(builder.layout(), &place, wanted, Arc::clone(meter))?;
    let progress = pass.progress();
    let is_recalled = progress.total_bytes == 0;
    // Where nothing is to be read there is nothing to share.
    on_threads(if is_recalled { Some(NonZeroUsize::MIN) } else { threads }, || pass.work());
    let hashed = pass.finish()?;
    let bytes = builder.finish(&hashed.hashes)?;
    let torrent = Torrent::parse(&bytes).map_err(metainfo::CreateError::Unreadable)?;
    Ok(CreatedTorrent {
        bytes,
        torrent: Arc::new(torrent),
        place,
        files: hashed.files,
        file_sha256: hashed.file_sha256,
        reused_bytes: progress.reused_bytes,
        is_recalled,
    })
}

impl CreatedTorrent {
    /// What to remember, so that the content is not hashed again when the program starts the next time.
    pub fn record(&self) -> Option<VerifiedRecord> {
        let info_hash = self.torrent.info_hashes().next()?;
        Some(VerifiedRecord::new(info_hash, &self.files))
    }

    /// What the next torrent of the same files need not hash again.
    pub fn known_files(&self) -> KnownFiles {
        let mut known = KnownFiles::new();
        if let Some(record) = self.record() {
            known.add(Arc::clone(&self.torrent), &record, self.file_sha256.clone());
        }
        known
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
