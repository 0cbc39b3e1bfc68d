//! Which paths of a tree may be releases. The first rule from the top that matches a path decides; what lies in a
//! directory release belongs to it and is no release of its own, so that no two releases overlap.

use std::fmt;

use globset::{GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

use crate::embargo::EMBARGO_SUFFIX;
use crate::limits::{MAX_DEPTH, MAX_PATH_BYTES};
use crate::manners;

/// The suffixes of what is written for a release beside it.
pub(crate) const OUTPUT_SUFFIXES: [&str; 4] = [".torrent", ".magnet", ".meta4", ".sha256"];

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// A glob over the whole path below the root: `*` stays within one name, `**` goes over any number of folders.
    pub glob: String,
    /// What a path that it matches becomes.
    pub becomes: Becomes,
}

/// What a path becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Becomes {
    /// A release of one file.
    File,
    /// A release of a directory with all that is in it.
    Directory,
    /// Nothing, with all that is in it.
    Ignored,
}

/// What a path is, given what its directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A directory in which releases may lie; the root is one.
    Plain,
    /// A release.
    Release,
    /// A file or directory inside a directory release.
    Part,
    /// A file that is not finished, or a directory of such; what is in it is not looked at.
    Temporary,
    /// A file that says when the release beside it opens.
    Embargo,
    /// Nothing that matters; what is in it is not looked at.
    Skipped,
}

/// The rules of one root, ready to be asked.
#[derive(Clone)]
pub struct Rules {
    rules: Vec<(GlobMatcher, Becomes)>,
    include: Option<GlobSet>,
    exclude: GlobSet,
    reserved: Vec<String>,
    outputs_beside: bool,
}

/// A glob that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{glob:?} is no glob: {reason}")]
pub struct RulesError {
    /// As it was written.
    pub glob: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Rules {
    /// Rules from the top.
    pub fn new(rules: &[Rule]) -> Result<Rules, RulesError> {
        let rules = rules.iter().map(|rule| Ok((compile(&rule.glob)?.compile_matcher(), rule.becomes)));
        let rules = rules.collect::<Result<_, RulesError>>()?;
        let (include, exclude) = (None, GlobSet::empty());
        Ok(Rules { rules, include, exclude, reserved: Vec::new(), outputs_beside: false })
    }

    /// If there are any globs, nothing is seen but files that match one, or that lie in a directory that does.
    pub fn including(self, globs: &[String]) -> Result<Rules, RulesError> {
        let include = if globs.is_empty() { None } else { Some(compile_all(globs)?) };
        Ok(Rules { include, ..self })
    }

    /// Nothing is seen that matches one of the globs, nor what is in it.
    pub fn excluding(self, globs: &[String]) -> Result<Rules, RulesError> {
        Ok(Rules { exclude: compile_all(globs)?, ..self })
    }

    /// Paths below the root that are ours, with all that is in them: a folder that receives output files, say.
    pub fn reserving(mut self, paths: Vec<String>) -> Rules {
        self.reserved = paths;
        self
    }

    /// Output files are written beside releases, so that `NAME.torrent` beside the release `NAME` is no content.
    pub fn with_outputs_beside(mut self) -> Rules {
        self.outputs_beside = true;
        self
    }

    /// What the entry at `path` is, when its directory has the role `parent`.
    pub fn role(&self, parent: Role, path: &str, is_directory: bool) -> Role {
        let name = path.rsplit('/').next().unwrap_or(path);
        if matches!(parent, Role::Temporary | Role::Embargo | Role::Skipped) || self.is_out(path) {
            return Role::Skipped;
        }
        if manners::is_temporary(name) {
            return Role::Temporary;
        }
        let is_plain_file = parent == Role::Plain && !is_directory;
        if is_plain_file && name.len() > EMBARGO_SUFFIX.len() && name.ends_with(EMBARGO_SUFFIX) {
            return Role::Embargo;
        }
        if !is_directory && !self.is_included(path) {
            return Role::Skipped;
        }
        if parent != Role::Plain {
            return Role::Part;
        }
        match self.becomes(path, is_directory) {
            Some(Becomes::Ignored) => Role::Skipped,
            Some(Becomes::File | Becomes::Directory) => Role::Release,
            None if is_directory => Role::Plain,
            None => Role::Skipped,
        }
    }

    /// Like [`Rules::role`], from the root down.
    pub fn role_from_root(&self, path: &str, is_directory: bool) -> Role {
        let mut role = Role::Plain;
        if path.is_empty() {
            return role;
        }
        for (slash, _) in path.match_indices('/') {
            role = self.role(role, &path[..slash], true);
        }
        self.role(role, path, is_directory)
    }

    /// The release that `path`, if it were written beside it by us, would be an output file of.
    pub(crate) fn output_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        let stem = OUTPUT_SUFFIXES.iter().find_map(|suffix| path.strip_suffix(suffix))?;
        (self.outputs_beside && !stem.is_empty() && !stem.ends_with('/')).then_some(stem)
    }

    fn becomes(&self, path: &str, is_directory: bool) -> Option<Becomes> {
        let fits = |becomes| match becomes {
            Becomes::File => !is_directory,
            Becomes::Directory => is_directory,
            Becomes::Ignored => true,
        };
        let rule = self.rules.iter().find(|(glob, becomes)| fits(*becomes) && glob.is_match(path))?;
        Some(rule.1)
    }

    fn is_included(&self, path: &str) -> bool {
        let Some(include) = &self.include else { return true };
        let mut above = path.match_indices('/').map(|(slash, _)| &path[..slash]);
        include.is_match(path) || above.any(|directory| include.is_match(directory))
    }

    fn is_out(&self, path: &str) -> bool {
        let is_reserved = |reserved: &String| path == reserved || lies_below(path, reserved);
        path.len() > MAX_PATH_BYTES
            || path.split('/').count() > MAX_DEPTH
            || self.exclude.is_match(path)
            || self.reserved.iter().any(is_reserved)
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.rules.iter().map(|(glob, becomes)| (glob.glob().glob(), becomes))).finish()
    }
}

/// Whether `path` lies in the directory `directory`, at any depth.
pub(crate) fn lies_below(path: &str, directory: &str) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

fn compile(pattern: &str) -> Result<globset::Glob, RulesError> {
    // A directory is compared without the slash that people put behind it.
    let glob = GlobBuilder::new(pattern.trim_end_matches('/')).literal_separator(true).backslash_escape(true).build();
    glob.map_err(|error| no_glob(pattern, &error))
}

fn compile_all(patterns: &[String]) -> Result<GlobSet, RulesError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(compile(pattern)?);
    }
    set.build().map_err(|error| no_glob(&patterns.join(" "), &error))
}

fn no_glob(glob: &str, error: &globset::Error) -> RulesError {
    RulesError { glob: glob.to_owned(), reason: error.kind().to_string() }
}

#[cfg(test)]
mod tests;
