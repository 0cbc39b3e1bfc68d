//! All trees of a service: begun, changed and ended by their names, as the settings have them.

use std::collections::BTreeMap;
use std::time::Duration;

use publish::RulesError;
use settings::{Named, Settings};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Publisher, PublisherWorld, TreeStatus};

/// How long a tree may take to say how it is.
const STATUS_LIMIT: Duration = Duration::from_secs(2);

/// The publishers of a service.
pub struct Publishers {
    state: Mutex<State>,
}

struct State {
    world: PublisherWorld,
    running: BTreeMap<String, Publisher>,
}

impl Publishers {
    /// Begins to publish every tree of the settings.
    pub async fn start(world: PublisherWorld, settings: &Settings) -> Result<Publishers, RulesError> {
        let publishers = Publishers { state: Mutex::new(State { world, running: BTreeMap::new() }) };
        let added = settings.publish.iter().map(|tree| tree.name.clone()).collect();
        publishers.apply(&Named { added, ..Named::default() }, settings).await?;
        Ok(publishers)
    }

    /// Ends trees that are gone from the settings, and begins those that are new; one that changed is begun anew, which reads
    /// no content again. What a tree had published that is gone from the settings stays published.
    pub async fn apply(&self, change: &Named, settings: &Settings) -> Result<(), RulesError> {
        let mut state = self.state.lock().await;
        let ended = change.removed.iter().chain(&change.changed);
        let ended: Vec<Publisher> = ended.filter_map(|name| state.running.remove(name)).collect();
        stop_all(ended).await;
        for name in change.added.iter().chain(&change.changed) {
            if let Some(tree) = settings.publish.iter().find(|tree| tree.name == *name) {
                let publisher = Publisher::start(state.world.clone(), tree)?;
                state.running.insert(name.clone(), publisher);
            }
        }
        Ok(())
    }

    /// Our server hands out files beneath another URL: all trees are begun anew, so that what they write from now on says so.
    pub async fn set_files_url(&self, files_url: Option<String>, settings: &Settings) -> Result<(), RulesError> {
        let changed = {
            let mut state = self.state.lock().await;
            state.world.files_url = files_url;
            state.running.keys().cloned().collect()
        };
        self.apply(&Named { changed, ..Named::default() }, settings).await
    }

    /// Looks at all of a tree, or of every tree, and gives their names; or the name of the one that there is not.
    pub async fn rescan(&self, name: Option<&str>) -> Result<Vec<String>, String> {
        // A look may take long, and others ask meanwhile.
        let asked: Vec<_> = {
            let running = &self.state.lock().await.running;
            let asked = running.iter().filter(|(tree, _)| name.is_none_or(|name| name == *tree));
            asked.map(|(tree, publisher)| (tree.clone(), publisher.asker())).collect()
        };
        if let Some(unknown) = name.filter(|_| asked.is_empty()) {
            return Err(unknown.to_owned());
        }
        let mut looked_at = Vec::new();
        for (tree, asker) in asked {
            asker.rescan().await;
            looked_at.push(tree);
        }
        Ok(looked_at)
    }

    /// How every tree is, by name. One that is looking at its files for too long is left out.
    pub async fn statuses(&self) -> Vec<TreeStatus> {
        let publishers: Vec<_> = self.state.lock().await.running.values().map(Publisher::asker).collect();
        let mut asked = JoinSet::new();
        for asker in publishers {
            asked.spawn(timeout(STATUS_LIMIT, asker.status()));
        }
        let mut statuses: Vec<TreeStatus> = asked.join_all().await.into_iter().flatten().flatten().collect();
        statuses.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        statuses
    }

    /// Ends all of them, at once.
    pub async fn stop(&self) {
        let publishers = std::mem::take(&mut self.state.lock().await.running);
        stop_all(publishers.into_values()).await;
    }
}

async fn stop_all(publishers: impl IntoIterator<Item = Publisher>) {
    let mut ending = JoinSet::new();
    for publisher in publishers {
        ending.spawn(publisher.stop());
    }
    ending.join_all().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::DeskHandle;
    use catalogue::Catalogue;
    use tokio::sync::mpsc;

    /// One whose task is never free to read an order.
    fn hanging() -> (Publisher, mpsc::Receiver<crate::publisher::Order>) {
        let (orders, inbox) = mpsc::channel(1);
        (Publisher { orders, task: tokio::spawn(std::future::pending()) }, inbox)
    }

    fn publishers(state: &std::path::Path, publisher: Publisher) -> Publishers {
        let (catalogue, _) = Catalogue::open(state).unwrap();
        let (desk, _, _) = DeskHandle::new();
        let (world, _) = PublisherWorld::new(desk, catalogue);
        let running = BTreeMap::from([("tree".to_owned(), publisher)]);
        Publishers { state: Mutex::new(State { world, running }) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_tree_that_hangs_is_ended_all_the_same() {
        let state = tempfile::tempdir().unwrap();
        let (publisher, _inbox) = hanging();
        let publishers = publishers(state.path(), publisher);
        let removed = Named { removed: vec!["tree".to_owned()], ..Named::default() };
        publishers.apply(&removed, &Settings::default()).await.unwrap();
        assert!(publishers.statuses().await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rescan_that_hangs_keeps_nobody_else_waiting() {
        let state = tempfile::tempdir().unwrap();
        let (publisher, mut inbox) = hanging();
        let publishers = std::sync::Arc::new(publishers(state.path(), publisher));
        let asked = publishers.clone();
        let rescan = tokio::spawn(async move { asked.rescan(None).await });
        let order = inbox.recv().await.unwrap();
        assert_eq!(publishers.rescan(Some("other")).await, Err("other".to_owned()));
        assert!(!rescan.is_finished());
        drop(order);
        assert_eq!(rescan.await.unwrap(), Ok(vec!["tree".to_owned()]));
    }
}
