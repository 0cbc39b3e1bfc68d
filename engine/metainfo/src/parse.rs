//! Torrent files and `info` dictionaries to [`Torrent`]. Here is what v1 and v2 share; the two lists of files are in
//! `parse/v1.rs` and `parse/v2.rs`, what stands around `info` in `parse/outer.rs`, the layers in `parse/layers.rs`.

mod field;
mod layers;
mod outer;
mod v1;
mod v2;

use bencode::{Dict, ErrorKind, KeyOrder, Limits, Value, decode_prefix};
use hash::{sha1, sha256};

use crate::error::{Problem, Result, TorrentError};
use crate::layout::{Arrangement, FileLayout};
use crate::limits::{MAX_DEPTH, MAX_PIECE_LENGTH, MAX_TORRENT_BYTES, MIN_V2_PIECE_LENGTH};
use crate::sanitize;
use crate::torrent::{Outer, PieceLayers, Torrent, Version};
use field::{int, text, typed};

pub(crate) use layers::from_peers as layers_from_peers;
pub(crate) use v1::is_pad_path;

/// What is accepted before a field is looked at: keys in any order, as they are found in the wild.
const LIMITS: Limits = Limits { input_bytes: MAX_TORRENT_BYTES, depth: MAX_DEPTH, keys: KeyOrder::Any };

/// A whole torrent file.
pub(crate) fn torrent(bytes: &[u8]) -> Result<Torrent> {
    let not_bencode = |error| TorrentError::new("torrent file", Problem::NotBencode(error));
    let (value, rest) = decode_prefix(bytes, &LIMITS).map_err(not_bencode)?;
    // Line ends that an editor or a web form left behind the file belong to nothing; anything else is a damaged file.
    if rest.iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
        let offset = bytes.len() - rest.len();
        return Err(not_bencode(bencode::DecodeError { offset, kind: ErrorKind::TrailingData }));
    }
    let top = value.as_dict().ok_or(TorrentError::new("torrent file", Problem::WrongType("a dictionary")))?;
    let [info, piece_layers] = top.get_all(["info", "piece layers"]);
    let info: Dict<'_> = typed("info", info, "a dictionary", |value| value.as_dict())?;
    let mut torrent = from_dict(info)?;
    if torrent.version != Version::V1 {
        torrent.layers = layers::read(&torrent.layout, piece_layers)?;
    }
    torrent.outer = outer::read(top, torrent.layout.is_single_file());
    Ok(torrent)
}

/// An `info` dictionary alone. Bytes behind it would be part of no hash, so there may be none.
pub(crate) fn bare_info(bytes: &[u8]) -> Result<Torrent> {
    let value =
        bencode::decode(bytes, &LIMITS).map_err(|error| TorrentError::new("info", Problem::NotBencode(error)))?;
    from_dict(value.as_dict().ok_or(TorrentError::new("info", Problem::WrongType("a dictionary")))?)
}

/// The fields of `info` that are more than lists of files.
struct Fields<'a> {
    name: Option<Value<'a>>,
    piece_length: u32,
    pieces: Option<&'a [u8]>,
    file_tree: Option<Dict<'a>>,
}

fn from_dict(info: Dict<'_>) -> Result<Torrent> {
    let [name, name_utf8, piece_length, pieces, meta_version, file_tree, private, source] = info.get_all([
        "name",
        "name.utf-8",
        "piece length",
        "pieces",
        "meta version",
        "file tree",
        "private",
        "source",
    ]);
    let file_tree = read_version(meta_version, file_tree)?;
    let fields = Fields {
        name: name_utf8.filter(|name| name.as_str().is_some_and(|name| !name.is_empty())).or(name),
        piece_length: read_piece_length(piece_length, file_tree.is_some())?,
        pieces: pieces
            .map(|value| typed("info.pieces", Some(value), "a string", |value| value.as_bytes()))
            .transpose()?,
        file_tree,
    };
    let version = match (fields.pieces.is_some(), fields.file_tree.is_some()) {
        (true, true) => Version::Hybrid,
        (false, true) => Version::V2,
        (true, false) => Version::V1,
        (false, false) => return Err(TorrentError::new("info.pieces", Problem::Missing)),
    };
    let (info_hash_v1, info_hash_v2) = match version {
        Version::V1 => (Some(sha1(info.raw())), None),
        Version::V2 => (None, Some(sha256(info.raw()))),
        Version::Hybrid => (Some(sha1(info.raw())), Some(sha256(info.raw()))),
    };
    let digest: &dyn std::fmt::Display = match (&info_hash_v1, &info_hash_v2) {
        (_, Some(digest)) => digest,
        (digest, None) => &digest.unwrap_or_default(),
    };
    let name = read_name(fields.name, digest)?;
    let layout = read_layout(info, &fields, name)?;
    let v1_hashes = match fields.pieces {
        Some(pieces) => v1::check_hashes(pieces, &layout, info.raw())?,
        None => 0..0,
    };
    Ok(Torrent {
        info: info.raw().to_vec(),
        version,
        info_hash_v1,
        info_hash_v2,
        layout,
        v1_hashes,
        layers: PieceLayers::default(),
        outer: Outer::default(),
        source: text(source),
        is_private: private.and_then(|value| value.as_int()).is_some_and(|value| value != 0),
        misnamed: Default::default(),
    })
}

/// The v2 tree, if the torrent is of version 2. The version is looked at before anything that it may change (BEP 52).
fn read_version<'a>(meta_version: Option<Value<'a>>, file_tree: Option<Value<'a>>) -> Result<Option<Dict<'a>>> {
    const FIELD: &str = "info.meta version";
    let Some(version) = meta_version else { return Ok(None) };
    match typed(FIELD, Some(version), "an integer", |value| value.as_int())? {
        2 => typed("info.file tree", file_tree, "a dictionary", |value| value.as_dict()).map(Some),
        other => Err(TorrentError::new(FIELD, Problem::UnknownVersion(other))),
    }
}

fn read_piece_length(value: Option<Value<'_>>, is_v2: bool) -> Result<u32> {
    const FIELD: &str = "info.piece length";
    let found = int(FIELD, value)?;
    let least = if is_v2 { MIN_V2_PIECE_LENGTH } else { 1 };
    let length = u32::try_from(found)
        .ok()
        .filter(|length| (least..=MAX_PIECE_LENGTH).contains(length))
        .ok_or(TorrentError::new(FIELD, Problem::OutOfRange { found, least, most: MAX_PIECE_LENGTH }))?;
    if is_v2 && !length.is_power_of_two() {
        return Err(TorrentError::new(FIELD, Problem::NotAPowerOfTwo(length)));
    }
    Ok(length)
}

/// The torrent's name; one that stands for nothing is replaced by the info-hash, so that two such torrents do not share a
/// folder.
fn read_name(value: Option<Value<'_>>, digest: &dyn std::fmt::Display) -> Result<String> {
    let raw: &[u8] = typed("info.name", value, "a string", |value| value.as_bytes())?;
    Ok(sanitize::component(raw).map_or_else(|| digest.to_string(), std::borrow::Cow::into_owned))
}

fn read_layout(info: Dict<'_>, fields: &Fields<'_>, name: String) -> Result<FileLayout> {
    let v1 = fields.pieces.map(|_| v1::read_files(info, &name)).transpose()?;
    let v2 = fields.file_tree.map(v2::read_files).transpose()?;
    let (list, is_single_file, arrangement) = match (v1, v2) {
        (Some(v1), None) => (v1.list, v1.is_single_file, Arrangement::EndToEnd),
        (None, Some(v2)) => {
            // One file without a folder around it is a single-file torrent, whatever the torrent is called (BEP 52).
            let is_single_file = v2.files().len() == 1 && v2.is_at_top(0);
            (v2, is_single_file, Arrangement::FileAligned)
        }
        (Some(mut v1), Some(v2)) => {
            v2::agree(&mut v1.list, &v2, fields.piece_length)?;
            (v1.list, v1.is_single_file, Arrangement::EndToEnd)
        }
        (None, None) => return Err(TorrentError::new("info.pieces", Problem::Missing)),
    };
    let files = list.into_entries()?;
    FileLayout::new(name, is_single_file, fields.piece_length, arrangement, files)
        .map_err(|error| TorrentError::new("info", Problem::Layout(error)))
}

#[cfg(test)]
mod tests;
