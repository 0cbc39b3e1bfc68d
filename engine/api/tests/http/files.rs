//! Feeds and files of releases as clients fetch them.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use api::HttpLimits;
use api::releases::{MAX_FILE_BYTES, ReleaseBytes, ReleaseFile, ReleaseFiles, ReleaseKey};
use api::server::{Routes, Server};
use hash::Sha1Digest;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED,
};
use reqwest::{Client, StatusCode};

use crate::{board, count, get, soon, start};

/// Releases that are numbers: 1 has all files, 2 is too large, 3 cannot be read, others are not there.
#[derive(Default)]
struct Files {
    reads: AtomicUsize,
    /// While it is shut, reads wait.
    gate: Mutex<bool>,
    opened: Condvar,
}

const NAME: &str = "ä \"b\"/c.iso";

fn hash(number: u8) -> String {
    format!("{number:02x}").repeat(20)
}

impl ReleaseFiles for Files {
    fn read(&self, key: ReleaseKey, file: ReleaseFile) -> io::Result<Option<ReleaseBytes>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        drop(self.opened.wait_while(self.gate.lock().unwrap(), |is_shut| *is_shut).unwrap());
        let bytes = match key {
            ReleaseKey::V1(Sha1Digest([1, ..])) => format!("the {}", file.extension()).into_bytes(),
            ReleaseKey::V1(Sha1Digest([2, ..])) => vec![0; MAX_FILE_BYTES + 1],
            ReleaseKey::V1(Sha1Digest([3, ..])) => return Err(io::Error::other("the disk is on fire")),
            ReleaseKey::V1(Sha1Digest([4, ..])) => vec![7; MAX_FILE_BYTES],
            _ => return Ok(None),
        };
        Ok(Some(ReleaseBytes { name: NAME.to_owned(), bytes: bytes.into() }))
    }
}

fn serve(files: &Arc<Files>) -> (Server, String, Client) {
    let releases: Arc<dyn ReleaseFiles> = files.clone();
    let routes = Routes { feeds: Some(board()), releases: Some(releases), ..Routes::default() };
    let (server, to) = start(&routes, HttpLimits::default());
    (server, format!("http://{to}"), crate::client().no_gzip().build().unwrap())
}

#[tokio::test]
async fn a_feed_is_sent_packed_to_who_takes_it_and_not_at_all_to_who_has_it() {
    let (server, url, client) = serve(&Arc::default());
    let feed = format!("{url}/feeds/iso.rss");
    let plain = soon(client.get(&feed).send()).await.unwrap();
    assert_eq!(plain.headers()[CONTENT_TYPE], "application/rss+xml; charset=utf-8");
    let tag = plain.headers()[ETAG].clone();
    let plain = soon(plain.text()).await.unwrap();
    assert!(plain.contains("Release 49"));
    let packed = soon(client.get(&feed).header(ACCEPT_ENCODING, "gzip").send()).await.unwrap();
    assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
    assert!(soon(packed.bytes()).await.unwrap().len() < plain.len() / 4);
    let unpacked = crate::client().gzip(true).build().unwrap();
    assert_eq!(soon(soon(unpacked.get(&feed).send()).await.unwrap().text()).await.unwrap(), plain);
    let known = soon(client.get(&feed).header(IF_NONE_MATCH, &tag).send()).await.unwrap();
    assert_eq!((known.status(), &known.headers()[ETAG]), (StatusCode::NOT_MODIFIED, &tag));
    assert_eq!(soon(known.bytes()).await.unwrap().len(), 0);
    let head = soon(client.head(&feed).send()).await.unwrap();
    assert_eq!(head.headers()["content-length"], plain.len().to_string());
    assert_eq!(soon(head.bytes()).await.unwrap().len(), 0);
    let atom = soon(client.get(format!("{url}/feeds/iso.atom")).send()).await.unwrap();
    assert_eq!(atom.headers()[CONTENT_TYPE], "application/atom+xml; charset=utf-8");
    let none = soon(client.get(format!("{url}/feeds/none.rss")).send()).await.unwrap();
    assert_eq!(none.status(), StatusCode::NOT_FOUND);
    assert_eq!((count(&server.counters(), "feeds"), count(&server.counters(), "not_modified")), (5, 1));
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_feeds_date_is_a_condition_too() {
    let (server, url, client) = serve(&Arc::default());
    let feed = format!("{url}/feeds/iso.rss");
    // The date comes when the second of the change is over.
    let dated = async {
        loop {
            let response = client.get(&feed).send().await.unwrap();
            if let Some(date) = response.headers().get(LAST_MODIFIED) {
                return date.clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let date = soon(dated).await;
    let known = soon(client.get(&feed).header("if-modified-since", &date).send()).await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    let old = client.get(&feed).header("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(soon(old.send()).await.unwrap().status(), StatusCode::OK);
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_releases_files_are_found_by_hash_and_name_and_kept_apart_by_type() {
    let (server, url, client) = serve(&Arc::default());
    let key = ReleaseKey::V1(Sha1Digest([1; 20]));
    for (file, media_type) in [
        (ReleaseFile::Torrent, "application/x-bittorrent"),
        (ReleaseFile::Magnet, "text/plain; charset=utf-8"),
        (ReleaseFile::Metalink, "application/metalink4+xml"),
        (ReleaseFile::Sha256, "text/plain; charset=utf-8"),
    ] {
        let path = api::releases::path(key, NAME, file);
        let response = soon(client.get(format!("{url}{path}")).send()).await.unwrap();
        assert_eq!(response.headers()[CONTENT_TYPE], media_type);
        let disposition = response.headers()[CONTENT_DISPOSITION].to_str().unwrap().to_owned();
        assert!(disposition.starts_with("attachment; filename=\"_ _b__c.iso."), "{disposition}");
        let tag = response.headers()[ETAG].clone();
        assert_eq!(soon(response.text()).await.unwrap(), format!("the {}", file.extension()));
        let known = soon(client.get(format!("{url}{path}")).header(IF_NONE_MATCH, tag).send()).await.unwrap();
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    }
    for path in [
        format!("/releases/{}/other.torrent", hash(1)),
        format!("/releases/{}/x.torrent", hash(9)),
        format!("/releases/{}/..%2F..%2Fetc%2Fpasswd.torrent", hash(1)),
        "/releases/../feeds/iso.rss".to_owned(),
        "/releases/".to_owned(),
    ] {
        assert!(get(server.local_addrs()[0], &path).await.starts_with("HTTP/1.1 404 "), "{path}");
    }
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_file_that_is_too_large_or_cannot_be_read_is_no_answer_and_no_end() {
    let (server, url, client) = serve(&Arc::default());
    for number in [2, 3] {
        let path = format!("{url}/releases/{}/x.torrent", hash(number));
        let response = soon(client.get(path).send()).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!soon(response.text()).await.unwrap().contains("fire"), "what the disk says is not for strangers");
    }
    assert_eq!(count(&server.counters(), "releases_failed"), 2);
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_thousand_who_ask_at_once_are_served_from_few_reads() {
    let files = Arc::new(Files::default());
    *files.gate.lock().unwrap() = true;
    let (server, url, client) = serve(&files);
    let path = format!("{url}{}", api::releases::path(ReleaseKey::V1(Sha1Digest([1; 20])), NAME, ReleaseFile::Torrent));
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let (client, path) = (client.clone(), path.clone());
        asked.spawn(async move { client.get(path).send().await.unwrap().text().await.unwrap() });
    }
    let all_wait = async {
        while count(&server.counters(), "requests") < 1000 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    soon(all_wait).await;
    *files.gate.lock().unwrap() = false;
    files.opened.notify_all();
    while let Some(text) = soon(asked.join_next()).await {
        assert_eq!(text.unwrap(), "the torrent");
    }
    let reads = files.reads.load(Ordering::Relaxed);
    assert!(reads < 200, "{reads} reads");
    soon(server.stop()).await;
}

#[tokio::test]
async fn slow_readers_of_large_files_cannot_fill_the_memory() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (server, url, client) = serve(&Arc::default());
    let to = server.local_addrs()[0];
    // Each is another file, of the largest size: four are room for, and nobody reads on.
    let mut slow = Vec::new();
    let mut statuses = Vec::new();
    for file in ReleaseFile::ALL {
        for digit in [4_u8, 4] {
            let path = api::releases::path(ReleaseKey::V1(Sha1Digest([digit; 20])), NAME, file);
            let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
            let mut status = [0; 12];
            soon(stream.read_exact(&mut status)).await.unwrap();
            statuses.push(status);
            slow.push(stream);
        }
    }
    assert!(statuses.iter().all(|status| status == b"HTTP/1.1 200"), "two share one copy");
    let mut other = [4; 20];
    other[19] = 5;
    let path = format!("{url}{}", api::releases::path(ReleaseKey::V1(Sha1Digest(other)), NAME, ReleaseFile::Torrent));
    let response = soon(client.get(&path).send()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(slow);
    let room = async {
        while client.get(&path).send().await.unwrap().status() != StatusCode::OK {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    soon(room).await;
    soon(server.stop()).await;
}
