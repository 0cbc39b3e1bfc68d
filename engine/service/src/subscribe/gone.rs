//! What was taken from a feed and is in it no more: removed, where that is wanted.

use std::collections::HashSet;

use catalogue::{CatalogueError, Change, Origin, TorrentNumber};
use hash::Sha256Digest;

use super::follow::{Follower, ask};
use crate::desk::DeskError;

impl Follower {
    /// Removes what is in the feed no more: when it was missing twice, and the feed is not just empty. `named` are the torrents
    /// of what is in the feed, of which some came by other items that are gone.
    pub(super) async fn drop_gone(
        &self,
        keys: &HashSet<Sha256Digest>,
        named: &HashSet<TorrentNumber>,
        gone_once: &mut HashSet<TorrentNumber>,
    ) -> Result<(), CatalogueError> {
        if keys.is_empty() {
            tracing::warn!(subscription = self.settings.name, "the feed is empty: nothing is removed for that");
            gone_once.clear();
            return Ok(());
        }
        let keys: HashSet<String> = keys.iter().map(ToString::to_string).collect();
        let gone = self
            .torrents(move |row| matches!(&row.origin, Origin::Subscribed { item, .. } if !keys.contains(&**item)))
            .await?;
        let gone: HashSet<TorrentNumber> = gone.into_iter().filter(|number| !named.contains(number)).collect();
        let gone_twice: Vec<TorrentNumber> = gone.intersection(gone_once).copied().collect();
        *gone_once = gone;
        self.remove_gone(gone_twice, gone_once).await;
        Ok(())
    }

    /// Has torrents removed with their content. Those that cannot be removed just now stay in `gone_once`.
    pub(super) async fn remove_gone(
        &self,
        gone: impl IntoIterator<Item = TorrentNumber>,
        gone_once: &mut HashSet<TorrentNumber>,
    ) {
        for number in gone {
            match self.is_of_other_feeds(number).await {
                Ok(false) => {}
                // Theirs to keep from now on.
                Ok(true) => {
                    gone_once.remove(&number);
                    continue;
                }
                Err(error) => {
                    tracing::warn!(torrent = number.0, %error, "cannot be removed");
                    continue;
                }
            }
            match self.remove(number).await {
                Ok(()) | Err(DeskError::Unknown { .. }) => {
                    tracing::info!(
                        subscription = self.settings.name,
                        torrent = number.0,
                        "no longer in the feed: removed"
                    );
                    gone_once.remove(&number);
                }
                Err(error) => tracing::warn!(torrent = number.0, %error, "cannot be removed"),
            }
        }
    }

    async fn is_of_other_feeds(&self, number: TorrentNumber) -> Result<bool, CatalogueError> {
        let name = self.settings.name.clone();
        ask(&self.catalogue, move |catalogue| catalogue.is_of_other_feeds(&name, number)).await
    }

    /// The items go first: should they be in the feed again, they are new, whatever ends us in between. What an operator
    /// removes keeps its items, and does not come back.
    async fn remove(&self, number: TorrentNumber) -> Result<(), DeskError> {
        self.catalogue.apply(vec![Change::ForgetItems(number)]).await?;
        self.desk.remove(number, true).await
    }
}
