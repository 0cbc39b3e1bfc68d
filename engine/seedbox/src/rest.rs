//! Torrents that are added without being loaded, and one place that they can come from: a torrent file and the record of what
//! was verified. When they are loaded, and when they are let go, is control's.

use crate::engine::{Engine, EngineError};
use crate::release::{ReleaseError, read_torrent, record_fits};
use crate::state::{self, StateDir};
use control::{AddError, AtRest, LoadError, Order, Tiers, TorrentSource};
use mesh::TorrentId;
use metainfo::Torrent;
use std::path::PathBuf;
use std::sync::Arc;
use storage::{Content, Place, Seeded};
use swarm::Terms;

impl Engine {
    /// Announces a torrent, and loads and serves it when somebody asks for it.
    pub fn add_at_rest(&self, torrent: AtRest) -> Result<TorrentId, EngineError> {
        let added = self.add_many(vec![torrent])?;
        Ok(added.into_iter().next().ok_or(EngineError::Gone)??)
    }

    /// The same for many at once, in their order: a start with ten thousand is one question.
    pub fn add_many(&self, torrents: Vec<AtRest>) -> Result<Vec<Result<TorrentId, AddError>>, EngineError> {
        self.ask(|reply| Order::AddMany { torrents, reply })
    }

    /// Lets a torrent rest while nobody wants it: one that was added loaded, or that is being fetched.
    pub fn let_rest(&self, id: TorrentId, source: Arc<dyn TorrentSource>) -> Result<(), EngineError> {
        self.tell(Order::LetRest { id, source })
    }
}

/// A torrent that comes from its torrent file, with content that was verified before ([`crate::load`]).
/// For programs without a catalogue of their own.
#[derive(Debug, Clone)]
pub struct KeptTorrent {
    torrent_file: PathBuf,
    data_dir: PathBuf,
    record: PathBuf,
}

impl KeptTorrent {
    /// Reads a torrent file whose content below `data_dir` was verified and remembered in `state`, to add it at rest. The content
    /// is not looked at before somebody wants it.
    pub fn at_rest(
        torrent_file: PathBuf,
        data_dir: PathBuf,
        state: &StateDir,
        tiers: Tiers,
        terms: Terms,
    ) -> Result<AtRest, ReleaseError> {
        let torrent = read_torrent(&torrent_file)?;
        let record = state.record_path(&torrent, &data_dir).unwrap_or_default();
        Ok(AtRest {
            name: torrent.layout().name().to_owned(),
            info_hashes: torrent.info_hashes().collect(),
            misnamed: torrent.info_hash_without_empty_keys(),
            size_bytes: torrent.layout().total_size(),
            is_private: torrent.is_private(),
            tiers,
            terms: Arc::new(terms),
            source: Arc::new(KeptTorrent { torrent_file, data_dir, record }),
            is_restored: false,
        })
    }

    fn torrent(&self) -> Result<Torrent, LoadError> {
        let name = || self.torrent_file.display().to_string();
        read_torrent(&self.torrent_file).map_err(|error| match error {
            ReleaseError::Unreadable { source, .. } if is_shortage(&source) => {
                LoadError::Unavailable { name: name(), reason: source.to_string() }
            }
            ReleaseError::Unreadable { source, .. } => LoadError::Metainfo { name: name(), reason: source.to_string() },
            other => LoadError::Metainfo { name: name(), reason: other.to_string() },
        })
    }
}

impl TorrentSource for KeptTorrent {
    fn load(&self) -> Result<Arc<Seeded>, LoadError> {
        let torrent = self.torrent()?;
        let content = Content::open(torrent.layout(), &Place::under(&self.data_dir))?;
        let record = state::read_record(&self.record);
        if !record.is_some_and(|record| record_fits(&record, &torrent, &content)) {
            return Err(LoadError::Changed { name: torrent.layout().name().to_owned() });
        }
        Ok(Arc::new(Seeded::new(Arc::new(torrent), content)))
    }
}

/// Whether the process had no descriptor or no memory left.
fn is_shortage(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    error.raw_os_error().is_some_and(|raw| shortages.contains(&Errno::from_raw_os_error(raw)))
}
