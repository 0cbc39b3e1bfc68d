//! The v1 list of files (BEP 3) with pads and links (BEP 47), and the v1 hashes.

use std::ops::Range;

use bencode::{Dict, Value};

use super::field::{attributes, path, size};
use crate::error::{Problem, Result, TorrentError};
use crate::file_list::{Attributes, FileList, Place};
use crate::layout::FileLayout;

/// What BitComet calls its pads.
const BITCOMET_PAD: &[u8] = b"_____padding_file_";

/// The shortest entry of a file, a pad without a path: `d4:attr1:p6:lengthi0ee`. A list of shorter ones is refused, so no
/// room is made for it.
const LEAST_ENTRY_BYTES: usize = 22;

/// The v1 part's files.
pub(super) struct Files {
    pub(super) list: FileList,
    pub(super) is_single_file: bool,
}

/// Reads `files`, or the one file that `info` itself describes.
pub(super) fn read_files(info: Dict<'_>, name: &str) -> Result<Files> {
    let mut list = FileList::default();
    let Some(files) = info.get("files") else {
        let attributes = Attributes { is_pad: false, is_symlink: false, ..attributes(info) };
        let length = size(|| "info.length".into(), info.get("length"))?;
        list.file(Place::TOP, name.as_bytes(), length, attributes)?;
        return Ok(Files { list, is_single_file: true });
    };
    let wrong = |problem| TorrentError::new("info.files", problem);
    let files = files.as_list().ok_or_else(|| wrong(Problem::WrongType("a list")))?;
    list.reserve(files.iter().count().min(files.raw().len() / LEAST_ENTRY_BYTES));
    let mut folders = Folders::default();
    for (index, file) in files.iter().enumerate() {
        read_file(&mut list, &mut folders, index, file)?;
    }
    if list.files().is_empty() {
        return Err(wrong(Problem::NoFiles));
    }
    Ok(Files { list, is_single_file: false })
}

fn read_file<'a>(list: &mut FileList, folders: &mut Folders<'a>, index: usize, file: Value<'a>) -> Result<()> {
    let field = |name: &str| format!("info.files[{index}]{name}");
    let dict = file.as_dict().ok_or_else(|| TorrentError::new(field(""), Problem::WrongType("a dictionary")))?;
    let [length, raw_path, path_utf8, link] = dict.get_all(["length", "path", "path.utf-8", "symlink path"]);
    let mut attributes = attributes(dict);
    let target = path(link).filter(|_| attributes.is_symlink);
    // BEP 47 lets a link go without a length.
    let length = match (length, &target) {
        (None, Some(_)) => 0,
        _ => size(|| field(".length"), length)?,
    };
    // Bytes that a link claims to have are part of the pieces, so it is taken for the file that holds them.
    attributes.is_symlink = target.is_some() && length == 0;
    let names = path(path_utf8).filter(|path| path.clone().next().is_some()).or_else(|| path(raw_path));
    if attributes.is_pad || names.clone().is_some_and(|names| is_pad_path(names, length)) {
        return list.pad(names.into_iter().flatten(), length);
    }
    let problem = if raw_path.is_none() { Problem::Missing } else { Problem::WrongType("a list of strings") };
    let mut names = names.ok_or_else(|| TorrentError::new(field(".path"), problem))?.peekable();
    let mut depth = 0;
    while let Some(name) = names.next() {
        if names.peek().is_none() {
            let place = folders.at(depth);
            list.file(place, name, length, attributes)?;
            if let Some(target) = target.filter(|_| attributes.is_symlink) {
                list.link(target)?;
            }
            return Ok(());
        }
        folders.enter(list, depth, name)?;
        depth += 1;
    }
    Err(TorrentError::new(field(".path"), Problem::NoFiles))
}

/// Whether a path is one of the names that pads go by without the attribute: `.pad/N` for N bytes (BEP 47), and BitComet's.
pub(crate) fn is_pad_path<'a>(path: impl Iterator<Item = &'a [u8]> + Clone, length: u64) -> bool {
    let last = path.clone().last().unwrap_or_default();
    let mut names = path;
    let is_bep47 = names.next() == Some(b".pad")
        && names.next().is_some_and(|name| name == length.to_string().as_bytes())
        && names.next().is_none();
    is_bep47 || last.starts_with(BITCOMET_PAD)
}

/// The folders of the file before, so that its neighbours share them.
#[derive(Default)]
struct Folders<'a> {
    open: Vec<(&'a [u8], Place)>,
}

impl<'a> Folders<'a> {
    /// The place `depth` folders deep.
    fn at(&mut self, depth: usize) -> Place {
        self.open[..depth].last().map_or(Place::TOP, |(_, place)| *place)
    }

    /// Makes `name` the folder at `depth`.
    fn enter(&mut self, list: &mut FileList, depth: usize, name: &'a [u8]) -> Result<()> {
        if self.open.get(depth).is_some_and(|(open, _)| *open == name) {
            return Ok(());
        }
        let place = list.folder(self.at(depth), name)?;
        self.open.truncate(depth);
        self.open.push((name, place));
        Ok(())
    }
}

/// Where in `info` the hashes are. There must be twenty bytes for every piece.
pub(super) fn check_hashes(pieces: &[u8], layout: &FileLayout, info: &[u8]) -> Result<Range<usize>> {
    let needed_bytes = u64::from(layout.piece_count()) * 20;
    if pieces.len() as u64 != needed_bytes {
        let problem = Problem::WrongSize { found_bytes: pieces.len() as u64, needed_bytes };
        return Err(TorrentError::new("info.pieces", problem));
    }
    let start = pieces.as_ptr().addr() - info.as_ptr().addr();
    Ok(start..start + pieces.len())
}
