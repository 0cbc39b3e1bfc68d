//! Torrents to put into a catalogue.
#![allow(dead_code, reason = "each test uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::sync::Arc;

use catalogue::{Catalogue, Change, ContentPlace, NewTorrent, Origin, TorrentNumber};
use metainfo::{Magnet, Torrent};

/// A v1 torrent of one file of one piece, as different from others as its number.
pub(crate) fn torrent_file(number: u64) -> Vec<u8> {
    let mut pieces = [0; 20];
    pieces[..8].copy_from_slice(&number.to_be_bytes());
    bencode::encode_dict(|dict| {
        dict.bytes("announce", format!("http://tracker{}.example/announce", number % 3)).dict("info", |info| {
            info.int("length", 1000 + number as i64)
                .bytes("name", format!("release-{number}.iso"))
                .int("piece length", 1 << 20)
                .bytes("pieces", pieces);
        });
    })
}

/// That torrent, lying in a folder that many share.
pub(crate) fn new_torrent(number: TorrentNumber) -> NewTorrent {
    let bytes = torrent_file(number.0 as u64);
    let torrent = Torrent::parse(&bytes).unwrap();
    let folder = format!("/srv/tree-{}", number.0 % 7);
    NewTorrent::of_file(number, &torrent, bytes, ContentPlace::under(folder), Origin::Added, 1_700_000_000)
}

/// Another one, of a magnet link.
pub(crate) fn new_link(number: TorrentNumber) -> NewTorrent {
    let torrent = Torrent::parse(&torrent_file(number.0 as u64)).unwrap();
    let magnet: Magnet = torrent.magnet().to_string().parse().unwrap();
    let origin = Origin::Subscribed { label: Arc::from("feed"), item: format!("item {}", number.0).into() };
    NewTorrent::of_magnet(number, &magnet, ContentPlace::at("/srv/link"), origin, 1_700_000_001)
}

pub(crate) fn open(dir: &Path) -> Catalogue {
    let (catalogue, rebuilt) = Catalogue::open(dir).unwrap();
    assert_eq!(rebuilt, None);
    catalogue
}

pub(crate) fn add(catalogue: &Catalogue) -> TorrentNumber {
    let number = catalogue.next_torrent();
    catalogue.apply_blocking(vec![Change::AddTorrent(Box::new(new_torrent(number)))]).unwrap();
    number
}
