//! From an item of a feed to a torrent of the desk.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use catalogue::{CatalogueError, ContentPlace, FeedItem, Origin, TorrentLimits, TorrentNumber};
use control::web_client::{Scope, WebError, WebRequest};
use hash::InfoHash;
use metainfo::{Magnet, Torrent};
use reqwest::header::HeaderMap;
use url::Url;

use super::follow::{Follower, ask};
use super::rules::{NoRoom, no_room, too_large};
use crate::desk::{DeskError, FetchSource, NewTorrent};

/// How long a torrent file may take to come: the largest has 64 MiB.
const TORRENT_TIMEOUT: Duration = Duration::from_secs(300);

/// What became of an item that was tried.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Its torrent is the desk's, with this size if it is known.
    As(TorrentNumber, Option<u64>),
    /// It is not wanted.
    Unwanted(String),
    /// It is, when there is room. No failure.
    NoRoom(NoRoom),
    /// The desk or the catalogue cannot, just now. No failure of the item.
    NotNow(String),
    /// The service is stopping.
    Stopping,
    /// It did not work.
    Failed(String),
}

/// What an item turned out to be.
struct Found {
    source: FetchSource,
    info_hashes: Vec<InfoHash>,
    size_bytes: Option<u64>,
    /// Unknown of a link.
    name: Option<String>,
}

impl Follower {
    /// Tries to make a torrent of an item. `scope` is where the feed's server stands; `gone_once` are torrents that the feed
    /// does not name any more, which make place for their successors.
    pub(super) async fn take(&self, item: &FeedItem, scope: Scope, gone_once: &mut HashSet<TorrentNumber>) -> Taken {
        match self.try_take(item, scope, gone_once).await {
            Ok((number, size_bytes)) => Taken::As(number, size_bytes),
            Err(taken) => taken,
        }
    }

    async fn try_take(
        &self,
        item: &FeedItem,
        scope: Scope,
        gone_once: &mut HashSet<TorrentNumber>,
    ) -> Result<(TorrentNumber, Option<u64>), Taken> {
        // Before anything is asked of anybody: what cannot be kept need not come.
        let said_bytes = Some(item.size_bytes).filter(|size_bytes| *size_bytes > 0);
        self.require_room(said_bytes).await?;
        let Found { source, info_hashes, size_bytes, name } = self.find(item, scope).await?;
        let known = ask(&self.catalogue, move |catalogue| {
            for info_hash in info_hashes {
                if let Some(number) = catalogue.find(info_hash)? {
                    return Ok(Some(number));
                }
            }
            Ok(None)
        });
        if let Some(number) = known.await.map_err(|error| not_now(&error))? {
            // Another feed named it, an operator added it, or we did, just before a crash.
            return Ok((number, size_bytes));
        }
        if let Some(why) = size_bytes.and_then(|size_bytes| too_large(&self.settings, size_bytes)) {
            return Err(Taken::Unwanted(why));
        }
        self.require_room(size_bytes).await?;
        if let Some(name) = name.filter(|_| !self.settings.keep) {
            self.make_place(name, gone_once).await?;
        }
        let number = self.desk.add(self.torrent(item, source)).await;
        number.map(|number| (number, size_bytes)).map_err(|error| match error {
            DeskError::Busy | DeskError::Catalogue { .. } => Taken::NotNow(error.to_string()),
            DeskError::Stopping => Taken::Stopping,
            _ => Taken::Failed(error.to_string()),
        })
    }

    async fn require_room(&self, size_bytes: Option<u64>) -> Result<(), Taken> {
        if self.settings.max_items.is_none() && self.settings.max_total_size.is_none() {
            return Ok(());
        }
        let name = self.settings.name.clone();
        let taken = ask(&self.catalogue, move |catalogue| catalogue.feed_taken(&name)).await;
        match no_room(&self.settings, taken.map_err(|error| not_now(&error))?, size_bytes) {
            Some(no_room) => Err(Taken::NoRoom(no_room)),
            None => Ok(()),
        }
    }

    /// Two contents cannot lie at one path: a version that is gone from the feed goes before the next one of its name comes.
    /// Where anything else lies, the desk finds another place for what comes.
    async fn make_place(&self, name: String, gone_once: &mut HashSet<TorrentNumber>) -> Result<(), Taken> {
        let place = ContentPlace::under(&self.settings.output).path(&name);
        let there = ask(&self.catalogue, move |catalogue| {
            let mut there = Vec::new();
            catalogue.each_torrent(|row| {
                if row.content.path(&row.name) == place {
                    there.push(row.number);
                }
            })?;
            Ok(there)
        });
        for number in there.await.map_err(|error| not_now(&error))? {
            if !gone_once.contains(&number) {
                continue;
            }
            self.remove_gone([number], gone_once).await;
            if gone_once.contains(&number) {
                return Err(Taken::NotNow(format!("torrent {}, an older version, is in its place", number.0)));
            }
        }
        Ok(())
    }

    async fn find(&self, item: &FeedItem, scope: Scope) -> Result<Found, Taken> {
        let url = item.url.as_deref().unwrap_or_default();
        if let Ok(magnet) = url.parse::<Magnet>() {
            let (info_hashes, size_bytes) = (magnet.info_hashes().collect(), magnet.total_size);
            return Ok(Found { source: FetchSource::Magnet(Box::new(magnet)), info_hashes, size_bytes, name: None });
        }
        let url = Url::parse(url).map_err(|_| Taken::Failed("it names neither a torrent nor a link".to_owned()))?;
        let request = WebRequest {
            url: &url,
            reach: scope,
            headers: HeaderMap::new(),
            limit_bytes: metainfo::limits::MAX_TORRENT_BYTES,
            timeout: TORRENT_TIMEOUT,
        };
        let answer = self.clients.get(request).await.map_err(|error| match error {
            WebError::TooLong(_) => Taken::Failed(format!("its torrent: {error}")),
            WebError::Lost(_) | WebError::Refused(_) => Taken::Failed(error.to_string()),
        })?;
        if !answer.status.is_success() {
            return Err(Taken::Failed(format!("HTTP status {} for its torrent", answer.status)));
        }
        // A large torrent takes its time.
        let read =
            tokio::task::spawn_blocking(move || Torrent::parse(&answer.body).map(|torrent| (torrent, answer.body)));
        let (torrent, bytes) = read
            .await
            .map_err(|_| Taken::Stopping)?
            .map_err(|error| Taken::Failed(format!("what it names is no torrent: {error}")))?;
        let (info_hashes, size_bytes) = (torrent.info_hashes().collect(), Some(torrent.layout().total_size()));
        let name = Some(torrent.layout().name().to_owned());
        Ok(Found { source: FetchSource::File(bytes), info_hashes, size_bytes, name })
    }

    fn torrent(&self, item: &FeedItem, source: FetchSource) -> NewTorrent {
        let settings = &self.settings;
        // What is not to be seeded stops as soon as it is complete, as one does whose time is over.
        let limits = TorrentLimits { seed_time_s: (!settings.seed).then_some(1), ..TorrentLimits::default() };
        NewTorrent {
            source,
            origin: Origin::Subscribed { label: settings.name.as_str().into(), item: item.item.to_string().into() },
            content: ContentPlace::under(&settings.output),
            files: settings.files.iter().map(|glob| glob.as_str().to_owned()).collect(),
            group: settings.group.as_deref().map(Arc::from),
            limits,
            is_stopped: false,
            peers: Vec::new(),
        }
    }
}

fn not_now(error: &CatalogueError) -> Taken {
    Taken::NotNow(error.to_string())
}
