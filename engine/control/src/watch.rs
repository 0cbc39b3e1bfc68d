//! The look at the paths of all content, from time to time: shards look at the files that they send from by themselves; this
//! is for the others, and for files that were replaced under their name.

use crate::control::Control;
use crate::fetch::{FetchFiles, Stage};
use crate::registry::{Entry, Phase};
use mesh::TorrentId;
use std::sync::Arc;
use storage::{Seeded, StorageError};
use tokio::task::JoinHandle;

/// The look that is under way.
#[derive(Default)]
pub(crate) struct Watch(Option<JoinHandle<Vec<Finding>>>);

/// Content that is not what it was. The torrent may have other content by the time that this is read.
pub(crate) struct Finding {
    id: TorrentId,
    seeded: Arc<Seeded>,
    error: StorageError,
}

/// What is looked at.
enum Watched {
    /// Files that never change.
    Content(Arc<Seeded>),
    /// Files that are being written.
    UnderWay(Arc<dyn FetchFiles>),
}

impl Watch {
    /// What the look found, when it ends; never while none is under way.
    pub(crate) async fn found(&mut self) -> Vec<Finding> {
        match &mut self.0 {
            Some(handle) => {
                let found = handle.await.unwrap_or_default();
                self.0 = None;
                found
            }
            None => std::future::pending().await,
        }
    }
}

impl Control {
    pub(crate) async fn begin_watch(&mut self) {
        // An event may have been lost to a full mailbox; the error itself is not.
        let has_error = |entry: &Entry| entry.seeded().is_some_and(|seeded| seeded.error().is_some());
        let failed = |(id, entry): (TorrentId, &Entry)| (entry.failure.is_none() && has_error(entry)).then_some(id);
        let failed: Vec<TorrentId> = self.registry.active().filter_map(failed).collect();
        for id in failed {
            self.handle_failed(id).await;
        }
        if self.watch.0.is_some() {
            return;
        }
        let watched = |(id, entry): (TorrentId, &Entry)| Some((id, entry.seeded()?.clone(), Watched::of(entry)?));
        let watched: Vec<(TorrentId, Arc<Seeded>, Watched)> = self.registry.active().filter_map(watched).collect();
        self.watch.0 = Some(tokio::task::spawn_blocking(move || {
            let check = |(id, seeded, watched): (TorrentId, Arc<Seeded>, Watched)| {
                let error = watched.check_on_disk().err()?;
                // A shortage of ours says nothing of the content; the next look may be luckier.
                (!error.is_transient()).then_some(Finding { id, seeded, error })
            };
            watched.into_iter().filter_map(check).collect()
        }));
    }

    pub(crate) async fn handle_watch(&mut self, found: Vec<Finding>) {
        for Finding { id, seeded, error } in found {
            seeded.fail(error);
            // What was found in content that was given up says nothing of the content that was put in its place.
            if self.registry.get(id).and_then(Entry::seeded).is_some_and(|current| Arc::ptr_eq(current, &seeded)) {
                self.handle_failed(id).await;
            }
        }
    }
}

impl Watched {
    /// What of a torrent can be looked at now.
    fn of(entry: &Entry) -> Option<Watched> {
        match &entry.phase {
            _ if entry.failure.is_some() => None,
            Phase::AtRest(_) | Phase::Checking(_) => None,
            Phase::Serving(seeded) => Some(Watched::Content(seeded.clone())),
            Phase::Fetching(fetching) => match fetching.stage {
                Stage::UnderWay(_) => Some(Watched::UnderWay(fetching.files.clone())),
                Stage::Unresolved | Stage::Resolving(_) | Stage::Preparing | Stage::NoRoom(_) | Stage::Finishing(_) => {
                    None
                }
            },
        }
    }

    fn check_on_disk(&self) -> Result<(), StorageError> {
        match self {
            Watched::Content(seeded) => seeded.content().check_on_disk(),
            Watched::UnderWay(files) => files.check_on_disk(),
        }
    }
}
