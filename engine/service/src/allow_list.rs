//! Lists of torrents that a tracker serves for others: an info-hash in hex or a magnet link on each line.

use hash::{InfoHash, Sha1Digest, Sha256Digest};
use metainfo::Magnet;

/// All info-hashes of a list; `#` starts a comment. The error names the line.
pub fn parse(text: &str) -> Result<Vec<InfoHash>, String> {
    let mut allowed = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if !entry.is_empty() {
            allowed.extend(parse_entry(entry).map_err(|problem| format!("line {}: {problem}", index + 1))?);
        }
    }
    Ok(allowed)
}

/// A magnet link of a hybrid names two swarms, everything else one.
fn parse_entry(entry: &str) -> Result<Vec<InfoHash>, String> {
    if entry.starts_with("magnet:") {
        let magnet: Magnet = entry.parse().map_err(|error| format!("magnet link: {error}"))?;
        return Ok(magnet.info_hashes().collect());
    }
    let v1 = || from_hex::<20>(entry).map(|bytes| InfoHash::from(Sha1Digest(bytes)));
    let v2 = || from_hex::<32>(entry).map(|bytes| InfoHash::from(Sha256Digest(bytes)));
    let problem = || "neither an info-hash of 40 or 64 hex digits nor a magnet link".to_owned();
    v1().or_else(v2).map(|info_hash| vec![info_hash]).ok_or_else(problem)
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: Vec<u8> =
        text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    if digits.len() == 2 * N { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allow_list_holds_hashes_of_both_versions_magnets_and_comments() {
        let (v1, v2) = ("12".repeat(20), "AB".repeat(32));
        let text = format!("# ours\n\n{v1}\n  {v2}  # v2\r\nmagnet:?xt=urn:btih:{v1}&xt=urn:btmh:1220{v2}\n");
        let (v1, v2) = (InfoHash([0x12; 20]), InfoHash([0xab; 20]));
        assert_eq!(parse(&text).unwrap(), [v1, v2, v1, v2]);
    }

    #[test]
    fn a_slip_in_an_allow_list_is_named_by_its_line() {
        for slip in ["12", &"12".repeat(21), &"1g".repeat(20), "é", "magnet:?dn=x"] {
            let problem = parse(&format!("#\n{slip}\n")).unwrap_err();
            assert!(problem.starts_with("line 2: "), "{problem}");
        }
    }
}
