//! Making the torrent of a release: what of the tree belongs to it, hashed as far as it is not known.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use catalogue::ContentPlace;
use hash::Sha256Digest;
use metainfo::{FileEntry, Torrent};
use publish::metalink::url_below;
use publish::{Role, Rules};
use seedbox::{CreateError, CreateOptions, KnownFiles, Meter, Symlinks};
use storage::VerifiedRecord;

use super::{Recipe, names, split};

/// A release that was hashed.
#[derive(Debug)]
pub struct Prepared {
    /// What it is.
    pub torrent: Arc<Torrent>,
    /// The whole torrent file.
    pub metainfo: Vec<u8>,
    /// Where its content lies.
    pub content: ContentPlace,
    /// The states in which its files were hashed.
    pub record: VerifiedRecord,
    /// The SHA-256 of each file in the order of the torrent; pads and links have none.
    pub file_sha256: Vec<Sha256Digest>,
    /// Bytes of content that were not read in pieces, since their hashes were known.
    pub reused_bytes: u64,
    /// Nothing was read at all.
    pub is_recalled: bool,
}

/// Why there is no torrent of a release.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The files, the names, the settings; or it was cancelled.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// A link that leads out of the tree, where links are followed.
    #[error("{}: this symbolic link leads out of the tree: take it away, or exclude it", .path.display())]
    LeadsOutside {
        /// The link.
        path: PathBuf,
    },
}

impl PrepareError {
    /// Whether [`Meter::cancel`] ended it.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, PrepareError::Create(CreateError::Storage(storage::StorageError::Cancelled)))
    }

    /// Whether content changed while it was read, so that another try will do.
    pub fn is_changed(&self) -> bool {
        matches!(self, PrepareError::Create(CreateError::Storage(storage::StorageError::Changed { .. })))
    }
}

/// Makes the torrent of the release at `release`, a path below the root. What is not content by `rules` is left out, what is
/// `known` is not read. `created_at_s`, in seconds since 1970, is what the torrent says. Blocks; `meter` may be watched, and
/// cancelled, from elsewhere. Hashes with `threads` threads, or one for each core.
pub fn prepare_release(
    recipe: &Recipe,
    rules: &Rules,
    release: &str,
    known: &KnownFiles,
    created_at_s: i64,
    threads: Option<NonZeroUsize>,
    meter: &Arc<Meter>,
) -> Result<Prepared, PrepareError> {
    let path = recipe.content_path(release);
    let is_folder = path.is_dir();
    let options = CreateOptions {
        web_seeds: recipe.web_seeds.iter().map(|base| web_seed(base, release, is_folder)).collect(),
        creation_date: Some(created_at_s),
        ..recipe.create.clone()
    };
    let links = Links::new(recipe, &path);
    let is_content = |relative: &Path, is_folder: bool| {
        // What has no UTF-8 name is an error that names it, and not left out.
        let role = relative.to_str().map(|below| rules.role(Role::Part, &format!("{release}/{below}"), is_folder));
        let is_part = role.is_none_or(|role| role == Role::Part);
        is_part && links.check(relative)
    };
    let created = seedbox::recreate_where(&path, &options, &is_content, Some(known), threads, meter);
    if let Some(path) = links.outside.into_inner() {
        return Err(PrepareError::LeadsOutside { path });
    }
    let created = created?;
    let record = created.record().ok_or(metainfo::CreateError::Nothing).map_err(CreateError::from)?;
    let content = ContentPlace::under(path.parent().unwrap_or(&recipe.root));
    let follows = recipe.create.symlinks == Symlinks::Follow;
    Ok(Prepared {
        torrent: created.torrent,
        metainfo: created.bytes,
        content: if follows { content.following_links() } else { content },
        record,
        file_sha256: created.file_sha256.into_iter().flatten().collect(),
        reused_bytes: created.reused_bytes,
        is_recalled: created.is_recalled,
    })
}

/// What is known of a release that was prepared before: its torrent, the states of its files, and as they were given by
/// [`Prepared::file_sha256`] the sums. Nothing if they do not belong together.
pub fn known_files(torrent: Arc<Torrent>, record: &VerifiedRecord, file_sha256: &[Sha256Digest]) -> KnownFiles {
    let mut known = KnownFiles::new();
    add_known(&mut known, torrent, record, file_sha256);
    known
}

/// Adds what is known of one more release.
pub fn add_known(known: &mut KnownFiles, torrent: Arc<Torrent>, record: &VerifiedRecord, file_sha256: &[Sha256Digest]) {
    let sums = by_index(&torrent, file_sha256).unwrap_or_default();
    known.add(torrent, record, sums);
}

/// The sums by the files' indices; `None` unless there is one for each file.
pub(super) fn by_index(torrent: &Torrent, file_sha256: &[Sha256Digest]) -> Option<Vec<Option<Sha256Digest>>> {
    let mut sums = file_sha256.iter().copied();
    let is_file = |file: &FileEntry| !file.is_pad() && file.symlink_target().is_none();
    let sum = |file: &FileEntry| if is_file(file) { sums.next().map(Some) } else { Some(None) };
    let by_index: Option<Vec<_>> = torrent.layout().files().iter().map(sum).collect();
    by_index.filter(|_| sums.next().is_none())
}

/// BEP 19: clients append name and paths to a URL that ends in a slash; that of a single file is whole, which all of them take.
fn web_seed(base_url: &str, release: &str, is_folder: bool) -> String {
    if is_folder {
        format!("{}/", url_below(base_url, names(split(release).0)))
    } else {
        url_below(base_url, names(release))
    }
}

/// Keeps a scan that follows links within the tree.
struct Links<'a> {
    /// The root without links, if links are followed at all.
    root: Option<PathBuf>,
    release: &'a Path,
    outside: RefCell<Option<PathBuf>>,
}

impl<'a> Links<'a> {
    fn new(recipe: &Recipe, release: &'a Path) -> Links<'a> {
        let follows = recipe.create.symlinks == Symlinks::Follow;
        let root = follows.then(|| recipe.root.canonicalize().unwrap_or_else(|_| recipe.root.clone()));
        let links = Links { root, release, outside: RefCell::new(None) };
        links.check(Path::new(""));
        links
    }

    /// Notes a link that leads out, and leaves it out. One that leads nowhere is for the scan to name.
    fn check(&self, relative: &Path) -> bool {
        let Some(root) = &self.root else { return true };
        let path =
            if relative.as_os_str().is_empty() { self.release.to_path_buf() } else { self.release.join(relative) };
        let is_link = path.symlink_metadata().is_ok_and(|found| found.file_type().is_symlink());
        let leads_out = is_link && path.canonicalize().is_ok_and(|target| !target.starts_with(root));
        if leads_out {
            self.outside.borrow_mut().get_or_insert(path);
        }
        !leads_out
    }
}
