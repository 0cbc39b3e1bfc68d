//! The ready file: what a script that started us needs to know, written once peers can connect. The JSON is a contract.

use std::path::Path;

use metainfo::{Magnet, Torrent, Version};
use serde::Serialize;

use crate::failure::Failure;

/// The content of the ready file.
#[derive(Debug, Serialize)]
pub(crate) struct Ready {
    /// Our process.
    pub(crate) pid: u32,
    /// `address:port` that accept peers; a port given as 0 appears as what the kernel picked.
    pub(crate) listen: Vec<String>,
    /// Announce URLs of our own tracker; empty when we run none.
    pub(crate) tracker: Vec<String>,
    /// The torrents served.
    pub(crate) torrents: Vec<ReadyTorrent>,
}

/// One torrent of the ready file.
#[derive(Debug, Serialize)]
pub(crate) struct ReadyTorrent {
    /// The torrent's own name; of a link, the one that it shows, or nothing.
    pub(crate) name: String,
    /// Path of the `.torrent` file; null where there is only a link.
    pub(crate) torrent_file: Option<String>,
    /// The magnet link.
    pub(crate) magnet: String,
    /// Forty hex digits, for v1 and hybrid torrents.
    pub(crate) info_hash_v1: Option<String>,
    /// Sixty-four hex digits, for v2 and hybrid torrents.
    pub(crate) info_hash_v2: Option<String>,
    /// The magnet link of a hybrid's v1 half, for people: rtorrent 0.9 takes no link that names two swarms.
    #[serde(skip)]
    magnet_v1: Option<String>,
}

impl Ready {
    /// A ready file of this process.
    pub(crate) fn new(listen: Vec<String>, tracker: Vec<String>, torrents: Vec<ReadyTorrent>) -> Ready {
        Ready { pid: std::process::id(), listen, tracker, torrents }
    }

    /// Writes the file whole: a reader sees none or all of it, since it is made beside its place and renamed.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        Ok(storage::write_atomically(path, &serde_json::to_vec(self)?)?)
    }
}

impl ReadyTorrent {
    /// Describes `torrent`, which was read from or written to `torrent_file`.
    pub(crate) fn new(torrent: &Torrent, torrent_file: &Path) -> ReadyTorrent {
        ReadyTorrent {
            name: torrent.layout().name().to_owned(),
            torrent_file: Some(torrent_file.display().to_string()),
            magnet: torrent.magnet().to_string(),
            info_hash_v1: torrent.info_hash_v1().map(|hash| hash.to_string()),
            info_hash_v2: torrent.info_hash_v2().map(|hash| hash.to_string()),
            magnet_v1: (torrent.version() == Version::Hybrid)
                .then(|| Magnet { info_hash_v2: None, ..torrent.magnet() }.to_string()),
        }
    }

    /// Describes what is known of the torrent of a link.
    pub(crate) fn of_magnet(magnet: &Magnet) -> ReadyTorrent {
        ReadyTorrent {
            name: magnet.name.clone().unwrap_or_default(),
            torrent_file: None,
            magnet: magnet.to_string(),
            info_hash_v1: magnet.info_hash_v1.map(|hash| hash.to_string()),
            info_hash_v2: magnet.info_hash_v2.map(|hash| hash.to_string()),
            magnet_v1: None,
        }
    }

    /// The same as lines for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.torrent_file.iter().map(|file| format!("torrent       {file}")).collect();
        lines.extend(self.info_hash_v1.iter().map(|hash| format!("info-hash v1  {hash}")));
        lines.extend(self.info_hash_v2.iter().map(|hash| format!("info-hash v2  {hash}")));
        lines.push(format!("magnet        {}", self.magnet));
        lines.extend(self.magnet_v1.iter().map(|magnet| format!("magnet v1     {magnet}")));
        lines
    }
}
