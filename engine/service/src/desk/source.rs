//! Where the engine gets a torrent that somebody asks for: the catalogue's metainfo, the content in its place, and the record
//! that the one is the other's.

use std::sync::Arc;

use catalogue::{Catalogue, CatalogueError, ContentPlace, TorrentNumber};
use metainfo::Torrent;
use seedbox::{LoadError, TorrentSource};
use storage::{Content, Seeded, StorageError, VerifiedRecord};

/// One torrent of the catalogue. There is one of these for each torrent at rest.
pub(crate) struct CatalogueSource {
    pub(crate) catalogue: Catalogue,
    pub(crate) number: TorrentNumber,
}

impl TorrentSource for CatalogueSource {
    fn load(&self) -> Result<Arc<Seeded>, LoadError> {
        let name = || format!("torrent {}", self.number.0);
        let gone = |reason: &str| LoadError::Metainfo { name: name(), reason: reason.to_owned() };
        let read = |error: CatalogueError| match error.may_pass() {
            true => LoadError::Unavailable { name: name(), reason: error.to_string() },
            false => LoadError::Metainfo { name: name(), reason: error.to_string() },
        };
        let row = self.catalogue.row(self.number).map_err(read)?.ok_or_else(|| gone("it was removed"))?;
        let torrent = self.catalogue.torrent(self.number).map_err(read)?.ok_or_else(|| gone("only a link is known"))?;
        let content = Content::open(torrent.layout(), &row.content.place())?;
        let record = self.catalogue.verified(self.number).map_err(read)?;
        if record.is_none_or(|record| !fits(&record, &torrent, &content)) {
            return Err(LoadError::Changed { name: row.name.into() });
        }
        Ok(Arc::new(Seeded::new(Arc::new(torrent), content)))
    }
}

/// The record of content that was just verified in this place.
pub(crate) fn record_of(torrent: &Torrent, place: &ContentPlace) -> Result<VerifiedRecord, StorageError> {
    let content = Content::open(torrent.layout(), &place.place())?;
    let name = torrent.info_hashes().next().unwrap_or_default();
    Ok(VerifiedRecord::new(name, &content.identity()))
}

fn fits(record: &VerifiedRecord, torrent: &Torrent, content: &Content) -> bool {
    torrent.info_hashes().next().is_some_and(|info_hash| record.matches(info_hash, &content.identity()))
}
