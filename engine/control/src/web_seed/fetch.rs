//! Fetching one run: a range request for each of its files, the answers checked, their bytes cut into blocks.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use metainfo::{BLOCK_SIZE, BlockRange, Extent, FileIndex, Torrent};
use reqwest::Response;
use std::time::Duration;
use tokio::sync::mpsc;

use super::answer::{Body, Refusal, judge};
use super::client::{AskError, Patience, WebSeedClients, lost};
use super::cut::BlockCutter;
use super::plan::Run;
use super::url::FileUrls;

/// What pads are made of.
static ZEROS: [u8; BLOCK_SIZE as usize] = [0; BLOCK_SIZE as usize];

/// Why a run was not fetched to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum FetchError {
    /// This file is not to be had from this server.
    File(FileIndex, String),
    /// The server may do better later.
    Later(String, Option<Duration>),
    /// The server will not do better.
    Server(String),
    /// Nobody takes the blocks any more.
    Abandoned,
}

/// What a fetch tells the peer that started it.
pub(super) enum FetchEvent {
    /// A block is whole. Those of one fetch come in order.
    Block { fetch: u64, block: BlockRange, parts: Vec<Bytes> },
    /// The last word of a fetch.
    Done { fetch: u64, outcome: Result<(), FetchError> },
}

/// Where the content is.
pub(super) struct Source {
    pub(super) clients: Arc<WebSeedClients>,
    pub(super) torrent: Arc<Torrent>,
    pub(super) urls: FileUrls,
}

/// Fetches `run` and tells `events` of it.
pub(super) async fn fetch(source: Arc<Source>, run: Run, fetch: u64, events: mpsc::Sender<FetchEvent>) {
    // The semaphore is never closed.
    let _permit = source.clients.fetches.acquire().await;
    let patience = Patience::new(source.clients.config.stall_timeout);
    let cutter = BlockCutter::new(run.blocks);
    let mut fetching = Fetch { source: &source, fetch, events: &events, cutter, patience };
    let outcome = fetching.extents(&run.extents).await;
    // If nobody listens any more, there is nobody to tell.
    let _ = events.send(FetchEvent::Done { fetch, outcome }).await;
}

struct Fetch<'a> {
    source: &'a Source,
    fetch: u64,
    events: &'a mpsc::Sender<FetchEvent>,
    cutter: BlockCutter,
    patience: Patience,
}

impl Fetch<'_> {
    async fn extents(&mut self, extents: &[Extent]) -> Result<(), FetchError> {
        for extent in extents {
            match *extent {
                Extent::File { file, offset, size } => self.file(file, offset..offset + size).await?,
                Extent::Zeros { mut size } => {
                    while size > 0 {
                        let part = size.min(ZEROS.len() as u64);
                        self.deliver(Bytes::from_static(&ZEROS[..part as usize])).await?;
                        size -= part;
                    }
                }
            }
        }
        Ok(())
    }

    /// Fetches a range of a file, with more than one request if the server answers with less than the whole range.
    async fn file(&mut self, file: FileIndex, mut range: Range<u64>) -> Result<(), FetchError> {
        let layout = self.source.torrent.layout();
        let url = self.source.urls.of(layout, file).map_err(|error| FetchError::File(file, error.to_string()))?;
        let later = |error| match error {
            AskError::Lost(why) => FetchError::Later(why, None),
            AskError::Refused(why) => FetchError::File(file, why),
        };
        while !range.is_empty() {
            let response = self.source.clients.ask(&url, &range, &self.patience).await.map_err(later)?;
            let body = judge(response.status(), response.headers(), range.clone(), layout.file(file).length());
            let body = body.map_err(|refusal| match refusal {
                Refusal::File(why) => FetchError::File(file, why),
                Refusal::Later(why, retry_after) => FetchError::Later(why, retry_after),
                Refusal::Server(why) => FetchError::Server(why),
            })?;
            self.body(response, body).await?;
            range.start += body.wanted_bytes;
        }
        Ok(())
    }

    /// Takes the wanted bytes out of a body.
    async fn body(&mut self, mut response: Response, body: Body) -> Result<(), FetchError> {
        let (mut discarded, mut wanted) = (body.discarded_bytes, body.wanted_bytes);
        while wanted > 0 {
            let Some(mut part) = self.part(&mut response).await? else {
                return Err(FetchError::Later("the server sent less than it announced".to_owned(), None));
            };
            let skipped = discarded.min(part.len() as u64);
            discarded -= skipped;
            let mut part = part.split_off(skipped as usize);
            part.truncate(wanted.min(part.len() as u64) as usize);
            wanted -= part.len() as u64;
            self.deliver(part).await?;
        }
        // Only a body that was read to its end leaves the connection to the next request.
        if body.ends_there && self.part(&mut response).await?.is_some_and(|part| !part.is_empty()) {
            return Err(FetchError::Later("the server sent more than it announced".to_owned(), None));
        }
        Ok(())
    }

    async fn part(&mut self, response: &mut Response) -> Result<Option<Bytes>, FetchError> {
        let part = self.patience.wait(async { response.chunk().await.map_err(lost) }).await;
        part.map_err(|error| match error {
            AskError::Lost(why) | AskError::Refused(why) => FetchError::Later(why, None),
        })
    }

    /// Hands out the blocks that `bytes` completes. Waits while the peer has enough to send; the server is not blamed for it.
    async fn deliver(&mut self, mut bytes: Bytes) -> Result<(), FetchError> {
        while let Some((block, parts)) = self.cutter.take(&mut bytes) {
            let event = FetchEvent::Block { fetch: self.fetch, block, parts };
            self.events.send(event).await.map_err(|_| FetchError::Abandoned)?;
            self.patience.renew();
        }
        Ok(())
    }
}
