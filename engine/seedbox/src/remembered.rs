//! What an earlier run found out about the same content, so that a restart does not hash it again.

use metainfo::{FileEntry, FileHashes, FileLayout, PieceHashes, Torrent};
use storage::{Content, Digests, FileIdentity, Place, VerifiedRecord};

/// A torrent and the states in which its files were hashed or verified.
pub struct Remembered {
    /// The torrent, with all its hashes.
    pub torrent: Torrent,
    /// The states of its files.
    pub record: VerifiedRecord,
}

impl Remembered {
    /// The hashes of the content at `place`, if nothing has touched it since and the torrent knows all that is wanted.
    pub(crate) fn recall(
        &self,
        layout: &FileLayout,
        place: &Place,
        wanted: Digests,
    ) -> Option<(PieceHashes, Vec<FileIdentity>)> {
        let torrent = &self.torrent;
        let known = Digests { v1: torrent.info_hash_v1().is_some(), v2: torrent.info_hash_v2().is_some() };
        if (wanted.v1 && !known.v1) || (wanted.v2 && !known.v2) || !covers_same_bytes(layout, torrent.layout()) {
            return None;
        }
        let files = Content::open(layout, place).ok()?.identity();
        if !self.record.matches(torrent.info_hashes().next()?, &files) {
            return None;
        }
        let mut hashes = PieceHashes::default();
        if wanted.v1 {
            hashes.v1 = layout.pieces().map(|piece| torrent.piece_hash_v1(piece)).collect::<Option<_>>()?;
        }
        if wanted.v2 {
            let with_root =
                layout.file_indices().filter_map(|file| Some((file, torrent.layout().file(file).pieces_root()?)));
            let tree = |(file, root)| Some(FileHashes { file, root, layer: torrent.piece_layer(file)?.to_vec() });
            hashes.v2 = with_root.map(tree).collect::<Option<_>>()?;
        }
        Some((hashes, files))
    }
}

/// Whether the same pieces lie over the same files in the same places.
fn covers_same_bytes(left: &FileLayout, right: &FileLayout) -> bool {
    let alike = |(left, right): (&FileEntry, &FileEntry)| {
        let place = |file: &FileEntry| (file.offset(), file.length(), file.is_pad(), file.symlink_target().is_some());
        place(left) == place(right) && (left.is_pad() || left.path().to_path_buf() == right.path().to_path_buf())
    };
    left.piece_length() == right.piece_length()
        && left.files().len() == right.files().len()
        && left.files().iter().zip(right.files()).all(alike)
}
