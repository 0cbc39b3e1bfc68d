//! Checksum files as `sha256sum` of the GNU core utilities writes and checks them. Pure; who hashes and who writes the file is
//! elsewhere.

use std::fmt::Write;

use hash::Sha256Digest;

/// A line for each file: the sum, two spaces, the path. In a path with a backslash or a line break these are escaped, and the line
/// begins with a backslash to say so (GNU coreutils manual, "cksum output modes").
pub fn sha256_sums<'a>(files: impl IntoIterator<Item = (Sha256Digest, &'a str)>) -> String {
    let mut text = String::new();
    for (digest, path) in files {
        let is_escaped = path.contains(['\\', '\n', '\r']);
        // Writing to a string cannot fail.
        let _ = write!(text, "{}{digest}  ", if is_escaped { "\\" } else { "" });
        for c in path.chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                c => text.push(c),
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(paths: &[&str]) -> String {
        sha256_sums(paths.iter().map(|path| (hash::sha256(path.as_bytes()), *path)))
    }

    #[test]
    fn a_line_is_the_sum_two_spaces_and_the_path() {
        let expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a b/c\n";
        assert_eq!(sha256_sums([(hash::sha256(b""), "a b/c")]), expected);
        assert_eq!(sums(&[]), "");
    }

    #[test]
    fn a_name_cannot_add_a_line_of_its_own() {
        let text = sums(&["a\nb", "back\\slash", "return\r", "plain"]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[..3].iter().all(|line| line.starts_with('\\')), "{text}");
        assert!(
            lines[0].ends_with("  a\\nb") && lines[1].ends_with("  back\\\\slash") && lines[2].ends_with("  return\\r")
        );
        assert!(!lines[3].starts_with('\\'));
    }
}
