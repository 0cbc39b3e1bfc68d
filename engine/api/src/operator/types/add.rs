//! The request that adds a torrent. Its JSON names exactly one source.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::request::LimitChange;

/// Adds a torrent: serves it if its content is there and right, fetches what is lacking.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "AddJson", into = "AddJson")]
pub struct AddTorrent {
    /// What the torrent is. In JSON it is one of the keys `torrent_base64`, `torrent_path` and `magnet`.
    pub source: TorrentSource,
    /// The folder in which the content lies, or goes, under the torrent's name; absolute, as the service sees it.
    pub folder: String,
    /// `folder` is no folder around the content but the content itself, whatever it is called.
    pub folder_is_content: bool,
    /// `address:port` of peers to begin with.
    pub peers: Vec<String>,
    /// The group whose limits apply.
    pub group: Option<String>,
    /// Keep it, but neither serve nor fetch it until it is started.
    pub stopped: bool,
    /// Limits of its own.
    pub limits: LimitChange,
}

/// Where it is said what a torrent is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TorrentSource {
    /// The bytes of a `.torrent` file; in JSON as Base64 (RFC 4648, section 4).
    Torrent(Vec<u8>),
    /// A `.torrent` file that the service can read.
    TorrentPath(String),
    /// A magnet link.
    Magnet(String),
}

/// The same as it is in JSON.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    torrent_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    torrent_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    magnet: Option<String>,
    folder: String,
    #[serde(default)]
    folder_is_content: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    peers: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(default)]
    stopped: bool,
    #[serde(default, skip_serializing_if = "LimitChange::is_empty")]
    limits: LimitChange,
}

#[derive(Debug, thiserror::Error)]
enum AddJsonError {
    #[error("give exactly one of torrent_base64, torrent_path and magnet")]
    Sources,
    #[error("torrent_base64 is not Base64: {0}")]
    Base64(#[from] data_encoding::DecodeError),
}

impl TryFrom<AddJson> for AddTorrent {
    type Error = AddJsonError;

    fn try_from(json: AddJson) -> Result<AddTorrent, AddJsonError> {
        let source = match (json.torrent_base64, json.torrent_path, json.magnet) {
            (Some(text), None, None) => TorrentSource::Torrent(BASE64.decode(text.as_bytes())?),
            (None, Some(path), None) => TorrentSource::TorrentPath(path),
            (None, None, Some(link)) => TorrentSource::Magnet(link),
            _ => return Err(AddJsonError::Sources),
        };
        let AddJson { folder, folder_is_content, peers, group, stopped, limits, .. } = json;
        Ok(AddTorrent { source, folder, folder_is_content, peers, group, stopped, limits })
    }
}

impl From<AddTorrent> for AddJson {
    fn from(add: AddTorrent) -> AddJson {
        let AddTorrent { source, folder, folder_is_content, peers, group, stopped, limits } = add;
        let (mut torrent_base64, mut torrent_path, mut magnet) = (None, None, None);
        match source {
            TorrentSource::Torrent(bytes) => torrent_base64 = Some(BASE64.encode(&bytes)),
            TorrentSource::TorrentPath(path) => torrent_path = Some(path),
            TorrentSource::Magnet(link) => magnet = Some(link),
        }
        AddJson { torrent_base64, torrent_path, magnet, folder, folder_is_content, peers, group, stopped, limits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_survives_json() {
        let sources = [
            TorrentSource::Torrent(vec![0, 255, 7]),
            TorrentSource::TorrentPath("/x.torrent".to_owned()),
            TorrentSource::Magnet("magnet:?xt=urn:btih:00".to_owned()),
        ];
        for source in sources {
            let limits = LimitChange { upload_bytes_per_s: Some(Some(7)), ..LimitChange::default() };
            let (folder, peers) = ("/srv".to_owned(), vec!["[::1]:9".to_owned()]);
            let add = AddTorrent { source, folder, folder_is_content: true, peers, group: None, stopped: true, limits };
            let json = serde_json::to_string(&add).unwrap();
            assert_eq!(serde_json::from_str::<AddTorrent>(&json).unwrap(), add, "{json}");
        }
    }

    #[test]
    fn two_sources_none_and_a_slip_are_refused_in_words() {
        for (json, text) in [
            (r#"{"folder": "/srv"}"#, "exactly one of"),
            (r#"{"folder": "/srv", "magnet": "a", "torrent_path": "b"}"#, "exactly one of"),
            (r#"{"folder": "/srv", "torrent_base64": "%"}"#, "not Base64"),
            (r#"{"magnet": "a"}"#, "folder"),
            (r#"{"folder": "/srv", "magnet": "a", "grop": "b"}"#, "grop"),
        ] {
            let error = serde_json::from_str::<AddTorrent>(json).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
