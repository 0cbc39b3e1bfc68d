//! The v2 tree of files (BEP 52), walked token by token so that depth costs neither stack nor time; and whether the v1 part
//! of a hybrid describes the same files.

use bencode::{Dict, Token, Tokens, Value};
use hash::Sha256Digest;

use super::LIMITS;
use super::field::{attributes, path, size};
use crate::error::{Problem, Result, TorrentError};
use crate::file_list::{Attributes, FileList, Place};

const FIELD: &str = "info.file tree";

/// Reads the tree's files, in the order in which it has them.
pub(super) fn read_files(tree: Dict<'_>) -> Result<FileList> {
    let not_bencode = |error| TorrentError::new(FIELD, Problem::NotBencode(error));
    let mut tokens = Tokens::new(tree.raw(), &LIMITS).map_err(not_bencode)?;
    let mut walk = Walk { list: FileList::default(), open: Vec::new() };
    // The name whose dictionary comes next; the root has none.
    let mut name: &[u8] = b"";
    while let Some(token) = tokens.next_token().map_err(not_bencode)? {
        match token {
            Token::DictStart => walk.open.push(Open { name, place: Place::TOP, content: Content::Nothing }),
            Token::Key(b"") => walk.describe(tokens.next_value().map_err(not_bencode)?)?,
            Token::Key(key) => {
                walk.name_inside()?;
                name = key;
            }
            Token::End => drop(walk.open.pop()),
            Token::Int(_) | Token::Bytes(_) | Token::ListStart => {
                return Err(TorrentError::new(walk.path(name), Problem::WrongType("a dictionary")));
            }
        }
    }
    if walk.list.files().is_empty() {
        return Err(TorrentError::new(FIELD, Problem::NoFiles));
    }
    Ok(walk.list)
}

/// A dictionary of the tree that is being read.
struct Open<'a> {
    name: &'a [u8],
    /// Where its names go, once it is known to be a folder.
    place: Place,
    content: Content,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Nothing,
    File,
    Folder,
}

struct Walk<'a> {
    list: FileList,
    open: Vec<Open<'a>>,
}

impl<'a> Walk<'a> {
    /// The innermost dictionary turns out to hold a name: it is a folder.
    fn name_inside(&mut self) -> Result<()> {
        let around = self.around();
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        match open.content {
            Content::Folder => return Ok(()),
            Content::File => return Err(TorrentError::new(self.path(b""), Problem::FileAndFolder)),
            Content::Nothing => open.content = Content::Folder,
        }
        if let Some(around) = around {
            open.place = self.list.folder(around, open.name)?;
        }
        Ok(())
    }

    /// The innermost dictionary turns out to be a file, described by `value`.
    fn describe(&mut self, value: Option<Value<'a>>) -> Result<()> {
        let error = |walk: &Walk<'_>, problem| TorrentError::new(walk.path(b""), problem);
        let dict = value.and_then(|value| value.as_dict());
        let dict = dict.ok_or_else(|| error(self, Problem::WrongType("a dictionary")))?;
        let place = self.around().ok_or_else(|| error(self, Problem::FileAndFolder))?;
        match self.open.last_mut() {
            Some(open) if open.content == Content::Nothing => open.content = Content::File,
            _ => return Err(error(self, Problem::FileAndFolder)),
        }
        self.add_file(place, dict)
    }

    fn add_file(&mut self, place: Place, dict: Dict<'a>) -> Result<()> {
        let [length, root, link] = dict.get_all(["length", "pieces root", "symlink path"]);
        let attributes = attributes(dict);
        let target = path(link).filter(|_| attributes.is_symlink);
        // Links go without a length here (libtorrent writes none).
        let length = match (length, &target) {
            (None, Some(_)) => 0,
            _ => size(|| self.path(b"") + ".length", length)?,
        };
        let target = target.filter(|_| length == 0);
        let root = if length > 0 { Some(self.read_root(root)?) } else { None };
        // Pads belong to the v1 list; nothing in a v2 tree is one.
        let attributes = Attributes { is_pad: false, is_symlink: target.is_some(), ..attributes };
        let name = self.open.last().map_or(&b""[..], |open| open.name);
        self.list.file(place, name, length, attributes)?;
        self.list.set_root(self.list.files().len() - 1, root);
        target.map_or(Ok(()), |target| self.list.link(target))
    }

    fn read_root(&self, value: Option<Value<'_>>) -> Result<Sha256Digest> {
        let error = |problem| TorrentError::new(self.path(b"") + ".pieces root", problem);
        let bytes = value.ok_or_else(|| error(Problem::Missing))?.as_bytes();
        let bytes = bytes.ok_or_else(|| error(Problem::WrongType("a string")))?;
        let problem = Problem::WrongSize { found_bytes: bytes.len() as u64, needed_bytes: 32 };
        bytes.try_into().map(Sha256Digest).map_err(|_| error(problem))
    }

    /// The folder that the innermost dictionary stands in; `None` for the root.
    fn around(&self) -> Option<Place> {
        let outer = self.open.len().checked_sub(2)?;
        self.open.get(outer).map(|open| open.place)
    }

    /// The field for an error: the tree, the names down to here, and `name` if it is not empty.
    fn path(&self, name: &[u8]) -> String {
        let names = self.open.iter().map(|open| open.name).chain([name]).filter(|name| !name.is_empty());
        names.fold(FIELD.to_owned(), |path, name| path + "/" + &String::from_utf8_lossy(name))
    }
}

/// Checks that the v1 list has the files of the v2 tree, at the places where v2 pieces put them, and gives it the tree's
/// roots. A hybrid whose parts disagree could hold different data for different peers.
pub(super) fn agree(v1: &mut FileList, v2: &FileList, piece_length: u32) -> Result<()> {
    let disagree = |index: usize, what| TorrentError::new(format!("info.files[{index}]"), Problem::PartsDisagree(what));
    let piece_length = u64::from(piece_length);
    // Sums beyond 64 bits are refused when the files are laid out.
    let (mut v2_index, mut offset, mut v2_offset) = (0, 0u64, 0u64);
    for index in 0..v1.files().len() {
        let file = &v1.files()[index];
        let (length, start) = (file.length, offset);
        offset = offset.saturating_add(length);
        if file.attributes.is_pad {
            continue;
        }
        let twin = v2.files().get(v2_index).ok_or(disagree(index, "the v2 part has fewer files"))?;
        if !v1.same_path(index, v2, v2_index) {
            return Err(disagree(index, "the paths differ"));
        }
        if twin.length != length {
            return Err(disagree(index, "the lengths differ"));
        }
        if twin.attributes.is_symlink != file.attributes.is_symlink {
            return Err(disagree(index, "one is a symbolic link"));
        }
        if length > 0 {
            v2_offset = v2_offset.checked_next_multiple_of(piece_length).unwrap_or(u64::MAX);
            if start != v2_offset {
                return Err(disagree(index, "the file starts at another piece, or within one"));
            }
            v2_offset = v2_offset.saturating_add(length);
        }
        let root = twin.pieces_root;
        v1.set_root(index, root);
        v2_index += 1;
    }
    if v2_index != v2.files().len() {
        return Err(TorrentError::new(FIELD, Problem::PartsDisagree("the v1 part has fewer files")));
    }
    // A pad behind the last file may fill its piece, as libtorrent has it, but not make another one.
    if offset.div_ceil(piece_length) != v2_offset.div_ceil(piece_length) {
        return Err(TorrentError::new("info.files", Problem::PartsDisagree("the v1 part has more pieces")));
    }
    Ok(())
}
