//! The bytes of a new torrent file, keys in canonical order.

use bencode::{DictEncoder, Encoder, encode_dict};

use super::{CreateError, CreateOptions, FileHashes, PieceHashes};
use crate::geometry::FileIndex;
use crate::layout::{FileEntry, FileLayout};
use crate::limits::MAX_TORRENT_BYTES;
use crate::merkle::root_of_piece_layer;
use crate::torrent::{Torrent, Version};

/// Checks the hashes against the layout and writes the file.
pub(super) fn torrent(
    options: &CreateOptions,
    layout: &FileLayout,
    hashes: &PieceHashes,
) -> Result<Vec<u8>, CreateError> {
    if options.version != Version::V2 && hashes.v1.len() != layout.piece_count() as usize {
        return Err(CreateError::WrongHashes("not one SHA-1 for every piece"));
    }
    let trees = if options.version == Version::V1 { Vec::new() } else { order_trees(layout, &hashes.v2)? };
    let bytes = encode_dict(|top| {
        outer(top, options, layout);
        top.dict("info", |info| write_info(info, options, layout, hashes, &trees));
        if options.version != Version::V1 {
            top.dict("piece layers", |layers| write_layers(layers, &trees));
        }
    });
    if bytes.len() > MAX_TORRENT_BYTES {
        return Err(CreateError::TooLarge);
    }
    Torrent::parse(&bytes).map_err(CreateError::Unreadable)?;
    Ok(bytes)
}

/// The trees in the order of the files; `None` for files without one.
fn order_trees<'a>(layout: &FileLayout, given: &'a [FileHashes]) -> Result<Vec<Option<&'a FileHashes>>, CreateError> {
    let mut trees = vec![None; layout.files().len()];
    for tree in given {
        match trees.get_mut(tree.file.get() as usize) {
            Some(slot) => *slot = Some(tree),
            None => return Err(CreateError::WrongHashes("a tree of a file that is not there")),
        }
    }
    for (index, tree) in layout.file_indices().zip(&mut trees) {
        let file = layout.file(index);
        if file.is_pad || file.length == 0 {
            *tree = None;
            continue;
        }
        let tree = tree.ok_or(CreateError::WrongHashes("a file without a tree"))?;
        let fits = tree.layer.len() == layout.file_pieces(index).len()
            && root_of_piece_layer(&tree.layer, layout.piece_length()) == tree.root;
        if !fits {
            return Err(CreateError::WrongHashes("a piece layer that does not hash to its root"));
        }
    }
    Ok(trees)
}

fn outer(top: &mut DictEncoder<'_>, options: &CreateOptions, layout: &FileLayout) {
    sources(top, &options.trackers, &options.web_seeds, layout.is_single_file());
    if let Some(comment) = &options.comment {
        top.bytes("comment", comment);
    }
    if let Some(created_by) = &options.created_by {
        top.bytes("created by", created_by);
    }
    if let Some(date) = options.creation_date {
        top.int("creation date", date);
    }
}

/// Where peers and data are to be found.
pub(crate) fn sources(top: &mut DictEncoder<'_>, trackers: &[Vec<String>], web_seeds: &[String], is_single_file: bool) {
    let mut flat = trackers.iter().flatten();
    if let Some(first) = flat.next() {
        top.bytes("announce", first);
    }
    if flat.next().is_some() {
        top.list("announce-list", |tiers| {
            for tier in trackers {
                tiers.list(|urls| strings(urls, tier));
            }
        });
    }
    if !web_seeds.is_empty() {
        top.list("url-list", |urls| {
            for url in web_seeds {
                // Old clients append the path as it is, so a folder's URL must end in a slash.
                let slash = if is_single_file || url.ends_with('/') { "" } else { "/" };
                urls.bytes(format!("{url}{slash}"));
            }
        });
    }
}

fn write_info(
    info: &mut DictEncoder<'_>,
    options: &CreateOptions,
    layout: &FileLayout,
    hashes: &PieceHashes,
    trees: &[Option<&FileHashes>],
) {
    info.bytes("name", &options.name).int("piece length", i64::from(layout.piece_length()));
    if options.is_private {
        info.int("private", 1);
    }
    if let Some(source) = &options.source {
        info.bytes("source", source);
    }
    if options.version != Version::V2 {
        write_v1(info, layout);
        info.bytes("pieces", hashes.v1.iter().flat_map(|digest| digest.0).collect::<Vec<u8>>());
    }
    if options.version != Version::V1 {
        let files: Vec<TreeFile<'_>> = layout
            .file_indices()
            .zip(trees)
            .filter(|(index, _)| !layout.file(*index).is_pad)
            .map(|(index, tree)| TreeFile::new(layout, index, *tree))
            .collect();
        info.int("meta version", 2).dict("file tree", |tree| write_folder(tree, &files, 0));
    }
}

fn write_v1(info: &mut DictEncoder<'_>, layout: &FileLayout) {
    if layout.is_single_file() {
        describe(info, &layout.files()[0]);
        return;
    }
    info.list("files", |files| {
        for file in layout.files() {
            files.dict(|entry| {
                describe(entry, file);
                entry.list("path", |path| strings(path, file.path().components()));
            });
        }
    });
}

/// Length and attributes, which both formats write alike.
fn describe(entry: &mut DictEncoder<'_>, file: &FileEntry) {
    entry.int("length", file.length as i64);
    let letters =
        [(file.is_pad, 'p'), (file.executable, 'x'), (file.hidden, 'h'), (file.symlink_target.is_some(), 'l')];
    let attr: String = letters.iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| letter).collect();
    if !attr.is_empty() {
        entry.bytes("attr", attr);
    }
    if let Some(target) = &file.symlink_target {
        entry.list("symlink path", |path| strings(path, target.components()));
    }
}

/// A file of the v2 tree.
struct TreeFile<'a> {
    components: Vec<&'a str>,
    entry: &'a FileEntry,
    tree: Option<&'a FileHashes>,
}

impl<'a> TreeFile<'a> {
    fn new(layout: &'a FileLayout, index: FileIndex, tree: Option<&'a FileHashes>) -> TreeFile<'a> {
        let entry = layout.file(index);
        TreeFile { components: entry.path().components().collect(), entry, tree }
    }
}

/// Writes files that share their first `depth` components. They are sorted, so those of one folder are neighbours. Recursion
/// is bounded by the depth that [`super::Builder`] accepts.
fn write_folder(folder: &mut DictEncoder<'_>, files: &[TreeFile<'_>], depth: usize) {
    for group in files.chunk_by(|left, right| left.components[depth] == right.components[depth]) {
        let first = &group[0];
        folder.dict(first.components[depth], |inner| {
            if first.components.len() > depth + 1 {
                write_folder(inner, group, depth + 1);
                return;
            }
            inner.dict("", |entry| {
                describe(entry, first.entry);
                if let Some(tree) = first.tree {
                    entry.bytes("pieces root", tree.root.0);
                }
            });
        });
    }
}

fn write_layers(layers: &mut DictEncoder<'_>, trees: &[Option<&FileHashes>]) {
    // A layer of one hash is the root itself and not written.
    for tree in trees.iter().flatten().filter(|tree| tree.layer.len() > 1) {
        layers.bytes(tree.root.0, tree.layer.iter().flat_map(|digest| digest.0).collect::<Vec<u8>>());
    }
}

fn strings(list: &mut Encoder, items: impl IntoIterator<Item = impl AsRef<[u8]>>) {
    for item in items {
        list.bytes(item);
    }
}
