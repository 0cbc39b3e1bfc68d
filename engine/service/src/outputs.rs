//! From a path of a published tree to what is handed out: the torrent and its sums ([`prepare_release`]), and the files beside
//! it (`NAME.torrent`, `.magnet`, `.meta4`, `.sha256`), rendered, written and removed. All of it blocks, and belongs on the
//! blocking pool. When it is done, and what else is done with a release, is the publisher's business.

mod folder;
mod prepare;
mod render;
mod write;

use std::path::{Path, PathBuf};

use metainfo::Version;
use publish::metalink::Mirror;
use seedbox::{CreateOptions, Symlinks};
use settings::{Format, Publish};

pub use prepare::{PrepareError, Prepared, add_known, known_files, prepare_release};
pub use render::{Output, RenderError, render};
pub use write::{OutputError, Removed, Written, remove_outputs, write_outputs};

/// How the releases of one tree are made and handed out.
#[derive(Clone, Debug)]
pub struct Recipe {
    root: PathBuf,
    /// The folder that receives the output files; beside the releases if there is none.
    output: Option<PathBuf>,
    create: CreateOptions,
    /// Web servers that hold the tree.
    web_seeds: Vec<String>,
    /// Mirrors of the tree.
    mirrors: Vec<Mirror>,
    /// Where our own HTTP server hands out the output files.
    files_url: Option<String>,
}

impl Recipe {
    /// What the settings say of a tree. `own_trackers` are the URLs of our tracker in tiers, and come first if the tree wants
    /// them; `files_url` is the URL beneath which our server hands out `/releases/…`.
    pub fn new(publish: &Publish, own_trackers: &[Vec<String>], files_url: Option<&str>) -> Recipe {
        let own = own_trackers.iter().filter(|_| publish.own_tracker);
        let mirrors = publish.mirrors.iter().map(|mirror| Mirror {
            base_url: mirror.url.as_str().to_owned(),
            location: mirror.location.clone(),
            priority: mirror.priority,
        });
        let create = CreateOptions {
            version: match publish.format {
                Format::Hybrid => Version::Hybrid,
                Format::V1 => Version::V1,
                Format::V2 => Version::V2,
            },
            // The settings were checked: a length that does not fit is larger than any torrent may have.
            piece_length: publish.piece_length.map(|size| u32::try_from(size.0).unwrap_or(u32::MAX)),
            trackers: own.chain(&publish.trackers).cloned().collect(),
            is_private: publish.private,
            comment: publish.comment.clone(),
            source: publish.source.clone(),
            symlinks: match publish.symlinks {
                settings::Symlinks::Keep => Symlinks::Keep,
                settings::Symlinks::Follow => Symlinks::Follow,
                settings::Symlinks::Refuse => Symlinks::Refuse,
            },
            file_sha256: true,
            ..CreateOptions::default()
        };
        Recipe {
            root: publish.root.clone(),
            output: publish.output.clone(),
            create,
            web_seeds: publish.web_seeds.iter().map(|url| url.as_str().to_owned()).collect(),
            mirrors: mirrors.collect(),
            files_url: files_url.map(str::to_owned),
        }
    }

    /// Where a release's content lies.
    pub fn content_path(&self, release: &str) -> PathBuf {
        self.root.join(release)
    }

    /// The folder below which output files lie, each in the folder that its release has below the root.
    pub(crate) fn output_root(&self) -> &Path {
        self.output.as_deref().unwrap_or(&self.root)
    }
}

/// The folder of a release below its root, and its name.
fn split(release: &str) -> (&str, &str) {
    release.rsplit_once('/').unwrap_or(("", release))
}

/// The names of a path.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests;
