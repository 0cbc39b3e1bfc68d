//! The feeds and the files of releases follow the table: within the step that changes it, and before anybody is told.

use std::future::Future;

use catalogue::TorrentNumber;
use mesh::TorrentId;
use tokio::sync::oneshot;

use super::entry::Entry;
use super::task::Desk;

/// Who waits for the feeds to follow.
#[derive(Default)]
pub(crate) struct Rendering {
    is_under_way: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Desk {
    /// Shows a torrent's files to everybody, or hides them, as the table has it.
    pub(crate) fn show(&mut self, number: TorrentNumber) {
        if let Some(entry) = self.table.get(number) {
            self.world.shelf.set(entry);
        }
    }

    /// Shows a torrent that is there again, or whole at last: its files at once, and the feeds follow.
    pub(crate) fn show_with_feeds(&mut self, number: TorrentNumber) {
        self.show(number);
        if self.table.get(number).is_some_and(Entry::is_public) {
            drop(self.feeds_follow());
        }
    }

    /// Takes a torrent out of what everybody may have: its files at once, the feeds when the first result comes true. The
    /// second is what the engine, which is to lose it next, calls it.
    pub(crate) fn hide(
        &mut self,
        number: TorrentNumber,
    ) -> (impl Future<Output = ()> + Send + 'static, Option<TorrentId>) {
        let was_public = self.table.get(number).is_some_and(Entry::is_public);
        let id = self.table.get(number).and_then(|entry| entry.engine);
        // What the engine has no longer is not public.
        self.table.set_engine(number, None);
        self.show(number);
        let followed = if was_public { Some(self.feeds_follow()) } else { None };
        let hidden = async move {
            if let Some(followed) = followed {
                followed.await;
            }
        };
        (hidden, id)
    }

    /// Comes true when the feeds say what the table has now.
    pub(crate) fn feeds_follow(&mut self) -> impl Future<Output = ()> + Send + 'static {
        let (followed, follows) = oneshot::channel();
        self.rendering.waiting.push(followed);
        if !self.rendering.is_under_way {
            self.render();
        }
        async move { drop(follows.await) }
    }

    /// Many changes at once are one rendering: those that come meanwhile are in the next.
    fn render(&mut self) {
        let waiting = std::mem::take(&mut self.rendering.waiting);
        let (feeds, selected) = (self.feeds.clone(), self.feeds.select(|| self.table.iter()));
        self.rendering.is_under_way = true;
        let rendered = tokio::task::spawn_blocking(move || feeds.render(selected));
        self.work_apart(rendered, move |desk, rendered| {
            if let Err(error) = rendered {
                tracing::error!(%error, "the feeds are not what they should be");
            }
            for follows in waiting {
                let _ = follows.send(());
            }
            desk.rendering.is_under_way = false;
            if !desk.rendering.waiting.is_empty() {
                desk.render();
            }
        });
    }
}
