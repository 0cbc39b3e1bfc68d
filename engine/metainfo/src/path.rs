//! Relative paths that are safe to join to a folder, stored once per torrent. How a raw name becomes safe is in
//! `sanitize`; nothing here touches a file system.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The parent of a path's first component.
pub(crate) const ROOT: u32 = u32::MAX;

/// One component of a path: its name and the component that it stands in.
#[derive(Clone, Copy)]
struct Node {
    parent: u32,
    start: u32,
    size: u16,
}

/// Every path of a torrent as one tree. Directories are shared, so a deep v2 tree costs what its bytes cost and not
/// depth times files.
#[derive(Default)]
pub(crate) struct PathTable {
    names: String,
    nodes: Vec<Node>,
}

impl PathTable {
    /// Appends a component below `parent` ([`ROOT`] for none). `None` when the table is full (4 GiB of names).
    pub(crate) fn push(&mut self, parent: u32, name: &str) -> Option<u32> {
        let index = u32::try_from(self.nodes.len()).ok().filter(|index| *index != ROOT)?;
        let (start, size) = self.store(name)?;
        self.nodes.push(Node { parent, start, size });
        Some(index)
    }

    /// Gives a component another name. `None` when the table is full.
    pub(crate) fn rename(&mut self, node: u32, name: &str) -> Option<()> {
        let (start, size) = self.store(name)?;
        let node = self.nodes.get_mut(node as usize)?;
        (node.start, node.size) = (start, size);
        Some(())
    }

    /// How many components there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Makes room for exactly so many more components.
    pub(crate) fn reserve(&mut self, nodes: usize) {
        self.nodes.reserve_exact(nodes);
    }

    /// The component's own name.
    pub(crate) fn name(&self, node: u32) -> &str {
        let node = self.nodes[node as usize];
        &self.names[node.start as usize..node.start as usize + usize::from(node.size)]
    }

    /// The component that `node` stands in, or [`ROOT`].
    pub(crate) fn parent(&self, node: u32) -> u32 {
        self.nodes[node as usize].parent
    }

    fn store(&mut self, name: &str) -> Option<(u32, u16)> {
        let start = u32::try_from(self.names.len()).ok()?;
        let size = u16::try_from(name.len()).ok()?;
        start.checked_add(u32::from(size))?;
        self.names.push_str(name);
        Some((start, size))
    }
}

/// A path below a torrent's folder: one or more components, none of them empty, `.` or `..`, none with a separator,
/// a NUL or a control character, each at most 255 bytes. Cheap to clone.
#[derive(Clone)]
pub struct RelativePath {
    table: Arc<PathTable>,
    node: u32,
}

impl RelativePath {
    pub(crate) fn new(table: &Arc<PathTable>, node: u32) -> RelativePath {
        RelativePath { table: Arc::clone(table), node }
    }

    /// The components, outermost first. Never empty.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        let mut nodes = Vec::new();
        let mut node = self.node;
        while node != ROOT {
            nodes.push(node);
            node = self.table.parent(node);
        }
        nodes.into_iter().rev().map(|node| self.table.name(node))
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.table.name(self.node)
    }

    /// The path in the platform's own form.
    pub fn to_path_buf(&self) -> PathBuf {
        self.components().collect()
    }
}

impl fmt::Display for RelativePath {
    /// The components with `/` between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, component) in self.components().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            f.write_str(component)?;
        }
        Ok(())
    }
}

impl fmt::Debug for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl PartialEq for RelativePath {
    fn eq(&self, other: &RelativePath) -> bool {
        self.components().eq(other.components())
    }
}

impl Eq for RelativePath {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_directory_share_its_component() {
        let mut table = PathTable::default();
        let dir = table.push(ROOT, "dir").unwrap();
        let (a, b) = (table.push(dir, "a").unwrap(), table.push(dir, "b").unwrap());
        let table = Arc::new(table);
        let (a, b) = (RelativePath::new(&table, a), RelativePath::new(&table, b));
        assert_eq!(a.to_string(), "dir/a");
        assert_eq!(b.to_path_buf(), PathBuf::from("dir/b"));
        assert_eq!(b.file_name(), "b");
        assert_ne!(a, b);
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn a_renamed_component_leaves_the_others_alone() {
        let mut table = PathTable::default();
        let a = table.push(ROOT, "a").unwrap();
        let b = table.push(ROOT, "b").unwrap();
        table.rename(a, "longer").unwrap();
        assert_eq!((table.name(a), table.name(b)), ("longer", "b"));
    }
}
