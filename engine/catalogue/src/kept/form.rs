//! A torrent's state as the bytes of its second copy, and back. Bencoded, with a SHA-256 of itself: what was damaged is not
//! taken for what was written.

use bencode::{Dict, DictEncoder, KeyOrder, Limits};
use hash::{InfoHash, Sha1Digest, Sha256Digest, sha256};

use super::STATE_BYTES_MAX;
use crate::content_place::ContentPlace;
use crate::convert::{
    decode_tiers, encode_tiers, int, os_str, path_bytes, super_seeding_from_word, super_seeding_word,
};
use crate::release::{Release, ReleaseNumber, ReleaseOutput, ReleaseState};
use crate::torrent::{Fault, Origin, Shape, TorrentLimits, TorrentNumber, TorrentRow, TorrentTotals, Wanted};

/// The form written by this version. Keys that are new are passed over by older versions.
const VERSION: i64 = 1;

/// What is kept of a torrent beside its metainfo.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Kept {
    pub(crate) row: TorrentRow,
    pub(crate) verified: Option<Vec<u8>>,
    pub(crate) release: Option<KeptRelease>,
}

/// The release that the torrent is.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct KeptRelease {
    pub(crate) release: Release,
    pub(crate) sums: Vec<Sha256Digest>,
    pub(crate) outputs: Vec<ReleaseOutput>,
}

pub(crate) fn encode(kept: &Kept) -> Vec<u8> {
    let state = bencode::encode_dict(|dict| encode_state(dict, kept));
    bencode::encode_dict(|dict| {
        dict.bytes("sha256", sha256(&state).0).raw("state", &state).int("version", VERSION);
    })
}

/// What [`encode`] wrote, or why it is not that.
pub(crate) fn decode(bytes: &[u8]) -> Result<Kept, String> {
    let limits = Limits { input_bytes: STATE_BYTES_MAX, depth: 8, keys: KeyOrder::Sorted };
    let value = bencode::decode(bytes, &limits).map_err(|error| error.to_string())?;
    let outer = value.as_dict().ok_or("no dictionary")?;
    let version = outer.get("version").and_then(|version| version.as_int());
    if version != Some(VERSION) {
        return Err(format!("version {version:?} is not known"));
    }
    let state = outer.get("state").and_then(|state| state.as_dict()).ok_or("no state")?;
    let sum = outer.get("sha256").and_then(|sum| sum.as_bytes());
    if sum != Some(&sha256(state.raw()).0[..]) {
        return Err("is not what was written".to_owned());
    }
    decode_state(&Reader(state)).ok_or_else(|| "a key is missing or wrong".to_owned())
}

fn encode_state(dict: &mut DictEncoder<'_>, kept: &Kept) {
    let row = &kept.row;
    dict.int("number", row.number.0).bytes("name", row.name.as_bytes());
    bytes_if_any(dict, "info-hash-v1", row.info_hash_v1.map(|hash| hash.0));
    bytes_if_any(dict, "info-hash-v2", row.info_hash_v2.map(|hash| hash.0));
    bytes_if_any(dict, "info-hash-misread", row.info_hash_misread.map(|hash| hash.0));
    if let Some(Shape { size_bytes, piece_count, is_private }) = row.shape {
        dict.dict("shape", |dict| {
            dict.int("size", int(size_bytes)).int("pieces", piece_count.into()).int("private", is_private.into());
        });
    }
    let (label, item) = row.origin.parts();
    dict.bytes("origin", row.origin.word());
    bytes_if_any(dict, "origin-label", label);
    bytes_if_any(dict, "origin-item", item);
    dict.dict("content", |dict| encode_place(dict, &row.content));
    if let Some(place) = &row.moving_to {
        dict.dict("moving-to", |dict| encode_place(dict, place));
    }
    dict.bytes("wanted", row.wanted.word());
    bytes_if_any(dict, "group", row.group.as_deref());
    int_if_any(dict, "upload-limit", row.limits.upload_bytes_per_s.map(int));
    int_if_any(dict, "download-limit", row.limits.download_bytes_per_s.map(int));
    int_if_any(dict, "seed-ratio-permille", row.limits.seed_ratio_permille.map(int));
    int_if_any(dict, "seed-time", row.limits.seed_time_s.map(int));
    bytes_if_any(dict, "super-seeding", row.limits.super_seeding.map(super_seeding_word));
    dict.raw("tiers", encode_tiers(&row.tiers)).int("added-at", row.added_at_s);
    int_if_any(dict, "completed-at", row.completed_at_s);
    int_if_any(dict, "first-copy-at", row.first_copy_at_s);
    int_if_any(dict, "release-at", row.release_at_s);
    dict.int("uploaded", int(row.totals.uploaded_bytes));
    dict.int("downloaded", int(row.totals.downloaded_bytes)).int("seeded", int(row.totals.seeded_s));
    if let Some(Fault { text, at_s }) = &row.fault {
        dict.bytes("fault", text).int("fault-at", *at_s);
    }
    bytes_if_any(dict, "verified", kept.verified.as_ref());
    if let Some(release) = &kept.release {
        dict.dict("release", |dict| encode_release(dict, release));
    }
}

fn encode_place(dict: &mut DictEncoder<'_>, place: &ContentPlace) {
    dict.bytes("folder", path_bytes(&*place.folder)).int("follows-links", place.follows_links.into());
    bytes_if_any(dict, "own-name", place.own_name.as_deref().map(path_bytes));
}

fn encode_release(dict: &mut DictEncoder<'_>, kept: &KeptRelease) {
    let release = &kept.release;
    dict.int("number", release.number.0).bytes("label", release.label.as_bytes());
    dict.bytes("path", path_bytes(&release.path)).bytes("state", release.state.word());
    int_if_any(dict, "published-at", release.published_at_s);
    int_if_any(dict, "gone-since", release.gone_since_s);
    int_if_any(dict, "withdrawn-at", release.withdrawn_at_s);
    dict.bytes("sums", kept.sums.iter().flat_map(|sum| sum.0).collect::<Vec<u8>>());
    dict.list("outputs", |list| {
        for output in &kept.outputs {
            list.bytes(path_bytes(&output.path)).bytes(output.sha256.0);
        }
    });
}

fn bytes_if_any(dict: &mut DictEncoder<'_>, key: &str, value: Option<impl AsRef<[u8]>>) {
    if let Some(value) = value {
        dict.bytes(key, value);
    }
}

fn int_if_any(dict: &mut DictEncoder<'_>, key: &str, value: Option<i64>) {
    if let Some(value) = value {
        dict.int(key, value);
    }
}

fn decode_state(state: &Reader<'_>) -> Option<Kept> {
    let row = TorrentRow {
        number: TorrentNumber(state.int("number")?),
        info_hash_v1: state.array("info-hash-v1").map(Sha1Digest),
        info_hash_v2: state.array("info-hash-v2").map(Sha256Digest),
        info_hash_misread: state.array("info-hash-misread").map(InfoHash),
        name: state.str("name")?.into(),
        shape: match state.dict("shape") {
            None => None,
            Some(shape) => Some(Shape {
                size_bytes: shape.amount("size")?,
                piece_count: shape.amount("pieces")?.try_into().ok()?,
                is_private: shape.int("private")? != 0,
            }),
        },
        origin: Origin::from_parts(state.str("origin")?, state.str("origin-label"), state.bytes("origin-item"))?,
        content: decode_place(&state.dict("content")?)?,
        moving_to: state.dict("moving-to").and_then(|place| decode_place(&place)),
        wanted: Wanted::from_word(state.str("wanted")?)?,
        group: state.str("group").map(Into::into),
        limits: TorrentLimits {
            upload_bytes_per_s: state.amount("upload-limit"),
            download_bytes_per_s: state.amount("download-limit"),
            seed_ratio_permille: state.amount("seed-ratio-permille"),
            seed_time_s: state.amount("seed-time"),
            super_seeding: state.str("super-seeding").and_then(super_seeding_from_word),
        },
        tiers: decode_tiers(state.list("tiers")?)?,
        added_at_s: state.int("added-at")?,
        completed_at_s: state.int("completed-at"),
        first_copy_at_s: state.int("first-copy-at"),
        release_at_s: state.int("release-at"),
        totals: TorrentTotals {
            uploaded_bytes: state.amount("uploaded")?,
            downloaded_bytes: state.amount("downloaded")?,
            seeded_s: state.amount("seeded")?,
        },
        fault: match (state.str("fault"), state.int("fault-at")) {
            (Some(text), Some(at_s)) => Some(Fault { text: text.to_owned(), at_s }),
            _ => None,
        },
    };
    let release = match state.dict("release") {
        None => None,
        Some(release) => Some(decode_release(&release, row.number)?),
    };
    Some(Kept { verified: state.bytes("verified").map(<[u8]>::to_vec), release, row })
}

fn decode_place(place: &Reader<'_>) -> Option<ContentPlace> {
    Some(ContentPlace {
        folder: std::path::Path::new(os_str(place.bytes("folder")?)).into(),
        own_name: place.bytes("own-name").map(|name| os_str(name).into()),
        follows_links: place.int("follows-links")? != 0,
    })
}

fn decode_release(release: &Reader<'_>, torrent: TorrentNumber) -> Option<KeptRelease> {
    let (sums, rest) = release.bytes("sums")?.as_chunks();
    let listed: Option<Vec<&[u8]>> =
        release.0.get("outputs")?.as_list()?.iter().map(|value| value.as_bytes()).collect();
    let listed = listed?;
    let (outputs, odd) = listed.as_chunks();
    if !rest.is_empty() || !odd.is_empty() {
        return None;
    }
    let output = |[path, sum]: &[&[u8]; 2]| {
        Some(ReleaseOutput { path: os_str(path).into(), sha256: Sha256Digest((*sum).try_into().ok()?) })
    };
    Some(KeptRelease {
        release: Release {
            number: ReleaseNumber(release.int("number")?),
            label: release.str("label")?.into(),
            path: os_str(release.bytes("path")?).into(),
            torrent: Some(torrent),
            state: ReleaseState::from_word(release.str("state")?)?,
            published_at_s: release.int("published-at"),
            gone_since_s: release.int("gone-since"),
            withdrawn_at_s: release.int("withdrawn-at"),
        },
        sums: sums.iter().copied().map(Sha256Digest).collect(),
        outputs: outputs.iter().map(output).collect::<Option<_>>()?,
    })
}

/// A dictionary, asked by key.
struct Reader<'a>(Dict<'a>);

impl<'a> Reader<'a> {
    fn int(&self, key: &str) -> Option<i64> {
        self.0.get(key)?.as_int()
    }

    fn amount(&self, key: &str) -> Option<u64> {
        self.int(key)?.try_into().ok()
    }

    fn bytes(&self, key: &str) -> Option<&'a [u8]> {
        self.0.get(key)?.as_bytes()
    }

    fn str(&self, key: &str) -> Option<&'a str> {
        self.0.get(key)?.as_str()
    }

    fn array<const N: usize>(&self, key: &str) -> Option<[u8; N]> {
        self.bytes(key)?.try_into().ok()
    }

    fn dict(&self, key: &str) -> Option<Reader<'a>> {
        self.0.get(key)?.as_dict().map(Reader)
    }

    fn list(&self, key: &str) -> Option<&'a [u8]> {
        self.0.get(key)?.as_list().map(|list| list.raw())
    }
}
