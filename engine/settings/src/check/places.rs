//! Paths that must not lie within each other: what is published, what is written, and the state. Compared as they are written;
//! links are not known here.

use std::path::{Component, Path};

use super::{Findings, key};
use crate::document::KeyPath;
use crate::sections::Settings;

/// A place on disk and what it is for.
struct Spot<'a> {
    at: KeyPath,
    path: &'a Path,
    what: String,
}

impl Settings {
    /// Whether the state may be kept at a path: neither a tree that publishes itself nor what is fetched holds it, or lies in it.
    /// For whoever chooses the path where `engine.state_dir` is unset.
    ///
    /// # Errors
    /// One line that names both.
    pub fn state_fits_at(&self, state_dir: &Path) -> Result<(), String> {
        let mut spots = self.roots().chain(self.outputs()).chain(self.mirrored());
        match spots.find(|spot| overlap(spot.path, state_dir)) {
            None => Ok(()),
            Some(spot) => Err(format!(
                "the state directory {} and {} ({}) lie within each other; set engine.state_dir to another place",
                state_dir.display(),
                spot.what,
                spot.path.display()
            )),
        }
    }

    pub(super) fn check_places(&self, findings: &mut Findings) {
        let written: Vec<Spot<'_>> = self.roots().chain(self.mirrored()).collect();
        for (index, later) in written.iter().enumerate() {
            for earlier in written[..index].iter().filter(|earlier| overlap(earlier.path, later.path)) {
                let what = format!("{} and {} lie within each other", later.path.display(), earlier.what);
                findings.add(later.at.clone(), what);
            }
        }
        for output in self.outputs() {
            for root in written.iter().filter(|root| output.path.starts_with(root.path)) {
                let what = format!("{} lies in {}, which would publish it", output.path.display(), root.what);
                findings.add(output.at.clone(), format!("{what}; unset, the files are written beside each release"));
            }
        }
        if let Some(state_dir) = &self.engine.state_dir
            && let Err(problem) = self.state_fits_at(state_dir)
        {
            findings.add(key("engine").name("state_dir"), problem);
        }
    }

    fn roots(&self) -> impl Iterator<Item = Spot<'_>> {
        spots("publish", "root", self.publish.iter().map(|publish| publish.root.as_path()))
    }

    fn outputs(&self) -> impl Iterator<Item = Spot<'_>> {
        let outputs = self.publish.iter().map(|publish| publish.output.as_deref().unwrap_or(Path::new("")));
        spots("publish", "output", outputs)
    }

    fn mirrored(&self) -> impl Iterator<Item = Spot<'_>> {
        spots("subscribe", "output", self.subscribe.iter().map(|subscribe| subscribe.output.as_path()))
    }
}

/// Entries without a path are left out.
fn spots<'a>(list: &'a str, name: &'a str, paths: impl Iterator<Item = &'a Path>) -> impl Iterator<Item = Spot<'a>> {
    paths.enumerate().filter(|(_, path)| !path.as_os_str().is_empty()).map(move |(index, path)| {
        let at = key(list).index(index).name(name);
        Spot { what: at.to_string(), at, path }
    })
}

fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Why a path cannot be one of the service's, which runs in the root directory.
pub(super) fn problem_of(path: &Path) -> Option<String> {
    let shown = path.display();
    if !path.is_absolute() {
        return Some(format!("\"{shown}\" is no absolute path; write it from / on"));
    }
    let climbs = path.components().any(|part| part == Component::ParentDir);
    climbs.then(|| format!("\"{shown}\" has `..` in it; write it without"))
}
