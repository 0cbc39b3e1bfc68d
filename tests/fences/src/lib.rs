//! What the fences read: the workspace as `cargo metadata` tells it, and the lines of its source files.
//! The rules themselves are in `tests/`.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// One dependency of a workspace crate on anything.
#[derive(Debug)]
pub struct Edge {
    /// The package depended on.
    pub to: String,
    /// Whether only tests and benchmarks need it.
    pub dev: bool,
    /// Whether it is a crate of this workspace.
    pub ours: bool,
}

/// One crate of the workspace.
#[derive(Debug)]
pub struct Crate {
    /// The package name.
    pub name: String,
    /// The folder with the manifest.
    pub folder: PathBuf,
    /// The root files of its library and programs.
    pub roots: Vec<PathBuf>,
    /// What it depends on.
    pub edges: Vec<Edge>,
}

/// One source file.
#[derive(Debug)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// The lines before its `tests` module; none if the whole file is tests.
    pub lines: Vec<String>,
    /// The first line of all.
    pub head: String,
}

/// The folder that holds the workspace manifest.
pub fn workspace_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

/// All crates of the workspace. Asks cargo, without the network.
///
/// # Panics
/// If cargo fails or says something else than its documented format: there is nothing to test then.
#[allow(clippy::expect_used, reason = "only tests call this, and a panic is how a test fails")]
pub fn crates() -> Vec<Crate> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(workspace_folder())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    list(&metadata, "packages").iter().map(package).collect()
}

/// Every Rust file below `folder`, except build output and what the fuzzer keeps.
pub fn sources(folder: &Path) -> Vec<Source> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !SKIPPED.contains(&name.as_str()) {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(source(path));
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

const SKIPPED: [&str; 4] = ["target", "node_modules", ".venv", "artifacts"];

fn source(path: PathBuf) -> Source {
    let text = fs::read_to_string(&path).unwrap_or_default();
    let head = text.lines().next().unwrap_or_default().to_owned();
    let all_tests = path.file_name().is_some_and(|name| name == "tests.rs")
        || path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "benches");
    let all: Vec<&str> = text.lines().collect();
    let inline_tests = all.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests"));
    let before_tests = if all_tests { 0 } else { inline_tests.unwrap_or(all.len()) };
    Source { path, lines: all[..before_tests].iter().map(|&line| line.to_owned()).collect(), head }
}

fn package(package: &Value) -> Crate {
    let manifest = PathBuf::from(text(package, "manifest_path"));
    let is_root = |target: &&Value| list(target, "kind").iter().any(|kind| kind == "lib" || kind == "bin");
    Crate {
        name: text(package, "name"),
        folder: manifest.parent().map(Path::to_path_buf).unwrap_or_default(),
        roots: list(package, "targets")
            .iter()
            .filter(is_root)
            .map(|target| PathBuf::from(text(target, "src_path")))
            .collect(),
        edges: list(package, "dependencies")
            .iter()
            .map(|edge| Edge { to: text(edge, "name"), dev: edge["kind"] == "dev", ours: edge["path"].is_string() })
            .collect(),
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}
