//! All trees of a service: begun, changed and ended by their names, as the settings have them.

use std::collections::BTreeMap;

use publish::RulesError;
use settings::{Named, Settings};
use tokio::sync::Mutex;

use super::{Publisher, PublisherWorld, TreeStatus};

/// The publishers of a service.
pub struct Publishers {
    world: PublisherWorld,
    running: Mutex<BTreeMap<String, Publisher>>,
}

impl Publishers {
    /// Begins to publish every tree of the settings.
    pub async fn start(world: PublisherWorld, settings: &Settings) -> Result<Publishers, RulesError> {
        let publishers = Publishers { world, running: Mutex::default() };
        let added = settings.publish.iter().map(|tree| tree.name.clone()).collect();
        publishers.apply(&Named { added, ..Named::default() }, settings).await?;
        Ok(publishers)
    }

    /// Ends trees that are gone from the settings, and begins those that are new; one that changed is begun anew, which reads
    /// no content again. What a tree had published that is gone from the settings stays published.
    pub async fn apply(&self, change: &Named, settings: &Settings) -> Result<(), RulesError> {
        let mut running = self.running.lock().await;
        for name in change.removed.iter().chain(&change.changed) {
            if let Some(publisher) = running.remove(name) {
                publisher.stop().await;
            }
        }
        for name in change.added.iter().chain(&change.changed) {
            if let Some(tree) = settings.publish.iter().find(|tree| tree.name == *name) {
                running.insert(name.clone(), Publisher::start(self.world.clone(), tree)?);
            }
        }
        Ok(())
    }

    /// Looks at all of a tree, or of every tree, and gives their names; or the name of the one that there is not.
    pub async fn rescan(&self, name: Option<&str>) -> Result<Vec<String>, String> {
        let running = self.running.lock().await;
        if let Some(unknown) = name.filter(|name| !running.contains_key(*name)) {
            return Err(unknown.to_owned());
        }
        let mut looked_at = Vec::new();
        for (tree, publisher) in running.iter().filter(|(tree, _)| name.is_none_or(|name| name == *tree)) {
            publisher.rescan().await;
            looked_at.push(tree.clone());
        }
        Ok(looked_at)
    }

    /// How every tree is, by name.
    pub async fn statuses(&self) -> Vec<TreeStatus> {
        let running = self.running.lock().await;
        let mut statuses = Vec::new();
        for publisher in running.values() {
            statuses.extend(publisher.status().await);
        }
        statuses
    }

    /// Ends all of them, at once.
    pub async fn stop(&self) {
        let publishers = std::mem::take(&mut *self.running.lock().await);
        let mut ending = tokio::task::JoinSet::new();
        for publisher in publishers.into_values() {
            ending.spawn(publisher.stop());
        }
        ending.join_all().await;
    }
}
