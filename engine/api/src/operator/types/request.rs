//! What an operator can ask for.

use serde::{Deserialize, Deserializer, Serialize};

use super::add::AddTorrent;
use super::torrent::{TorrentRow, TorrentState};

/// What an operator asks for.
#[derive(Clone, PartialEq, Debug)]
pub enum OperatorRequest {
    /// `GET /v1/torrents`
    List(ListTorrents),
    /// `POST /v1/torrents`
    Add(Box<AddTorrent>),
    /// `GET /v1/torrents/ID`
    Show(TorrentRef),
    /// `GET /v1/torrents/ID/peers`
    Peers(TorrentRef),
    /// `GET /v1/torrents/ID/trackers`
    Trackers(TorrentRef),
    /// `GET /v1/torrents/ID/files`; `after` is the index of a file.
    Files(TorrentRef, Paging),
    /// `DELETE /v1/torrents/ID`
    Remove(TorrentRef, Remove),
    /// `POST /v1/torrents/ID/start`
    Start(TorrentRef),
    /// `POST /v1/torrents/ID/stop`
    Stop(TorrentRef),
    /// `POST /v1/torrents/ID/recheck`
    Recheck(TorrentRef, Recheck),
    /// `POST /v1/torrents/ID/announce`
    Announce(TorrentRef),
    /// `POST /v1/torrents/ID/limit`
    Limit(TorrentRef, LimitChange),
    /// `POST /v1/torrents/ID/move`
    Move(TorrentRef, MoveTorrent),
    /// `GET /v1/stats`
    Stats,
    /// `POST /v1/reload`: reads the settings again.
    Reload,
    /// `GET /v1/releases`; `after` is [`ReleaseRow::id`](super::ReleaseRow::id).
    Releases(Paging),
    /// `POST /v1/releases/rescan`
    Rescan(Rescan),
    /// `GET /v1/version`
    Version,
}

impl OperatorRequest {
    /// The word for it in the log.
    pub fn name(&self) -> &'static str {
        match self {
            OperatorRequest::List(_) => "list",
            OperatorRequest::Add(_) => "add",
            OperatorRequest::Show(_) => "show",
            OperatorRequest::Peers(_) => "peers",
            OperatorRequest::Trackers(_) => "trackers",
            OperatorRequest::Files(..) => "files",
            OperatorRequest::Remove(..) => "remove",
            OperatorRequest::Start(_) => "start",
            OperatorRequest::Stop(_) => "stop",
            OperatorRequest::Recheck(..) => "recheck",
            OperatorRequest::Announce(_) => "announce",
            OperatorRequest::Limit(..) => "limit",
            OperatorRequest::Move(..) => "move",
            OperatorRequest::Stats => "stats",
            OperatorRequest::Reload => "reload",
            OperatorRequest::Releases(_) => "releases",
            OperatorRequest::Rescan(_) => "rescan",
            OperatorRequest::Version => "version",
        }
    }

    /// Whether it changes anything: such a request is logged with who asked.
    pub fn is_change(&self) -> bool {
        match self {
            OperatorRequest::List(_)
            | OperatorRequest::Show(_)
            | OperatorRequest::Peers(_)
            | OperatorRequest::Trackers(_)
            | OperatorRequest::Files(..)
            | OperatorRequest::Stats
            | OperatorRequest::Releases(_)
            | OperatorRequest::Version => false,
            OperatorRequest::Add(_)
            | OperatorRequest::Remove(..)
            | OperatorRequest::Start(_)
            | OperatorRequest::Stop(_)
            | OperatorRequest::Recheck(..)
            | OperatorRequest::Announce(_)
            | OperatorRequest::Limit(..)
            | OperatorRequest::Move(..)
            | OperatorRequest::Reload
            | OperatorRequest::Rescan(_) => true,
        }
    }

    /// The torrent that it is about, if it is about one that is there.
    pub fn torrent(&self) -> Option<&TorrentRef> {
        match self {
            OperatorRequest::Show(torrent)
            | OperatorRequest::Peers(torrent)
            | OperatorRequest::Trackers(torrent)
            | OperatorRequest::Files(torrent, _)
            | OperatorRequest::Remove(torrent, _)
            | OperatorRequest::Start(torrent)
            | OperatorRequest::Stop(torrent)
            | OperatorRequest::Recheck(torrent, _)
            | OperatorRequest::Announce(torrent)
            | OperatorRequest::Limit(torrent, _)
            | OperatorRequest::Move(torrent, _) => Some(torrent),
            OperatorRequest::List(_)
            | OperatorRequest::Add(_)
            | OperatorRequest::Stats
            | OperatorRequest::Reload
            | OperatorRequest::Releases(_)
            | OperatorRequest::Rescan(_)
            | OperatorRequest::Version => None,
        }
    }
}

/// Fewer hex digits than this are not looked up as the beginning of an info-hash.
const MIN_PREFIX_DIGITS: usize = 6;

/// How an operator names a torrent: its number, an info-hash or the beginning of one, or its exact name. What is meant is
/// tried in this order ([`TorrentRef::readings`]).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TorrentRef(pub String);

/// One thing that a [`TorrentRef`] may mean.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TorrentName<'a> {
    /// The torrent with this number.
    Id(u64),
    /// The torrent one of whose info-hashes begins with these digits, in lower case. If there are several, the request is
    /// [`ErrorCode::Ambiguous`](super::ErrorCode::Ambiguous).
    InfoHashPrefix(String),
    /// The torrent of exactly this name. There may be several here, too.
    Name(&'a str),
}

impl TorrentRef {
    /// What may be meant; the first that leads to a torrent is it.
    pub fn readings(&self) -> impl Iterator<Item = TorrentName<'_>> {
        let text = self.0.as_str();
        let is_hex =
            (MIN_PREFIX_DIGITS..=64).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        // `+7` parses as a number, too.
        let id = text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let id = id.map(TorrentName::Id);
        let prefix = is_hex.then(|| TorrentName::InfoHashPrefix(text.to_ascii_lowercase()));
        id.into_iter().chain(prefix).chain([TorrentName::Name(text)])
    }
}

/// Which part of a long list is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// Go on behind the entry of this number: `next_after` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most so many entries. Towards the service it is always given and bounded; a query that leaves it out gets all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// Which torrents are asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListTorrents {
    /// Those that it lets through.
    pub filter: TorrentFilter,
    /// Which part; `after` is [`TorrentRow::id`].
    pub paging: Paging,
}

/// Which torrents are meant; all that is said must be so.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TorrentFilter {
    /// Those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<TorrentState>,
    /// Those of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Those of this origin: `added`, `publish:LABEL`, `subscribe:NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Those with this in their names, in whatever case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Those that send or receive at the moment (`true`), or do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
}

impl TorrentFilter {
    /// Whether it lets every torrent through.
    pub fn is_empty(&self) -> bool {
        *self == TorrentFilter::default()
    }

    /// Whether it lets this one through.
    pub fn admits(&self, row: &TorrentRow) -> bool {
        let is_active = row.upload_bytes_per_s > 0 || row.download_bytes_per_s > 0;
        self.state.is_none_or(|state| state == row.state)
            && self.group.as_ref().is_none_or(|group| row.group.as_ref() == Some(group))
            && self.origin.as_ref().is_none_or(|origin| *origin == row.origin)
            && self.name.as_ref().is_none_or(|part| row.name.to_lowercase().contains(&part.to_lowercase()))
            && self.active.is_none_or(|active| active == is_active)
    }
}

/// How a torrent is forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// Delete its content, too, instead of leaving it where it is.
    #[serde(default)]
    pub delete_content: bool,
}

/// How content is checked again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recheck {
    /// Fetch what is lacking or wrong, instead of reporting it.
    #[serde(default)]
    pub fetch_missing: bool,
}

/// Where content goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveTorrent {
    /// The new folder, in which the content will lie under the torrent's name; absolute, as the service sees it.
    pub folder: String,
}

/// Which trees to look at again, now.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rescan {
    /// The label of one `[[publish]]` entry; all if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
}

/// Changes to the limits of one torrent. What is left out stays as it is; `null` takes the torrent's own limit away, so that
/// its group's and the global ones apply alone.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitChange {
    /// Upload.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub upload_bytes_per_s: Option<Option<u64>>,
    /// Download.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub download_bytes_per_s: Option<Option<u64>>,
    /// Stop when so many times its size was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub seed_ratio: Option<Option<f64>>,
    /// Stop when it was seeded for so long.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub seed_time_s: Option<Option<u64>>,
    /// The group whose limits apply.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub group: Option<Option<String>>,
    /// When it is super-seeded.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub super_seeding: Option<Option<SuperSeedingMode>>,
}

/// When a torrent is super-seeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuperSeedingMode {
    /// While its swarm has no whole copy.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl LimitChange {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == LimitChange::default()
    }
}

/// A key that is there, `null` or not, is more than one that is left out.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(text: &str) -> Vec<TorrentName<'static>> {
        let owned = TorrentRef(text.to_owned());
        let leaked = |name: TorrentName<'_>| match name {
            TorrentName::Id(id) => TorrentName::Id(id),
            TorrentName::InfoHashPrefix(prefix) => TorrentName::InfoHashPrefix(prefix),
            TorrentName::Name(_) => TorrentName::Name("the text"),
        };
        owned.readings().map(leaked).collect()
    }

    #[test]
    fn a_number_may_be_an_info_hash_and_an_info_hash_may_be_a_name() {
        let (id, name) = (TorrentName::Id, TorrentName::Name("the text"));
        let prefix = |text: &str| TorrentName::InfoHashPrefix(text.to_owned());
        assert_eq!(readings("7"), [id(7), name.clone()]);
        assert_eq!(readings("1234567"), [id(1_234_567), prefix("1234567"), name.clone()]);
        assert_eq!(readings("ABCDEF01"), [prefix("abcdef01"), name.clone()]);
        assert_eq!(readings(&"1".repeat(40)), [prefix(&"1".repeat(40)), name.clone()], "no number has 40 digits");
        for text in ["", "+7", "-7", "abcde", "a/b.iso", "٣", &"a".repeat(65)] {
            assert_eq!(readings(text), std::slice::from_ref(&name), "{text}");
        }
    }

    #[test]
    fn a_limit_that_is_left_out_stays_and_one_that_is_null_goes() {
        let change: LimitChange = serde_json::from_str(r#"{"upload_bytes_per_s": null, "seed_ratio": 2}"#).unwrap();
        let expected =
            LimitChange { upload_bytes_per_s: Some(None), seed_ratio: Some(Some(2.0)), ..LimitChange::default() };
        assert_eq!(change, expected);
        assert_eq!(serde_json::to_string(&change).unwrap(), r#"{"upload_bytes_per_s":null,"seed_ratio":2.0}"#);
        assert!(serde_json::from_str::<LimitChange>(r#"{"upload_kb": 1}"#).is_err(), "a typing error is no limit");
    }
}
