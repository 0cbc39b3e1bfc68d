//! The files of a torrent while it is read: raw paths become safe paths, pads and links are told apart, and no two files
//! get the same path. v1 and v2 both end here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hash::Sha256Digest;

use crate::error::{Problem, Result, TorrentError};
use crate::layout::FileEntry;
use crate::path::{PathTable, ROOT, RelativePath};
use crate::sanitize::{self, MAX_NAME_BYTES};

/// The longest path below the torrent's folder, in bytes: `PATH_MAX` of Linux is 4096 with the folder's own path, which
/// gets a quarter. Folders that would go beyond are left out of the path.
const MAX_PATH_BYTES: usize = 3072;

/// Where in the tree a name is to be added.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    node: u32,
    /// Bytes of the path so far, separators included.
    size: usize,
}

impl Place {
    /// The torrent's folder.
    pub(crate) const TOP: Place = Place { node: ROOT, size: 0 };
}

/// Attributes of BEP 47, as the torrent has them.
#[derive(Clone, Copy, Default)]
pub(crate) struct Attributes {
    pub(crate) is_pad: bool,
    pub(crate) executable: bool,
    pub(crate) hidden: bool,
    pub(crate) is_symlink: bool,
}

/// A file whose path is still a node of a table.
pub(crate) struct ListedFile {
    node: u32,
    pub(crate) length: u64,
    pub(crate) attributes: Attributes,
    /// In the table of loose paths.
    symlink_target: Option<u32>,
    pub(crate) pieces_root: Option<Sha256Digest>,
}

/// Files in the order of the torrent.
#[derive(Default)]
pub(crate) struct FileList {
    files: Vec<ListedFile>,
    /// Paths that are written to disk, no two alike in the end.
    paths: PathTable,
    /// Paths of pads, and what links point to: they may repeat.
    loose: PathTable,
}

impl FileList {
    /// Makes room for exactly so many files.
    pub(crate) fn reserve(&mut self, files: usize) {
        self.files.reserve_exact(files);
        self.paths.reserve(files);
    }

    /// The files added so far.
    pub(crate) fn files(&self) -> &[ListedFile] {
        &self.files
    }

    /// Whether a path of safe names is short enough to be kept as it is.
    pub(crate) fn fits<'a>(path: impl Iterator<Item = &'a [u8]>) -> bool {
        path.map(|name| name.len() + 1).sum::<usize>() <= MAX_PATH_BYTES - MAX_NAME_BYTES
    }

    /// The folder `raw` in `place`; `place` itself for a name that stands for nothing, or where the path would get too
    /// long.
    pub(crate) fn folder(&mut self, place: Place, raw: &[u8]) -> Result<Place> {
        let Some(name) = sanitize::component(raw) else { return Ok(place) };
        let size = place.size + name.len() + 1;
        if size > MAX_PATH_BYTES - MAX_NAME_BYTES {
            return Ok(place);
        }
        Ok(Place { node: self.paths.push(place.node, &name).ok_or_else(too_many_names)?, size })
    }

    /// Adds a file `raw` in `place`.
    pub(crate) fn file(&mut self, place: Place, raw: &[u8], length: u64, attributes: Attributes) -> Result<()> {
        let name = sanitize::component(raw).unwrap_or("_".into());
        let node = self.paths.push(place.node, &name).ok_or_else(too_many_names)?;
        self.files.push(ListedFile { node, length, attributes, symlink_target: None, pieces_root: None });
        Ok(())
    }

    /// Adds a pad; its path is only ever shown.
    pub(crate) fn pad<'a>(&mut self, path: impl Iterator<Item = &'a [u8]>, length: u64) -> Result<()> {
        let node = match self.loose_path(path)? {
            Some(node) => node,
            // A pad needs no path (BEP 47); it is shown under the usual one.
            None => {
                let folder = self.loose.push(ROOT, ".pad").ok_or_else(too_many_names)?;
                self.loose.push(folder, &length.to_string()).ok_or_else(too_many_names)?
            }
        };
        let attributes = Attributes { is_pad: true, ..Attributes::default() };
        self.files.push(ListedFile { node, length, attributes, symlink_target: None, pieces_root: None });
        Ok(())
    }

    /// Says of the last file where its link points, from the torrent's folder. A path that stands for nothing makes it an
    /// ordinary empty file.
    pub(crate) fn link<'a>(&mut self, target: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        let target = self.loose_path(target)?;
        if let Some(file) = self.files.last_mut() {
            file.symlink_target = target;
        }
        Ok(())
    }

    /// Says of a file what its root is.
    pub(crate) fn set_root(&mut self, index: usize, pieces_root: Option<Sha256Digest>) {
        self.files[index].pieces_root = pieces_root;
    }

    /// Whether a file of this list and one of another have the same path.
    pub(crate) fn same_path(&self, index: usize, other: &FileList, other_index: usize) -> bool {
        let (mut left, mut right) = (self.files[index].node, other.files[other_index].node);
        while left != ROOT && right != ROOT {
            if self.paths.name(left) != other.paths.name(right) {
                return false;
            }
            (left, right) = (self.paths.parent(left), other.paths.parent(right));
        }
        left == right
    }

    /// Whether the file stands in the torrent's folder itself.
    pub(crate) fn is_at_top(&self, index: usize) -> bool {
        self.paths.parent(self.files[index].node) == ROOT
    }

    /// The files with safe paths that are all different.
    pub(crate) fn into_entries(mut self) -> Result<Vec<FileEntry>> {
        self.part_collisions()?;
        let FileList { files, paths, loose } = self;
        let (paths, loose) = (Arc::new(paths), Arc::new(loose));
        let entry = |file: ListedFile| {
            let table = if file.attributes.is_pad { &loose } else { &paths };
            FileEntry {
                is_pad: file.attributes.is_pad,
                executable: file.attributes.executable,
                hidden: file.attributes.hidden,
                symlink_target: file.symlink_target.map(|node| RelativePath::new(&loose, node)),
                pieces_root: file.pieces_root,
                ..FileEntry::new(RelativePath::new(table, file.node), file.length)
            }
        };
        Ok(files.into_iter().map(entry).collect())
    }

    fn loose_path<'a>(&mut self, path: impl Iterator<Item = &'a [u8]>) -> Result<Option<u32>> {
        let (mut node, mut size) = (ROOT, 0);
        for name in path.filter_map(sanitize::component) {
            size += name.len() + 1;
            if size > MAX_PATH_BYTES {
                break;
            }
            node = self.loose.push(node, &name).ok_or_else(too_many_names)?;
        }
        Ok((node != ROOT).then_some(node))
    }

    /// Renames files until no two have the same path and no file stands where a folder does. Folders of the same name are
    /// one folder and keep it. Of files the first in the torrent keeps its name, the others get a number before their
    /// extension. Level by level, so that equal folders are known as one before what is in them is compared.
    fn part_collisions(&mut self) -> Result<()> {
        let mut is_file = vec![false; self.paths.len()];
        for file in self.files.iter().filter(|file| !file.attributes.is_pad) {
            is_file[file.node as usize] = true;
        }
        // The first of all folders that are one with a node's folder.
        let mut same_as: Vec<u32> = (0..self.paths.len() as u32).collect();
        let mut depth = vec![0u16; self.paths.len()];
        for node in 0..self.paths.len() as u32 {
            let parent = self.paths.parent(node);
            depth[node as usize] = if parent == ROOT { 0 } else { depth[parent as usize] + 1 };
        }
        let mut order: Vec<u32> = (0..self.paths.len() as u32).collect();
        order.sort_by_key(|node| depth[*node as usize]);
        for level in order.chunk_by_mut(|left, right| depth[*left as usize] == depth[*right as usize]) {
            let renames = level_collisions(&self.paths, level, &is_file, &mut same_as);
            for (node, name) in renames {
                self.paths.rename(node, &name).ok_or_else(too_many_names)?;
            }
        }
        Ok(())
    }
}

/// Merges the folders of one level that are the same, and finds new names for files that collide. Sorts `level`.
fn level_collisions(paths: &PathTable, level: &mut [u32], is_file: &[bool], same_as: &mut [u32]) -> Vec<(u32, String)> {
    let folder = |node: u32, same_as: &[u32]| match paths.parent(node) {
        ROOT => ROOT,
        parent => same_as[parent as usize],
    };
    // Folders come before files of the same name, and files in the order of the torrent.
    level.sort_unstable_by_key(|node| (folder(*node, same_as), paths.name(*node), is_file[*node as usize], *node));
    let mut renames = Vec::new();
    let mut names = NewNames::default();
    let is_same = |left: u32, right: u32, same_as: &[u32]| {
        folder(left, same_as) == folder(right, same_as) && paths.name(left) == paths.name(right)
    };
    let mut first = 0;
    for index in 0..level.len() {
        let node = level[index];
        if !is_same(level[first], node, same_as) {
            first = index;
        }
        if index == first {
            continue;
        }
        if !is_file[node as usize] {
            same_as[node as usize] = level[first];
            continue;
        }
        let parent = folder(node, same_as);
        let is_taken = |name: &str| {
            level.binary_search_by(|other| (folder(*other, same_as), paths.name(*other)).cmp(&(parent, name))).is_ok()
        };
        renames.push((node, names.find(parent, paths.name(node), is_taken)));
    }
    renames
}

/// Names given out on one level.
#[derive(Default)]
struct NewNames {
    given: BTreeSet<(u32, String)>,
    /// The last number tried for a beginning and an ending, so that many files of one name cost no more than few.
    numbers: BTreeMap<(u32, String, String), u32>,
}

impl NewNames {
    /// A name like `name` in `folder` that is neither taken nor given.
    fn find(&mut self, folder: u32, name: &str, is_taken: impl Fn(&str) -> bool) -> String {
        /// A dot and the digits of any `u32`.
        const NUMBER_BYTES: usize = 11;
        let (stem, extension) = sanitize::split_extension(name);
        let stem = sanitize::cut_to(stem, MAX_NAME_BYTES - extension.len() - NUMBER_BYTES);
        let number = self.numbers.entry((folder, stem.to_owned(), extension.to_owned())).or_default();
        loop {
            *number += 1;
            let candidate = format!("{stem}.{number}{extension}");
            if !is_taken(&candidate) && self.given.insert((folder, candidate.clone())) {
                return candidate;
            }
        }
    }
}

fn too_many_names() -> TorrentError {
    TorrentError::new("info", Problem::TooManyNames)
}

#[cfg(test)]
mod tests;
