//! A torrent's tiers as its file gives them, made fit for use (BEP 12).

use std::sync::Arc;

use crate::random::Random;
use crate::url::{TrackerUrl, UrlError};

/// A tracker of a torrent that is not used, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnusedTracker {
    /// As the torrent gives it.
    pub url: String,
    /// What is wrong with it; `None` if the torrent just has too many.
    pub error: Option<UrlError>,
}

/// Checks the trackers, drops those that are there twice, and shuffles each tier. A tier that is left empty keeps its
/// place, so that the others keep their numbers.
pub(super) fn read_tiers(
    tiers: &[Vec<String>],
    max_tracker_count: usize,
    random: &mut Random,
    unused: &mut Vec<UnusedTracker>,
) -> Vec<Vec<Arc<TrackerUrl>>> {
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
                    let url = Arc::new(url);
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
