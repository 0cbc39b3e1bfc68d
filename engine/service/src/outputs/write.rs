//! Writing and removing output files. A set is written whole: first all of it under temporary names, then renamed; what a
//! crash leaves half done the same call completes. A file that we did not write is never touched: the catalogue knows
//! what stood in ours.

use std::io;
use std::path::{Path, PathBuf};

use catalogue::ReleaseOutput;
use hash::Sha256Digest;

use super::folder::{Folder, Found};
use super::render::Output;
use super::{Recipe, split};

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Written {
    /// Files that were written.
    pub written_count: usize,
    /// Files that were there already, as they should be.
    pub kept_count: usize,
}

/// What was removed, and what was not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Removed {
    /// Files that are gone.
    pub removed_count: usize,
    /// Files that are not as we wrote them any more, and were left alone.
    pub foreign: Vec<PathBuf>,
}

/// Why output files were not written, or not removed.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Something else has the name.
    #[error("{}: is not ours and would be overwritten: move it away, or set `output` to another folder", .path.display())]
    Foreign {
        /// What is in the way.
        path: PathBuf,
    },
    /// A path that is not one of the tree's output files.
    #[error("{}: does not lie below {}", .path.display(), .root.display())]
    Outside {
        /// The path.
        path: PathBuf,
        /// Where output files lie.
        root: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes the output files of a release, or those that lack. Put their rows ([`Output::to_row`]) into the catalogue before, so
/// that a crash leaves none that nobody knows. `ours` are files of before that may be replaced. If one name is taken by
/// somebody else, nothing is written.
pub fn write_outputs(
    recipe: &Recipe,
    release: &str,
    outputs: &[Output],
    ours: &[ReleaseOutput],
) -> Result<Written, OutputError> {
    let (root, below) = (recipe.output_root(), split(release).0);
    let at = root.join(below);
    let makes = recipe.output.is_some();
    let folder = Folder::enter(root, below, makes).map_err(failed(&at, "enter the folder"))?;
    let mut lacking = Vec::new();
    for output in outputs {
        let name = name_of(&output.path, root, below)?;
        let may_replace = |sha256| ours.iter().any(|own| own.path == output.path && own.sha256 == sha256);
        match folder.look_at(name).map_err(failed(&output.path, "look at"))? {
            Found::File(sha256) if sha256 == output.sha256 => {}
            Found::File(sha256) if !may_replace(sha256) => return Err(foreign(&folder, name)),
            Found::Other => return Err(foreign(&folder, name)),
            Found::File(_) | Found::Nothing => lacking.push((name, temporary(name), output)),
        }
    }
    let written = write_all(&folder, &lacking);
    if written.is_err() {
        // Nothing more can be done where this fails too; the first error is the one to tell.
        lacking.iter().for_each(|(_, temporary, _)| drop(folder.remove(temporary)));
    }
    written?;
    Ok(Written { written_count: lacking.len(), kept_count: outputs.len() - lacking.len() })
}

/// Removes what we wrote for a release, as far as it is still as we wrote it, and folders below an output root of their own that
/// are empty by then.
pub fn remove_outputs(recipe: &Recipe, release: &str, ours: &[ReleaseOutput]) -> Result<Removed, OutputError> {
    let (root, below) = (recipe.output_root(), split(release).0);
    let folder = match Folder::enter(root, below, false) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Removed::default()),
        Err(error) => return Err(failed(&root.join(below), "enter the folder")(error)),
    };
    let mut removed = Removed::default();
    for own in ours {
        let name = name_of(&own.path, root, below)?;
        folder.remove(&temporary(name)).map_err(failed(&own.path, "remove what was left of"))?;
        match folder.look_at(name).map_err(failed(&own.path, "look at"))? {
            Found::File(sha256) if sha256 == own.sha256 => {
                folder.remove(name).map_err(failed(&own.path, "remove"))?;
                removed.removed_count += 1;
            }
            Found::Nothing => {}
            Found::File(_) | Found::Other => removed.foreign.push(own.path.clone()),
        }
    }
    folder.sync().map_err(failed(&root.join(below), "sync the folder"))?;
    if recipe.output.is_some() {
        remove_empty_folders(root, below)?;
    }
    Ok(removed)
}

fn write_all(folder: &Folder, lacking: &[(&str, String, &Output)]) -> Result<(), OutputError> {
    for (_, temporary, output) in lacking {
        folder.write_temporary(temporary, &output.bytes).map_err(failed(&output.path, "write beside"))?;
    }
    for (name, temporary, output) in lacking {
        folder.rename(temporary, name).map_err(failed(&output.path, "write"))?;
    }
    match lacking.first() {
        Some((_, _, output)) => folder.sync().map_err(failed(&output.path, "sync the folder of")),
        None => Ok(()),
    }
}

/// From the innermost on, until one is not empty.
fn remove_empty_folders(root: &Path, below: &str) -> Result<(), OutputError> {
    let mut at = below;
    while !at.is_empty() {
        let (above, name) = split(at);
        let is_gone = Folder::enter(root, above, false).and_then(|folder| folder.remove_empty(name));
        let is_gone = is_gone.map_err(failed(&root.join(at), "remove the empty folder"))?;
        if !is_gone {
            break;
        }
        at = above;
    }
    Ok(())
}

/// The name of an output file in the folder of its release.
fn name_of<'a>(path: &'a Path, root: &Path, below: &str) -> Result<&'a str, OutputError> {
    let relative = path.strip_prefix(root).ok().and_then(Path::to_str);
    let (folder, name) = split(relative.unwrap_or_default());
    match folder == below && !matches!(name, "" | "." | "..") {
        true => Ok(name),
        false => Err(OutputError::Outside { path: path.to_path_buf(), root: root.join(below) }),
    }
}

/// The name under which a file is written before it has its own: one that watchers of trees take for unfinished
/// (`publish::manners`), always the same, so that what a crash leaves is found again, and short whatever the file's is.
pub(super) fn temporary(name: &str) -> String {
    let digest: Sha256Digest = hash::sha256(name.as_bytes());
    format!(".spillway-{}.S0TEMP", &digest.to_string()[..16])
}

fn foreign(folder: &Folder, name: &str) -> OutputError {
    OutputError::Foreign { path: folder.path_of(name) }
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> OutputError {
    move |source| OutputError::Io { path: path.to_path_buf(), action, source }
}
