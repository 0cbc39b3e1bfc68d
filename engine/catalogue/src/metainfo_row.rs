//! What a torrent is known by.

/// What is kept of what a torrent is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Metainfo {
    /// The torrent file, as it came.
    TorrentFile(Vec<u8>),
    /// A magnet link that is not resolved yet.
    Magnet(String),
}

impl Metainfo {
    pub(crate) const TORRENT: &'static str = "torrent";
    pub(crate) const MAGNET: &'static str = "magnet";

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Metainfo::TorrentFile(_) => Metainfo::TORRENT,
            Metainfo::Magnet(_) => Metainfo::MAGNET,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Metainfo::TorrentFile(bytes) => bytes,
            Metainfo::Magnet(link) => link.as_bytes(),
        }
    }

    pub(crate) fn from_parts(kind: &str, bytes: Vec<u8>) -> Option<Metainfo> {
        match kind {
            Metainfo::TORRENT => Some(Metainfo::TorrentFile(bytes)),
            Metainfo::MAGNET => String::from_utf8(bytes).ok().map(Metainfo::Magnet),
            _ => None,
        }
    }
}
