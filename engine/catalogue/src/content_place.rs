//! Where a torrent's content lies, as it is kept: the folder is shared by all torrents that lie in it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::Place;

/// Where the content of a torrent lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContentPlace {
    /// The folder that holds the content.
    pub folder: Arc<Path>,
    /// What the content is called there; nothing if by the torrent's own name.
    pub own_name: Option<Arc<OsStr>>,
    /// Symbolic links inside the content may lead anywhere.
    pub follows_links: bool,
}

impl ContentPlace {
    /// In `folder` under the torrent's own name.
    pub fn under(folder: impl AsRef<Path>) -> ContentPlace {
        ContentPlace { folder: folder.as_ref().into(), own_name: None, follows_links: false }
    }

    /// At `path`, whatever it is called there.
    pub fn at(path: impl AsRef<Path>) -> ContentPlace {
        let path = path.as_ref();
        match (path.parent(), path.file_name()) {
            (Some(folder), Some(name)) => {
                ContentPlace { folder: folder.into(), own_name: Some(name.into()), follows_links: false }
            }
            // "/" and "x/.." have no name: what is in them is the content.
            _ => ContentPlace { folder: path.into(), own_name: Some(OsStr::new(".").into()), follows_links: false },
        }
    }

    /// Lets symbolic links inside the content lead anywhere.
    pub fn following_links(mut self) -> ContentPlace {
        self.follows_links = true;
        self
    }

    /// The content's path, for a torrent of this name.
    pub fn path(&self, torrent_name: &str) -> PathBuf {
        match &self.own_name {
            Some(name) => self.folder.join(&**name),
            None => self.folder.join(torrent_name),
        }
    }

    /// The place as files are opened in it.
    pub fn place(&self) -> Place {
        let place = match &self.own_name {
            Some(name) => Place::at(self.folder.join(&**name)),
            None => Place::under(&*self.folder),
        };
        if self.follows_links { place.following_links() } else { place }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_what_storage_opens() {
        let under = ContentPlace::under("/srv/iso");
        assert_eq!(under.path("a.iso"), Path::new("/srv/iso/a.iso"));
        assert_eq!(under.place(), Place::under("/srv/iso"));
        let at = ContentPlace::at("/srv/iso/b.iso").following_links();
        assert_eq!(at.path("a.iso"), Path::new("/srv/iso/b.iso"));
        assert_eq!(at.place(), Place::at("/srv/iso/b.iso").following_links());
        assert_eq!(ContentPlace::at("/").path("a"), Path::new("/."));
    }
}
