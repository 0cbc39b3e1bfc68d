//! A torrent's tiers as its file gives them, made fit for use (BEP 12). Torrents of the same trackers share what is kept of
//! them.

use std::collections::HashSet;
use std::sync::Arc;

use crate::family::Family;
use crate::random::Random;
use crate::url::{TrackerUrl, UrlError};

/// Trackers and lists of them that may be kept before those are forgotten that no torrent has any more.
const SWEEP_FROM: usize = 1024;

/// A tracker of a torrent that is not used, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnusedTracker {
    /// As the torrent gives it.
    pub url: String,
    /// What is wrong with it; `None` if the torrent just has too many.
    pub error: Option<UrlError>,
}

/// The trackers of all torrents, each kept once.
#[derive(Default)]
pub(super) struct Tiers {
    urls: HashSet<Arc<TrackerUrl>>,
    lists: HashSet<Arc<[Arc<TrackerUrl>]>>,
    /// How many were in use after the last sweep.
    kept_count: usize,
}

impl Tiers {
    /// Checks the trackers, drops those that are there twice, and shuffles each tier. A tier that is left empty keeps its
    /// place, so that the others keep their numbers.
    pub(super) fn read(
        &mut self,
        tiers: &[Vec<String>],
        max_tracker_count: usize,
        random: &mut Random,
        unused: &mut Vec<UnusedTracker>,
    ) -> Vec<Vec<Arc<TrackerUrl>>> {
        self.sweep();
        let mut seen: Vec<Arc<TrackerUrl>> = Vec::new();
        let mut read = Vec::new();
        for tier in tiers {
            let mut urls = Vec::new();
            for text in tier {
                match TrackerUrl::parse(text) {
                    Err(error) => unused.push(UnusedTracker { url: text.clone(), error: Some(error) }),
                    Ok(url) if seen.iter().any(|other| **other == url) => {}
                    Ok(_) if seen.len() >= max_tracker_count => {
                        unused.push(UnusedTracker { url: text.clone(), error: None });
                    }
                    Ok(url) => {
                        let url = kept(&mut self.urls, Arc::new(url));
                        seen.push(Arc::clone(&url));
                        urls.push(url);
                    }
                }
            }
            for index in (1..urls.len()).rev() {
                urls.swap(index, random.below(index as u64 + 1) as usize);
            }
            read.push(urls);
        }
        read
    }

    /// Those of a tier that can be reached in a family.
    pub(super) fn of_family(&mut self, urls: &[Arc<TrackerUrl>], family: Family) -> Arc<[Arc<TrackerUrl>]> {
        let reachable = urls.iter().filter(|url| url.host_ip().is_none_or(|ip| Family::of(ip) == family));
        kept(&mut self.lists, reachable.cloned().collect())
    }

    /// How many trackers and lists are kept.
    pub(super) fn len(&self) -> usize {
        self.urls.len() + self.lists.len()
    }

    /// Forgets what nobody uses, whenever as much has been added as was in use.
    fn sweep(&mut self) {
        if self.len() < SWEEP_FROM.max(2 * self.kept_count) {
            return;
        }
        self.lists.retain(|list| Arc::strong_count(list) > 1);
        self.urls.retain(|url| Arc::strong_count(url) > 1);
        self.kept_count = self.len();
    }
}

/// The one of this value that is kept already, or this one from now on.
fn kept<T: ?Sized + Eq + std::hash::Hash>(set: &mut HashSet<Arc<T>>, new: Arc<T>) -> Arc<T> {
    if let Some(known) = set.get(&new) {
        return Arc::clone(known);
    }
    set.insert(Arc::clone(&new));
    new
}
