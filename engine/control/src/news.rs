//! What happens to torrents without anybody's order, for whoever wants to hear of it.

use crate::rechecking::RecheckReport;
use mesh::TorrentId;
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// News that a listener may leave unheard; of older ones it is told how many it has missed.
pub const NEWS_LIMIT: usize = 1024;

/// Something has happened.
#[derive(Debug, Clone)]
pub enum EngineEvent {
    /// A torrent is neither served nor fetched any more.
    Failed {
        /// Its number.
        id: TorrentId,
        /// The file and what is wrong with it.
        reason: String,
    },
    /// It is known what is fetched, and its files have been looked at.
    Prepared {
        /// Its number.
        id: TorrentId,
    },
    /// All that is wanted of a torrent that was fetched is there to last.
    Completed {
        /// Its number.
        id: TorrentId,
    },
    /// The disk takes no more of a torrent that is fetched.
    FetchPaused {
        /// Its number.
        id: TorrentId,
        /// The path and what the system said.
        reason: String,
    },
    /// The disk takes it again.
    FetchResumed {
        /// Its number.
        id: TorrentId,
    },
    /// Another peer has all of a torrent of which that was awaited.
    FirstCopy {
        /// Its number.
        id: TorrentId,
    },
    /// A torrent's embargo is over, for everybody.
    Opened {
        /// Its number.
        id: TorrentId,
    },
    /// A torrent's content was compared with what it should be.
    Rechecked {
        /// Its number.
        id: TorrentId,
        /// What was found.
        report: Arc<RecheckReport>,
    },
    /// A torrent was removed.
    Removed {
        /// Its number.
        id: TorrentId,
    },
    /// This listener was too slow: so many events are lost to it, and the status tells how things are.
    Missed {
        /// How many.
        count: u64,
    },
}

/// Where control tells its news.
#[derive(Debug, Clone)]
pub struct News(broadcast::Sender<EngineEvent>);

/// See [`News::downgrade`].
#[derive(Debug, Clone)]
pub struct WeakNews(broadcast::WeakSender<EngineEvent>);

/// The news, for one listener.
#[derive(Debug)]
pub struct EngineEvents(broadcast::Receiver<EngineEvent>);

impl Default for News {
    fn default() -> News {
        News(broadcast::Sender::new(NEWS_LIMIT))
    }
}

impl News {
    /// What happens from now on.
    pub fn listen(&self) -> EngineEvents {
        EngineEvents(self.0.subscribe())
    }

    /// A way to listen that does not keep the news going when control has ended.
    pub fn downgrade(&self) -> WeakNews {
        WeakNews(self.0.downgrade())
    }

    pub(crate) fn tell(&self, event: EngineEvent) {
        // Nobody may be listening.
        let _ = self.0.send(event);
    }
}

impl WeakNews {
    /// What happens from now on; `None` if nothing does any more.
    pub fn listen(&self) -> Option<EngineEvents> {
        Some(EngineEvents(self.0.upgrade()?.subscribe()))
    }
}

impl EngineEvents {
    /// The next event; `None` once the engine has stopped.
    pub async fn next(&mut self) -> Option<EngineEvent> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(count)) => Some(EngineEvent::Missed { count }),
            Err(RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_listens_too_slowly_is_told_what_it_has_missed_and_goes_on() {
        let news = News::default();
        let (mut slow, mut other) = (news.listen(), news.listen());
        for n in 0..NEWS_LIMIT as u32 + 7 {
            news.tell(EngineEvent::Removed { id: TorrentId(n) });
            assert!(
                matches!(other.next().await, Some(EngineEvent::Removed { id }) if id.0 == n),
                "nobody waits for it"
            );
        }
        assert!(matches!(slow.next().await, Some(EngineEvent::Missed { count: 7 })));
        assert!(matches!(slow.next().await, Some(EngineEvent::Removed { id: TorrentId(7) })));
        drop(news);
        let mut left = 0;
        while let Some(event) = slow.next().await {
            assert!(matches!(event, EngineEvent::Removed { .. }));
            left += 1;
        }
        assert_eq!(left, NEWS_LIMIT - 1);
    }
}
