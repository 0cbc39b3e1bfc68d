//! The end of a download: what is there becomes durable, gets its links and permissions, and is complete content.

use metainfo::FileIndex;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::Partial;
use crate::content::{Content, has_bytes};
use crate::error::StorageError;
use crate::identity::FileIdentity;

/// What a finished download is.
#[derive(Debug)]
pub struct Finished {
    /// The whole content, which may not change from now on. `None` if only some of the files were wanted: what there is of
    /// them goes on being served from [`Partial::content`].
    pub content: Option<Content>,
    /// The states of the files that hold bytes, in the order of the torrent, for a [`crate::VerifiedRecord`]. Of no use
    /// without the whole content.
    pub files: Vec<FileIdentity>,
}

impl Partial {
    /// Closes a download whose wanted pieces are all verified: makes the torrent's links and programs executable (BEP 47),
    /// then makes everything durable, with a clean record. May be called again. Blocks on the disk; nothing may be written
    /// meanwhile.
    ///
    /// Links come last, so that nothing was ever written through one. One that stands where something else is, or whose
    /// target is outside by way of another link, is left out.
    ///
    /// The record stays, so that a crash right now costs no second look at the bytes. Once a [`crate::VerifiedRecord`] is
    /// kept, [`Partial::remove_record`] does away with it.
    pub fn finish(&self, now_unix_ns: u64) -> Result<Finished, StorageError> {
        let layout = self.layout();
        self.refuse_incomplete()?;
        let root = self.files.top.enter()?;
        for (file, entry) in layout.file_indices().zip(layout.files()) {
            let is_wanted =
                self.wanted_files.as_ref().is_none_or(|wanted| wanted.get(file.get() as usize) == Some(&true));
            match entry.symlink_target() {
                Some(target) if is_wanted && root.link(entry.path(), target)? => {
                    self.keeper.turn().new_folders.extend(self.files.top.folders_to(entry.path()));
                }
                None if entry.executable() && is_wanted && has_bytes(entry) => self.make_executable(file)?,
                Some(_) | None => {}
            }
        }
        self.checkpoint(now_unix_ns, true)?;
        // The sync may have lost some.
        self.refuse_incomplete()?;
        if !self.have().is_full() {
            return Ok(Finished { content: None, files: Vec::new() });
        }
        let content = Content::open_top(layout, self.files.top.clone())?;
        self.check_on_disk()?;
        let files = content.identity();
        Ok(Finished { content: Some(content), files })
    }

    /// Removes the record: the download is finished, and remembered as complete; or it is given up.
    pub fn remove_record(&self) -> Result<(), StorageError> {
        self.keeper.remove()
    }

    /// Whoever may read the file may run it, as far as the file system knows such rights.
    fn make_executable(&self, file: FileIndex) -> Result<(), StorageError> {
        let failed = |errno| StorageError::io(&self.files.path(self.layout(), file), "make executable", errno);
        let open = self.files.open(self.layout(), file)?;
        let before = Mode::from_raw_mode(rustix::fs::fstat(&open).map_err(failed)?.st_mode);
        let readers = before & (Mode::RUSR | Mode::RGRP | Mode::ROTH);
        match rustix::fs::fchmod(&open, before | Mode::from_raw_mode(readers.as_raw_mode() >> 2)) {
            Ok(()) => self.files.mark_dirty(file),
            Err(Errno::PERM | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(failed(errno)),
        }
        Ok(())
    }

    fn refuse_incomplete(&self) -> Result<(), StorageError> {
        let have = self.have();
        let missing = self.wanted.iter().filter(|piece| !have.contains(*piece)).count() as u32;
        if missing > 0 { Err(StorageError::Incomplete { missing }) } else { Ok(()) }
    }
}
