//! What a message says: a JSON object. Fields that have no value are `null`; new ones may be added, so readers pass over
//! what they do not know.

use catalogue::limits::DELIVERY_BYTES_MAX;
use catalogue::{Origin, TorrentNumber, TorrentRow};
use hash::{Sha1Digest, Sha256Digest, sha256};
use metainfo::Magnet;
use serde::Serialize;
use settings::WebhookEvent;

use super::Trouble;
use crate::desk::TorrentLine;

use api::releases::{ReleaseFile, ReleaseKey, path};

/// How much of a digest makes an id.
pub(super) const ID_BYTES: usize = 16;

/// Something that happened, to be told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Happening {
    pub(crate) event: WebhookEvent,
    /// The same for the same thing, however often it is told: who has seen it may drop it.
    pub(crate) id: String,
    pub(crate) at_s: i64,
    subject: Subject,
    reason: Option<String>,
}

/// What it happened to.
#[derive(Debug, Clone, PartialEq)]
struct Subject {
    number: Option<TorrentNumber>,
    name: String,
    info_hash_v1: Option<Sha1Digest>,
    info_hash_v2: Option<Sha256Digest>,
    size_bytes: Option<u64>,
    origin: &'static str,
    label: Option<String>,
    path: Option<String>,
    trackers: Vec<String>,
}

impl Happening {
    /// Something happened to a torrent of the desk.
    pub(crate) fn of_line(event: WebhookEvent, line: &TorrentLine, at_s: i64, reason: Option<String>) -> Happening {
        let (origin, label, path) = origin(&line.origin);
        let subject = Subject {
            number: Some(line.number),
            name: line.name.to_string(),
            info_hash_v1: line.info_hash_v1,
            info_hash_v2: line.info_hash_v2,
            size_bytes: Some(line.size_bytes).filter(|size| *size > 0),
            origin,
            label,
            path,
            trackers: line.tiers.iter().flatten().cloned().collect(),
        };
        Happening::new(event, subject, at_s, reason)
    }

    /// The same, found in the catalogue.
    pub(crate) fn of_row(event: WebhookEvent, row: &TorrentRow, at_s: i64) -> Happening {
        let (origin, label, path) = origin(&row.origin);
        let subject = Subject {
            number: Some(row.number),
            name: row.name.to_string(),
            info_hash_v1: row.info_hash_v1,
            info_hash_v2: row.info_hash_v2,
            size_bytes: row.shape.map(|shape| shape.size_bytes),
            origin,
            label,
            path,
            trackers: row.tiers.iter().flatten().cloned().collect(),
        };
        Happening::new(event, subject, at_s, None)
    }

    /// Something is wrong with a tree or a subscription.
    pub(crate) fn of_trouble(trouble: Trouble, at_s: i64) -> Happening {
        let subject = Subject {
            number: None,
            name: trouble.what,
            info_hash_v1: None,
            info_hash_v2: None,
            size_bytes: None,
            origin: "added",
            label: Some(trouble.label.to_string()),
            path: None,
            trackers: Vec::new(),
        };
        Happening::new(WebhookEvent::Error, subject, at_s, Some(trouble.reason))
    }

    fn new(event: WebhookEvent, subject: Subject, at_s: i64, reason: Option<String>) -> Happening {
        // A release is published once, under one number; errors come again.
        let again = if event == WebhookEvent::Error { format!("{at_s} {reason:?}") } else { String::new() };
        let number = subject.number.map_or_else(|| subject.name.clone(), |number| number.0.to_string());
        let label = subject.label.as_deref().unwrap_or_default();
        let digest = sha256(format!("{} {label} {number} {again}", name(event)).as_bytes()).to_string();
        Happening { event, id: digest[..2 * ID_BYTES].to_owned(), at_s, subject, reason }
    }

    /// The message, of no more than a delivery may have. `base_url` is where files of releases are reached.
    pub(crate) fn body(&self, base_url: Option<&str>) -> Vec<u8> {
        let body = self.body_with(base_url, &self.subject.trackers);
        // Only trackers can be that many.
        if body.len() > DELIVERY_BYTES_MAX { self.body_with(base_url, &[]) } else { body }
    }

    fn body_with(&self, base_url: Option<&str>, trackers: &[String]) -> Vec<u8> {
        let subject = &self.subject;
        let key = subject.info_hash_v1.map(ReleaseKey::V1).or_else(|| subject.info_hash_v2.map(ReleaseKey::V2));
        let is_served = self.event == WebhookEvent::Published || self.event == WebhookEvent::FirstFullCopy;
        let torrent_url = key
            .zip(base_url)
            .filter(|_| is_served)
            .map(|(key, base_url)| format!("{base_url}{}", path(key, &subject.name, ReleaseFile::Torrent)));
        let magnet = key.map(|_| {
            let magnet = Magnet {
                info_hash_v1: subject.info_hash_v1,
                info_hash_v2: subject.info_hash_v2,
                name: Some(subject.name.clone()),
                total_size: subject.size_bytes,
                trackers: trackers.to_vec(),
                ..Magnet::default()
            };
            magnet.to_string()
        });
        let message = Message {
            event: name(self.event),
            id: &self.id,
            time: rfc3339(self.at_s),
            number: subject.number.map(|number| number.0),
            name: &subject.name,
            info_hash_v1: subject.info_hash_v1.map(|hash| hash.to_string()),
            info_hash_v2: subject.info_hash_v2.map(|hash| hash.to_string()),
            size_bytes: subject.size_bytes,
            origin: subject.origin,
            label: subject.label.as_deref(),
            path: subject.path.as_deref(),
            magnet,
            torrent_url,
            reason: self.reason.as_deref(),
        };
        // Only maps with odd keys cannot be written.
        serde_json::to_vec(&message).unwrap_or_default()
    }
}

/// The fields, in their order.
#[derive(Serialize)]
struct Message<'a> {
    /// "published", "first_full_copy", "withdrawn", "completed" or "error".
    event: &'a str,
    /// The same whenever the same thing is told again.
    id: &'a str,
    /// When it happened, as RFC 3339 has it.
    time: String,
    /// The torrent's number here.
    number: Option<i64>,
    /// The torrent's name; of an error without a torrent, what it is about.
    name: &'a str,
    info_hash_v1: Option<String>,
    info_hash_v2: Option<String>,
    size_bytes: Option<u64>,
    /// "published", "subscribed" or "added".
    origin: &'a str,
    /// The name of the tree or of the subscription.
    label: Option<&'a str>,
    /// The release's path in its tree.
    path: Option<&'a str>,
    magnet: Option<String>,
    /// Where the torrent file is, if it is served.
    torrent_url: Option<String>,
    /// Why it was withdrawn, or what is wrong.
    reason: Option<&'a str>,
}

/// As the settings and messages have it.
pub(crate) fn name(event: WebhookEvent) -> &'static str {
    match event {
        WebhookEvent::Published => "published",
        WebhookEvent::FirstFullCopy => "first_full_copy",
        WebhookEvent::Withdrawn => "withdrawn",
        WebhookEvent::Completed => "completed",
        WebhookEvent::Error => "error",
    }
}

fn origin(origin: &Origin) -> (&'static str, Option<String>, Option<String>) {
    match origin {
        Origin::Added => ("added", None, None),
        Origin::Published { label, path } => {
            ("published", Some(label.to_string()), Some(path.to_string_lossy().into_owned()))
        }
        Origin::Subscribed { label, .. } => ("subscribed", Some(label.to_string()), None),
    }
}

fn rfc3339(unix_s: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(unix_s).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    time.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}
