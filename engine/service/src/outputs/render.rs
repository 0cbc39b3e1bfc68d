//! What stands in the files that a release is handed out with. The same torrent and settings give the same bytes, so that
//! they can be written again at any time.

use std::path::PathBuf;

use api::releases::{ReleaseFile, ReleaseKey};
use catalogue::ReleaseOutput;
use hash::Sha256Digest;
use metainfo::{Magnet, Torrent, Version};
use publish::checksums::sha256_sums;
use publish::metalink::{MetalinkError, MetalinkOptions, Mirror, metalink, names_of, url_below};

use super::prepare::by_index;
use super::{Recipe, names, split};

const GENERATOR: &str = concat!("spillway/", env!("CARGO_PKG_VERSION"));

/// One file to hand out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// Which.
    pub file: ReleaseFile,
    /// Where it goes.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// The SHA-256 of that.
    pub sha256: Sha256Digest,
}

/// Why a release cannot be handed out as files.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The Metalink; what it cannot do without is checked with the settings.
    #[error(transparent)]
    Metalink(#[from] MetalinkError),
    /// The sums are those of another torrent. A fault of the catalogue: the release is prepared again.
    #[error("the sums that were kept are not those of the torrent's files")]
    WrongSums,
}

impl Output {
    /// As the catalogue keeps it, before it is written.
    pub fn to_row(&self) -> ReleaseOutput {
        ReleaseOutput { path: self.path.clone(), sha256: self.sha256 }
    }
}

/// All output files of a release: four, or three if nothing is known that a Metalink could name, neither a mirror nor a URL
/// of the torrent. `metainfo` is the whole torrent file, `file_sha256` as [`super::Prepared`] has it.
pub fn render(
    recipe: &Recipe,
    release: &str,
    torrent: &Torrent,
    metainfo: &[u8],
    file_sha256: &[Sha256Digest],
) -> Result<Vec<Output>, RenderError> {
    let sums = by_index(torrent, file_sha256).ok_or(RenderError::WrongSums)?;
    let torrent_url = torrent_url(recipe, torrent);
    let mut outputs = vec![
        output(recipe, release, ReleaseFile::Torrent, metainfo.to_vec()),
        output(recipe, release, ReleaseFile::Magnet, magnets(torrent, torrent_url.as_deref()).into_bytes()),
        output(recipe, release, ReleaseFile::Sha256, sha256(torrent, &sums).into_bytes()),
    ];
    let folder = split(release).0;
    let mirrors: Vec<Mirror> = recipe
        .mirrors
        .iter()
        .map(|mirror| Mirror { base_url: url_below(&mirror.base_url, names(folder)), ..mirror.clone() })
        .collect();
    let options = MetalinkOptions {
        generator: Some(GENERATOR),
        publisher: None,
        published_s: torrent.creation_date(),
        torrent_url: torrent_url.as_deref(),
        mirrors: &mirrors,
    };
    match metalink(torrent, &sums, &options) {
        Ok(text) => outputs.push(output(recipe, release, ReleaseFile::Metalink, text.into_bytes())),
        Err(MetalinkError::NoSource) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(outputs)
}

fn output(recipe: &Recipe, release: &str, file: ReleaseFile, bytes: Vec<u8>) -> Output {
    let path = recipe.output_root().join(format!("{release}.{}", file.extension()));
    let sha256 = hash::sha256(&bytes);
    Output { file, path, bytes, sha256 }
}

/// Where our own server hands out the torrent file.
fn torrent_url(recipe: &Recipe, torrent: &Torrent) -> Option<String> {
    let v1 = torrent.info_hash_v1().map(ReleaseKey::V1);
    let key = v1.or_else(|| torrent.info_hash_v2().map(ReleaseKey::V2))?;
    let path = api::releases::path(key, torrent.layout().name(), ReleaseFile::Torrent);
    Some(format!("{}{path}", recipe.files_url.as_ref()?.trim_end_matches('/')))
}

/// A link a line: of all there is, and for a hybrid of its v1 half alone, for programs that take no link to two swarms.
fn magnets(torrent: &Torrent, torrent_url: Option<&str>) -> String {
    let whole = Magnet { exact_sources: torrent_url.map(str::to_owned).into_iter().collect(), ..torrent.magnet() };
    let v1 = (torrent.version() == Version::Hybrid).then(|| Magnet { info_hash_v2: None, ..whole.clone() });
    std::iter::once(whole).chain(v1).map(|magnet| format!("{magnet}\n")).collect()
}

fn sha256(torrent: &Torrent, sums: &[Option<Sha256Digest>]) -> String {
    let files = torrent.layout().file_indices().zip(sums);
    let lines: Vec<(Sha256Digest, String)> =
        files.filter_map(|(file, sum)| Some(((*sum)?, names_of(torrent, file).join("/")))).collect();
    sha256_sums(lines.iter().map(|(sum, path)| (*sum, path.as_str())))
}
