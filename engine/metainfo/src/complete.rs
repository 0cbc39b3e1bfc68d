//! What a magnet link's torrent lacks when its `info` has come from peers: piece layers, trackers, web seeds; and the
//! torrent file of all of it. How peers are asked is in `swarm`.

use std::collections::HashSet;

use bencode::{DictEncoder, encode_dict};

use crate::create::write_sources;
use crate::error::{Problem, Result, TorrentError};
use crate::limits::{MAX_TORRENT_BYTES, MAX_TRACKERS, MAX_WEB_SEEDS};
use crate::parse;
use crate::torrent::{PieceLayer, Torrent, Version};

impl Torrent {
    /// The torrent with the piece layers that it lacked: one for every root of a file of more than one piece, no more.
    /// Each is checked against its root.
    pub fn with_piece_layers(mut self, layers: &[PieceLayer]) -> Result<Torrent> {
        if self.version == Version::V1 {
            return Err(TorrentError::new("piece layers", Problem::StrayLayer));
        }
        self.layers = parse::layers_from_peers(&self.layout, layers)?;
        Ok(self)
    }

    /// The torrent with these trackers and web seeds in the place of its own. In a multi-file torrent the web seeds get the
    /// slash that they must end in.
    #[must_use]
    pub fn with_sources(mut self, mut trackers: Vec<Vec<String>>, mut web_seeds: Vec<String>) -> Torrent {
        trackers.truncate(MAX_TRACKERS);
        web_seeds.truncate(MAX_WEB_SEEDS);
        for url in web_seeds.iter_mut().filter(|url| !self.layout.is_single_file() && !url.ends_with('/')) {
            url.push('/');
        }
        self.outer.trackers = trackers;
        self.outer.web_seeds = web_seeds;
        self
    }

    /// The bytes of a torrent file that [`Torrent::parse`] reads back; `None` for a v2 or hybrid torrent without its piece
    /// layers, which has none (BEP 52), and where it would be longer than any that is read.
    pub fn to_file_bytes(&self) -> Option<Vec<u8>> {
        if self.version != Version::V1 && !self.has_piece_layers() {
            return None;
        }
        let bytes = encode_dict(|top| {
            write_sources(top, &self.outer.trackers, &self.outer.web_seeds, self.layout.is_single_file());
            if !self.outer.http_seeds.is_empty() {
                top.list("httpseeds", |urls| self.outer.http_seeds.iter().for_each(|url| _ = urls.bytes(url)));
            }
            let notes = [("comment", &self.outer.comment), ("created by", &self.outer.created_by)];
            for (key, note) in notes {
                if let Some(note) = note {
                    top.bytes(key, note);
                }
            }
            if let Some(date) = self.outer.creation_date {
                top.int("creation date", date);
            }
            top.raw("info", &self.info);
            if self.version != Version::V1 {
                top.dict("piece layers", |layers| self.write_layers(layers));
            }
        });
        (bytes.len() <= MAX_TORRENT_BYTES).then_some(bytes)
    }

    fn write_layers(&self, layers: &mut DictEncoder<'_>) {
        let mut written = HashSet::new();
        for file in self.layout.file_indices() {
            let Some(root) = self.layout.file(file).pieces_root else { continue };
            // A layer of one hash is the root itself and not written; equal files share a layer.
            let layer = self.piece_layer(file).filter(|layer| layer.len() > 1 && written.insert(root));
            if let Some(layer) = layer {
                layers.bytes(root.0, layer.iter().flat_map(|digest| digest.0).collect::<Vec<u8>>());
            }
        }
    }
}

#[cfg(test)]
mod tests;
