//! The operator's requests: each is answered by a task of its own, so that one that takes long holds up no other. What is
//! done is the desk's, the engine's and the publishers' work; here it is put into the operator's words.

mod releases;
mod rows;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::operator::OperatorCall;
use api::operator::types::{
    AddTorrent, ErrorCode, FilePage, FileRow, ListTorrents, OperatorAnswer, OperatorError, OperatorReply,
    OperatorRequest, Paging, PeerPage, Rescan, Rescanning, Stats, TorrentDetail, TorrentPage, TorrentRef,
    TorrentSource, TrackerPage, VersionInfo,
};
use catalogue::{ContentPlace, Origin, TorrentNumber};
use metainfo::Torrent;
use tokio::sync::mpsc;

use crate::desk::{DeskError, DeskHandle, FetchSource, NewTorrent, TorrentLine};
use crate::engine_config;
use crate::running::Running;

/// Entries of a page if the request does not say.
const PAGE: usize = 1000;

/// The largest torrent file that is read from a path: what a torrent may have, and one byte that shows that it has more.
const TORRENT_FILE_BYTES: u64 = metainfo::limits::MAX_TORRENT_BYTES as u64;

/// Answers requests until nobody can ask any more.
pub(crate) async fn operate(running: Arc<Running>, mut calls: mpsc::Receiver<OperatorCall>) {
    while let Some(call) = calls.recv().await {
        let running = running.clone();
        tokio::spawn(async move {
            let answer = running.answer(call.request).await;
            // Whoever asked may have gone.
            let _ = call.reply.send(answer);
        });
    }
}

impl Running {
    async fn answer(&self, request: OperatorRequest) -> OperatorReply {
        use OperatorRequest as Asked;
        match request {
            Asked::List(list) => Ok(OperatorAnswer::Torrents(self.list(&list).await?)),
            Asked::Add(add) => self.add(*add).await,
            Asked::Show(torrent) => Ok(OperatorAnswer::Torrent(Box::new(self.show(&torrent).await?))),
            Asked::Peers(torrent) => Ok(OperatorAnswer::Peers(self.peers(&torrent).await?)),
            Asked::Trackers(torrent) => Ok(OperatorAnswer::Trackers(self.trackers(&torrent).await?)),
            Asked::Files(torrent, paging) => Ok(OperatorAnswer::Files(self.files(&torrent, paging).await?)),
            Asked::Remove(torrent, how) => {
                let line = self.find(&torrent).await?;
                self.desk.remove(line.number, how.delete_content).await?;
                Ok(OperatorAnswer::Done(rows::done(&line, None)))
            }
            Asked::Start(torrent) => self.act(&torrent, async |desk, number| desk.start(number).await).await,
            Asked::Stop(torrent) => self.act(&torrent, async |desk, number| desk.stop(number).await).await,
            Asked::Recheck(torrent, how) => {
                self.act(&torrent, async |desk, number| desk.recheck(number, how.fetch_missing).await).await
            }
            Asked::Announce(torrent) => self.act(&torrent, async |desk, number| desk.announce(number).await).await,
            Asked::Limit(torrent, change) => {
                let change = rows::limit_change(change);
                self.act(&torrent, async |desk, number| desk.limit(number, change).await).await
            }
            Asked::Move(torrent, to) => self.move_content(&torrent, &to.folder).await,
            Asked::Stats => Ok(OperatorAnswer::Stats(Box::new(self.stats().await?))),
            Asked::Reload => Ok(OperatorAnswer::Reloaded(self.reload().await.map_err(rows::invalid)?)),
            Asked::Releases(paging) => Ok(OperatorAnswer::Releases(self.releases(paging).await?)),
            Asked::Rescan(rescan) => Ok(OperatorAnswer::Rescanning(self.rescan(&rescan).await?)),
            Asked::Version => Ok(OperatorAnswer::Version(self.version())),
        }
    }
}

impl Running {
    /// The torrent that is meant, as it is.
    async fn find(&self, asked: &TorrentRef) -> Result<TorrentLine, OperatorError> {
        let number = self.desk.find(asked).await?;
        Ok(self.desk.line(number).await?)
    }

    /// Does something to one torrent, and tells which it was.
    async fn act(
        &self,
        asked: &TorrentRef,
        act: impl AsyncFnOnce(&DeskHandle, TorrentNumber) -> Result<(), DeskError>,
    ) -> OperatorReply {
        let line = self.find(asked).await?;
        act(&self.desk, line.number).await?;
        Ok(OperatorAnswer::Done(rows::done(&line, None)))
    }

    async fn list(&self, list: &ListTorrents) -> Result<TorrentPage, OperatorError> {
        let after = list.paging.after.map(rows::number);
        let page = self.desk.list(after, list.paging.limit.unwrap_or(PAGE)).await?;
        let next_after = page.torrents.last().filter(|_| page.has_more).map(|line| rows::id(line.number));
        let rows = page.torrents.iter().map(rows::torrent).filter(|row| list.filter.admits(row));
        Ok(TorrentPage { torrents: rows.collect(), next_after })
    }

    async fn add(&self, add: AddTorrent) -> OperatorReply {
        let folder = PathBuf::from(&add.folder);
        if !folder.is_absolute() {
            let error = OperatorError::new(ErrorCode::Invalid, format!("{}: not an absolute path", add.folder));
            return Err(error.hint("name the folder as the service sees it, from / on"));
        }
        let content = match add.folder_is_content {
            true => ContentPlace::at(&folder),
            false => ContentPlace::under(&folder),
        };
        let peers =
            add.peers.iter().map(|peer| peer.parse().map_err(|_| rows::invalid(format!("{peer}: not ADDR:PORT"))));
        let peers = peers.collect::<Result<Vec<SocketAddr>, _>>()?;
        let source = match add.source {
            TorrentSource::Torrent(bytes) => FetchSource::File(bytes),
            TorrentSource::TorrentPath(path) => FetchSource::File(read_torrent_file(path.into()).await?),
            TorrentSource::Magnet(link) => match link.parse() {
                Ok(magnet) => FetchSource::Magnet(Box::new(magnet)),
                Err(error) => return Err(rows::invalid(format!("the magnet link: {error}"))),
            },
        };
        let (limits, group) = rows::new_limits(&add.limits);
        let number = self
            .desk
            .add(NewTorrent {
                source,
                origin: Origin::Added,
                content,
                files: Vec::new(),
                group: group.or(add.group.map(Arc::from)),
                limits,
                is_stopped: add.stopped,
                peers,
            })
            .await?;
        let line = self.desk.line(number).await?;
        Ok(OperatorAnswer::Done(rows::done(&line, None)))
    }

    async fn show(&self, asked: &TorrentRef) -> Result<TorrentDetail, OperatorError> {
        let line = self.find(asked).await?;
        let torrent = self.metainfo(line.number).await?;
        Ok(rows::detail(&line, torrent.as_ref(), &self.settings()))
    }

    async fn peers(&self, asked: &TorrentRef) -> Result<PeerPage, OperatorError> {
        let line = self.find(asked).await?;
        let Some(id) = self.desk.engine_id(line.number).await? else { return Ok(PeerPage::default()) };
        let peers = self.engine.peers(id).await.map_err(rows::failed)?;
        Ok(rows::peers(&peers))
    }

    async fn trackers(&self, asked: &TorrentRef) -> Result<TrackerPage, OperatorError> {
        let line = self.find(asked).await?;
        let Some(id) = self.desk.engine_id(line.number).await? else { return Ok(TrackerPage::default()) };
        let trackers = self.engine.trackers(id).await.map_err(rows::failed)?;
        Ok(rows::trackers(&trackers, line.info_hash_v1.map(Into::into)))
    }

    async fn files(&self, asked: &TorrentRef, paging: Paging) -> Result<FilePage, OperatorError> {
        let line = self.find(asked).await?;
        let Some(torrent) = self.metainfo(line.number).await? else { return Ok(FilePage::default()) };
        let limit = paging.limit.unwrap_or(PAGE);
        let first = paging.after.map_or(0, |after| after.saturating_add(1));
        let files =
            torrent.layout().files().iter().zip(0u64..).filter(|(file, index)| !file.is_pad() && *index >= first);
        let mut files = files.map(|(file, index)| FileRow {
            index,
            path: file.path().to_path_buf().display().to_string(),
            size_bytes: file.length(),
            is_wanted: true,
        });
        let page: Vec<FileRow> = files.by_ref().take(limit).collect();
        let next_after = page.last().map(|file| file.index).filter(|_| files.next().is_some());
        Ok(FilePage { files: page, next_after })
    }

    async fn move_content(&self, asked: &TorrentRef, folder: &str) -> OperatorReply {
        let line = self.find(asked).await?;
        if !Path::new(folder).is_absolute() {
            let error = OperatorError::new(ErrorCode::Invalid, format!("{folder}: not an absolute path"));
            return Err(error.hint("name the folder as the service sees it, from / on"));
        }
        let moved = self.desk.move_to(line.number, folder.into()).await?;
        let how = if moved.copied_bytes > 0 { "copied and compared" } else { "moved" };
        let note = format!("{how}; it is at {} now", moved.content_path.display());
        Ok(OperatorAnswer::Done(rows::done(&line, Some(note))))
    }

    async fn rescan(&self, rescan: &Rescan) -> Result<Rescanning, OperatorError> {
        self.publishers.rescan(rescan.publish.as_deref()).await.map(|publish| Rescanning { publish }).map_err(|label| {
            let error = OperatorError::new(ErrorCode::NotFound, format!("there is no tree called {label}"));
            error.hint("`[[publish]]` in the settings names them")
        })
    }

    async fn stats(&self) -> Result<Stats, OperatorError> {
        let status = self.engine.overview().await.map_err(rows::failed)?;
        let mut stats = rows::stats(&status, &engine_config::rates_now(&self.settings()));
        stats.uptime_s = self.start.elapsed().as_secs();
        stats.http = rows::http(&self.http.counters);
        stats.problems.extend(self.publishers.statuses().await.iter().flat_map(rows::tree_problems));
        rows::count(&mut stats, &self.desk.sums().await?);
        Ok(stats)
    }

    fn version(&self) -> VersionInfo {
        VersionInfo {
            program: "spillway".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at_s: self.started_at_s,
        }
    }

    async fn metainfo(&self, number: TorrentNumber) -> Result<Option<Torrent>, OperatorError> {
        let catalogue = self.catalogue.clone();
        let read = tokio::task::spawn_blocking(move || catalogue.torrent(number)).await.map_err(rows::failed)?;
        read.map_err(rows::failed)
    }
}

async fn read_torrent_file(path: PathBuf) -> Result<Vec<u8>, OperatorError> {
    use std::io::Read;
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(&path);
        let read = file.and_then(|file| file.take(TORRENT_FILE_BYTES + 1).read_to_end(&mut bytes));
        read.map(|_| bytes).map_err(|error| rows::invalid(format!("{}: {error}", path.display())))
    });
    read.await.map_err(rows::failed)?
}
