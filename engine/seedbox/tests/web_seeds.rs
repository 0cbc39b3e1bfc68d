//! Torrents that are fetched from web servers and nobody else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking, its set-up too.

mod support;

use metainfo::{Torrent, Version};
use seedbox::{CreateOptions, Engine, FetchRequest, Source, StateDir, Status, TorrentState};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use storage::Meter;
use support::{Folder, config, loopback, until};

const GRACE: Duration = Duration::from_millis(300);

/// What a server makes of a file's bytes before it sends them; `None` for a file that it lacks.
type Serves = fn(&str, Vec<u8>) -> Option<Vec<u8>>;

/// A web server over a folder, with threads that end with their connections.
fn serve(folder: PathBuf, serves: Serves) -> SocketAddr {
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder = folder.clone();
            // A client that goes away ends it.
            std::thread::spawn(move || drop(answer_all(&stream, &folder, serves)));
        }
    });
    address
}

fn answer_all(mut stream: &TcpStream, folder: &Path, serves: Serves) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(request) = lines.next() {
        let path = request?.split(' ').nth(1).unwrap().replace("%20", " ");
        let mut range = None;
        for header in lines.by_ref() {
            let header = header?.to_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some((first, last)) = header.strip_prefix("range: bytes=").and_then(|range| range.split_once('-')) {
                range = Some((first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap()));
            }
        }
        let content = std::fs::read(folder.join(&path[1..])).ok().and_then(|content| serves(&path, content));
        let (Some(content), Some((first, last))) = (content, range) else {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        let (length, total) = (last - first + 1, content.len());
        let head = format!("Content-Range: bytes {first}-{last}/{total}\r\nContent-Length: {length}");
        stream.write_all(format!("HTTP/1.1 206 Partial Content\r\n{head}\r\n\r\n").as_bytes())?;
        stream.write_all(&content[first..=last])?;
    }
    Ok(())
}

fn honest(_: &str, content: Vec<u8>) -> Option<Vec<u8>> {
    Some(content)
}

/// Every byte wrong, though none lacking.
fn lying(_: &str, content: Vec<u8>) -> Option<Vec<u8>> {
    Some(content.into_iter().map(|byte| !byte).collect())
}

fn without_first(path: &str, content: Vec<u8>) -> Option<Vec<u8>> {
    Some(content).filter(|_| !path.ends_with("a.bin"))
}

fn without_last(path: &str, content: Vec<u8>) -> Option<Vec<u8>> {
    Some(content).filter(|_| !path.ends_with("z.bin"))
}

/// Content, a torrent of it that names these servers, and where it is fetched to.
struct Fixture {
    folder: Folder,
    torrent: Arc<Torrent>,
    engine: Engine,
}

impl Fixture {
    fn start(version: Version, servers: &[Serves]) -> Fixture {
        let folder = Folder::new();
        std::fs::create_dir_all(folder.path().join("rel 1/sub")).unwrap();
        for (n, name) in ["a.bin", "sub/b c.bin", "sub/d.bin", "z.bin"].into_iter().enumerate() {
            folder.write(&format!("rel 1/{name}"), 3_000_000 + n * 77_777, n as u8);
        }
        std::fs::write(folder.path().join("rel 1/empty"), b"").unwrap();
        let serve_folder = |serves: &Serves| format!("http://{}", serve(folder.path().to_owned(), *serves));
        let options = CreateOptions {
            version,
            piece_length: Some(1 << 18),
            web_seeds: servers.iter().map(serve_folder).collect(),
            ..CreateOptions::default()
        };
        let state = StateDir::choose(Some(&folder.path().join("state"))).unwrap();
        let release =
            seedbox::publish(&folder.path().join("rel 1"), &options, &state, None, &Arc::new(Meter::new())).unwrap();
        let torrent = Arc::new(Torrent::parse(&std::fs::read(&release.torrent_file).unwrap()).unwrap());
        assert_eq!(torrent.web_seeds().len(), servers.len());
        let engine = Engine::start(&config(2)).unwrap();
        Fixture { folder, torrent, engine }
    }

    /// Fetches all of it, and compares. The status at the end.
    fn fetch(&self) -> Status {
        let output = self.folder.path().join("fetched");
        self.engine.fetch(FetchRequest::new(Source::Torrent(self.torrent.clone()), &output)).unwrap();
        let is_complete = |status: &Status| {
            assert_eq!(status.torrents[0].error, None);
            status.torrents[0].state == TorrentState::Complete
        };
        let status = until(&self.engine, "it is complete", is_complete);
        for file in self.torrent.layout().file_indices().filter(|file| !self.torrent.layout().file(*file).is_pad()) {
            let path = self.torrent.layout().disk_path(file);
            let read = |root: &Path| std::fs::read(root.join(&path)).unwrap();
            assert!(read(&output) == read(self.folder.path()), "{}", path.display());
        }
        status
    }
}

#[test]
fn a_torrent_is_fetched_from_a_web_seed_alone() {
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        let fixture = Fixture::start(version, &[honest]);
        let status = fixture.fetch();
        let fetch = status.torrents[0].fetch.as_ref().unwrap();
        assert_eq!((fetch.failed_pieces, fetch.web_seeds.len()), (0, 0), "{fetch:?}");
        fixture.engine.stop(GRACE).unwrap();
    }
}

#[test]
fn a_web_seed_that_sends_wrong_bytes_holds_nothing_up() {
    let fixture = Fixture::start(Version::Hybrid, &[lying, honest]);
    let status = fixture.fetch();
    assert!(status.torrents[0].fetch.as_ref().unwrap().failed_pieces > 0);
    fixture.engine.stop(GRACE).unwrap();
}

#[test]
fn what_one_web_seed_lacks_another_has() {
    for version in [Version::V1, Version::V2] {
        let fixture = Fixture::start(version, &[without_first, without_last]);
        fixture.fetch();
        fixture.engine.stop(GRACE).unwrap();
    }
}
