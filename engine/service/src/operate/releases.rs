//! Releases as operators see them: what the catalogue knows, and what trees say of what is not published, and why.

use std::collections::HashMap;

use api::operator::types::{OperatorError, Paging, ReleasePage, ReleaseRow, ReleaseState};
use catalogue::Release;
use publish::{ReleaseLine, State, Waiting};

use super::{PAGE, rows};
use crate::desk::TorrentLine;
use crate::publisher::TreeStatus;
use crate::running::Running;

/// In the place where a list goes on: not behind a release's number, but behind so many that have none.
const UNNUMBERED: u64 = 1 << 63;

/// What trees say of their releases, by the tree's name and the release's path.
type Told = HashMap<(String, String), State>;

impl Running {
    pub(super) async fn releases(&self, paging: Paging) -> Result<ReleasePage, OperatorError> {
        let catalogue = self.catalogue.clone();
        let releases = tokio::task::spawn_blocking(move || catalogue.releases()).await.map_err(rows::failed)?;
        let releases = releases.map_err(rows::failed)?;
        let mut told = told(self.publishers.statuses().await);
        let (limit, after) = (paging.limit.unwrap_or(PAGE), paging.after.unwrap_or(0));
        let mut page = ReleasePage::default();
        for release in releases {
            let state = match release.state {
                // Its path may be another release's by now.
                catalogue::ReleaseState::Withdrawn => None,
                _ => told.remove(&(release.label.to_string(), release.path.display().to_string())),
            };
            let number = release.number.0.unsigned_abs();
            if number <= after {
                continue;
            }
            if page.releases.len() == limit {
                page.next_after = page.releases.last().and_then(|row| row.id);
                return Ok(page);
            }
            let line = match release.torrent {
                Some(torrent) => self.desk.line(torrent).await.ok(),
                None => None,
            };
            page.releases.push(row(&release, line.as_ref(), state.as_ref()));
        }
        page.next_after = page.releases.last().and_then(|row| row.id).filter(|_| !told.is_empty());
        let mut unnumbered: Vec<_> = told.into_iter().collect();
        unnumbered.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let first = after.saturating_sub(UNNUMBERED) as usize;
        let room = limit - page.releases.len();
        let end = unnumbered.len().min(first.saturating_add(room));
        if room > 0 {
            page.next_after = Some(UNNUMBERED + end as u64).filter(|_| end < unnumbered.len());
            page.releases.extend(unnumbered.drain(first.min(end)..end).map(unpublished));
        }
        Ok(page)
    }
}

fn told(trees: Vec<TreeStatus>) -> Told {
    let of_tree = |tree: TreeStatus| {
        let key = move |path: Box<str>| (tree.name.to_string(), path.into_string());
        tree.releases.into_iter().map(move |ReleaseLine { path, state, .. }| (key(path), state))
    };
    trees.into_iter().flat_map(of_tree).collect()
}

/// A release that the catalogue has. The tree knows more of what is not well.
fn row(release: &Release, line: Option<&TorrentLine>, told: Option<&State>) -> ReleaseRow {
    let now_s = crate::clock::unix_s();
    let is_shut = line.and_then(|line| line.opens_at_s).is_some_and(|opens_at_s| opens_at_s > now_s);
    let error = line.and_then(|line| line.error.clone());
    let (state, error) = match release.state {
        catalogue::ReleaseState::Withdrawn => (ReleaseState::Withdrawn, error),
        catalogue::ReleaseState::Published if release.gone_since_s.is_some() => (ReleaseState::Gone, error),
        _ => match told.and_then(seen) {
            Some(told) => told,
            None if error.is_some() => (ReleaseState::Failed, error),
            None if release.state == catalogue::ReleaseState::Preparing => (ReleaseState::Hashing, None),
            None if is_shut => (ReleaseState::Embargoed, None),
            None => (ReleaseState::Published, None),
        },
    };
    ReleaseRow {
        id: Some(release.number.0.unsigned_abs()),
        publish: release.label.to_string(),
        path: release.path.display().to_string(),
        state,
        error,
        torrent_id: release.torrent.map(rows::id),
        info_hash_v1: line.and_then(|line| line.info_hash_v1).map(|hash| hash.to_string()),
        info_hash_v2: line.and_then(|line| line.info_hash_v2).map(|hash| hash.to_string()),
        size_bytes: line.map_or(0, |line| line.size_bytes),
        published_at_s: release.published_at_s,
        opens_at_s: line.and_then(|line| line.opens_at_s),
    }
}

/// One that only its tree knows.
fn unpublished(((publish, path), told): ((String, String), State)) -> ReleaseRow {
    // Published: it is just now becoming known, and has its number in the next answer.
    let (state, error) = seen(&told).unwrap_or((ReleaseState::Hashing, None));
    ReleaseRow {
        id: None,
        publish,
        path,
        state,
        error,
        torrent_id: None,
        info_hash_v1: None,
        info_hash_v2: None,
        size_bytes: 0,
        published_at_s: None,
        opens_at_s: None,
    }
}

/// What is the matter with a release in its tree, if anything is.
fn seen(told: &State) -> Option<(ReleaseState, Option<String>)> {
    Some(match told {
        State::Published => return None,
        State::Preparing | State::Waiting(Waiting::Turn) => (ReleaseState::Hashing, None),
        State::Missing { .. } => (ReleaseState::Gone, None),
        State::Waiting(Waiting::Settling { .. }) => (ReleaseState::Settling, None),
        // These end by themselves, as a rule.
        State::Waiting(waiting @ (Waiting::Unfinished(_) | Waiting::Empty)) => {
            (ReleaseState::Settling, Some(waiting.to_string()))
        }
        State::Waiting(waiting) => (ReleaseState::Failed, Some(waiting.to_string())),
        State::Failed { reason, .. } => (ReleaseState::Failed, Some(reason.to_string())),
        State::Twin(of) => (ReleaseState::Failed, Some(format!("the very same torrent is published from {of}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_somebody_is_a_failure_and_what_ends_by_itself_is_not() {
        let told = |state| seen(&state).map(|(state, reason)| (state, reason.unwrap_or_default()));
        let settling = Waiting::Settling { until_ms: 0 };
        assert_eq!(told(State::Waiting(settling)), Some((ReleaseState::Settling, String::new())));
        let unfinished = Waiting::Unfinished("a/.b.iso.x".into());
        let reason = "a/.b.iso.x is not finished".to_owned();
        assert_eq!(told(State::Waiting(unfinished)), Some((ReleaseState::Settling, reason)));
        let (state, reason) = told(State::Waiting(Waiting::Unreadable("a".into()))).unwrap();
        assert!(state == ReleaseState::Failed && reason.contains("let the service read it"), "{reason}");
        let (state, reason) = told(State::Twin("b.iso".into())).unwrap();
        assert!(state == ReleaseState::Failed && reason.ends_with("from b.iso"), "{reason}");
        assert_eq!(told(State::Published), None, "the catalogue knows more of it");
    }
}
