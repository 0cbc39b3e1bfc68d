//! The options that say what a new torrent holds, shared by the verbs that make one.

use clap::ValueEnum;
use metainfo::Version;
use seedbox::CreateOptions;

use settings::parse_size;

/// The options of a new torrent.
#[derive(Debug, clap::Args)]
pub(crate) struct TorrentOptions {
    /// Which formats: v1 for every client, v2 for new ones, hybrid for both
    #[arg(long, value_enum, default_value_t = Format::Hybrid)]
    pub(crate) format: Format,

    /// Bytes in a piece, a power of two from 16KiB, as in 1MiB [default: 16KiB to 16MiB by size, 1,000 to 2,000 pieces]
    #[arg(long, value_name = "SIZE", value_parser = parse_piece_length)]
    pub(crate) piece_length: Option<u32>,

    /// A tracker's announce URL; each use is a tier of its own, URLs with commas between them share one
    #[arg(long, value_name = "URL")]
    pub(crate) announce: Vec<String>,

    /// The URL of a web server that holds the same files (BEP 19); may be used more than once
    #[arg(long, value_name = "URL")]
    pub(crate) web_seed: Vec<String>,
}

/// The format of a new torrent.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Version 1 and 2 in one file
    Hybrid,
    /// Version 1: SHA-1 (BEP 3)
    V1,
    /// Version 2: SHA-256 merkle trees (BEP 52)
    V2,
}

impl TorrentOptions {
    /// As the library takes them; what these options do not say is left at its default.
    pub(crate) fn to_create_options(&self) -> CreateOptions {
        CreateOptions {
            version: match self.format {
                Format::Hybrid => Version::Hybrid,
                Format::V1 => Version::V1,
                Format::V2 => Version::V2,
            },
            piece_length: self.piece_length,
            trackers: self.announce.iter().map(|tier| tier.split(',').map(str::to_owned).collect()).collect(),
            web_seeds: self.web_seed.clone(),
            ..CreateOptions::default()
        }
    }
}

fn parse_piece_length(text: &str) -> Result<u32, String> {
    let bytes = parse_size(text)?;
    u32::try_from(bytes)
        .ok()
        .filter(|bytes| bytes.is_power_of_two())
        .ok_or_else(|| format!("{bytes} is not a power of two that a piece may have; 256KiB, 1MiB and 4MiB are"))
}
