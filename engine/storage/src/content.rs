//! The content of one torrent, as all shards share it: complete and unchanging, or while it is downloaded. Knows which state of each file was found
//! when it was opened; files are opened and mapped when first asked for, and closed when the last user drops them.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use metainfo::{FileIndex, FileLayout, RelativePath};

use crate::error::StorageError;
use crate::identity::FileIdentity;
use crate::open_file::{OpenFile, Watch};
use crate::place::{Place, Root, Top};

/// The files of a torrent. `Send + Sync`; no lock is held but while a file is being opened.
///
/// Complete content ([`Content::open`]) may not change at all. Content that is being downloaded
/// ([`crate::Partial::content`]) is written by ourselves, so that modification times say nothing: a file that is
/// truncated, lengthened, replaced or deleted is still noticed, bytes that another program writes into it are not. Whoever
/// serves from it asks for verified pieces only.
///
/// Pads, symbolic links and empty files have no bytes to serve and are not looked at.
#[derive(Debug)]
pub struct Content {
    top: Top,
    files: Box<[ContentFile]>,
    watch: Watch,
}

#[derive(Debug)]
struct ContentFile {
    path: RelativePath,
    /// The state found by [`Content::open`]; `None` for entries without stored bytes.
    identity: Option<FileIdentity>,
    /// The open file if some shard has it. Weak, so that shards decide how many stay open.
    shared: Mutex<Weak<OpenFile>>,
}

impl Content {
    /// Finds every file that holds bytes and compares its size with the layout. Opens none for reading.
    pub fn open(layout: &FileLayout, place: &Place) -> Result<Content, StorageError> {
        Content::open_top(layout, place.top(layout))
    }

    /// The same, of a top entry that is known.
    pub(crate) fn open_top(layout: &FileLayout, top: Top) -> Result<Content, StorageError> {
        let root = top.enter()?;
        let mut files = Vec::with_capacity(layout.files().len());
        for entry in layout.files() {
            let identity = if has_bytes(entry) { Some(identify(&top, &root, entry)?) } else { None };
            files.push(ContentFile { path: entry.path().clone(), identity, shared: Mutex::new(Weak::new()) });
        }
        drop(root);
        Ok(Content { top, files: files.into_boxed_slice(), watch: Watch::Complete })
    }

    /// Content that is being downloaded: files in the states `identities`, where there are files.
    pub(crate) fn growing(layout: &FileLayout, top: &Top, identities: &[Option<FileIdentity>]) -> Content {
        let file = |(entry, identity): (&metainfo::FileEntry, &Option<FileIdentity>)| ContentFile {
            path: entry.path().clone(),
            identity: *identity,
            shared: Mutex::new(Weak::new()),
        };
        let files = layout.files().iter().zip(identities).map(file).collect();
        Content { top: top.clone(), files, watch: Watch::Growing }
    }

    /// The file, opened and mapped by whoever asks first and shared from then on. Fails if it is no longer in the
    /// state that [`Content::open`] found. Blocks on the file system while it opens.
    pub fn file(&self, index: FileIndex) -> Result<Arc<OpenFile>, StorageError> {
        let (file, before) = self.stored(index)?;
        let mut shared = file.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = shared.upgrade() {
            return Ok(open);
        }
        let (handle, now) = self.top.enter()?.open(&file.path)?;
        let path = self.top.path_of(&file.path);
        if let Some(change) = self.watch.change(&now, &before) {
            return Err(StorageError::Changed { path, change });
        }
        let open = Arc::new(OpenFile::new(handle, now, path, self.watch)?);
        *shared = Arc::downgrade(&open);
        Ok(open)
    }

    /// Whether every path still names the file that [`Content::open`] found, in that state. Three system calls a
    /// file: for a periodic watch, off the executors.
    pub fn check_on_disk(&self) -> Result<(), StorageError> {
        let root = self.top.enter()?;
        for file in &self.files {
            let Some(before) = &file.identity else { continue };
            let now = root.identify(&file.path)?;
            if let Some(change) = self.watch.change(&now, before) {
                return Err(StorageError::Changed { path: self.top.path_of(&file.path), change });
            }
        }
        Ok(())
    }

    /// The state of each file that holds bytes, in the order of the torrent.
    pub fn identity(&self) -> Vec<FileIdentity> {
        self.files.iter().filter_map(|file| file.identity).collect()
    }

    /// The device that holds the file's bytes; `None` for entries without stored bytes.
    pub fn device(&self, index: FileIndex) -> Option<u64> {
        Some(self.files.get(index.get() as usize)?.identity?.device)
    }

    fn stored(&self, index: FileIndex) -> Result<(&ContentFile, FileIdentity), StorageError> {
        let file = self.files.get(index.get() as usize);
        file.and_then(|file| Some((file, file.identity?))).ok_or(StorageError::NoSuchFile { index: index.get() })
    }
}

/// Whether the entry stands for bytes on disk.
pub(crate) fn has_bytes(entry: &metainfo::FileEntry) -> bool {
    !entry.is_pad() && entry.symlink_target().is_none() && entry.length() > 0
}

/// The state of a file, which must have the size that the torrent says.
pub(crate) fn identify(top: &Top, root: &Root, entry: &metainfo::FileEntry) -> Result<FileIdentity, StorageError> {
    let found = root.identify(entry.path())?;
    if found.size_bytes != entry.length() {
        let (expected_bytes, found_bytes) = (entry.length(), found.size_bytes);
        return Err(StorageError::WrongSize { path: top.path_of(entry.path()), expected_bytes, found_bytes });
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
