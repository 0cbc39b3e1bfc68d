//! What becomes of a release at one moment: the stages it passes, and which one is published next.

use crate::action::{Action, Waiting, Why};
use crate::sight::Moment;
use crate::tree::release::{Former, Release, Stage};
use crate::tree::view::View;
use crate::tree::*;

/// What is found within so long of each other is one batch.
const BATCH_MS: i64 = 60_000;

/// Every so many turns the release that has waited longest is taken.
const OLDEST_EVERY: u32 = 4;

impl Tree {
    /// Compares a release with what is there now, and moves it on as far as that allows.
    pub(super) fn judge(&mut self, path: &str, now: Moment) {
        let view = View::of(&self.entries, path, now.at_ms);
        let Some(release) = self.releases.get_mut(path) else { return };
        if let Some(view) = &view {
            release.becomes = view.becomes;
        }
        let is_same = |fingerprint| view.as_ref().is_some_and(|view| view.fingerprint == fingerprint);
        let due_ms = match release.stage {
            Stage::Published { fingerprint, device } => {
                self.judge_published(path, view, Former { fingerprint, device }, now)
            }
            Stage::Changed { former, since_ms, .. } => {
                let since_ms = if view.is_some() { since_ms } else { now.at_ms };
                self.judge_suspended(path, view, former, since_ms, now)
            }
            Stage::Missing { former, since_ms, .. } => self.judge_suspended(path, view, former, since_ms, now),
            Stage::Preparing { fingerprint, is_cancelled, .. } => {
                if !is_same(fingerprint) && !is_cancelled {
                    self.cancel(path);
                }
                None
            }
            Stage::Failed { fingerprint, retry_ms, .. } if is_same(fingerprint) && now.at_ms < retry_ms => {
                Some(retry_ms)
            }
            Stage::Failed { fingerprint, .. } => {
                release.go_on(is_same(fingerprint));
                self.judge_waiting(path, view, now)
            }
            Stage::Twin { fingerprint, .. } if is_same(fingerprint) => None,
            Stage::Twin { .. } | Stage::Waiting(_) | Stage::Ready { .. } => self.judge_waiting(path, view, now),
        };
        self.set_due(path, due_ms);
    }

    /// A release that is served.
    fn judge_published(&mut self, path: &str, view: Option<View>, former: Former, now: Moment) -> Option<i64> {
        match &view {
            // What cannot be read now may well be as it was.
            Some(view) if view.is_unread() => None,
            Some(view) if view.fingerprint == former.fingerprint => self.stay_published(path, view, now),
            _ => {
                self.actions.push(Action::Suspend { path: path.into() });
                self.judge_suspended(path, view, former, now.at_ms, now)
            }
        }
    }

    /// A release that was served until its content went, or changed.
    fn judge_suspended(
        &mut self,
        path: &str,
        view: Option<View>,
        former: Former,
        since_ms: i64,
        now: Moment,
    ) -> Option<i64> {
        match view {
            None => self.judge_missing(path, former, since_ms, now),
            Some(view) if view.is_unread() => None,
            Some(view) if view.fingerprint == former.fingerprint => {
                self.actions.push(Action::Resume { path: path.into() });
                self.stay_published(path, &view, now)
            }
            Some(view) => {
                let waiting = Waiting::Settling { until_ms: now.at_ms };
                self.set_stage(path, Stage::Changed { former, since_ms, waiting });
                let due_ms = self.judge_waiting(path, Some(view), now);
                self.limit_change(path, due_ms, now)
            }
        }
    }

    /// Content that does not settle within the grace is not on its way back to what it was.
    fn limit_change(&mut self, path: &str, due_ms: Option<i64>, now: Moment) -> Option<i64> {
        let release = self.releases.get_mut(path)?;
        let Stage::Changed { since_ms, waiting, .. } = &release.stage else { return due_ms };
        let end_ms = since_ms.saturating_add(self.timing.grace_ms);
        if now.at_ms < end_ms {
            return Some(due_ms.map_or(end_ms, |due_ms| due_ms.min(end_ms)));
        }
        release.stage = Stage::Waiting(waiting.clone());
        self.actions.push(Action::Withdraw { path: path.into(), why: Why::Changed });
        due_ms
    }

    fn stay_published(&mut self, path: &str, view: &View, now: Moment) -> Option<i64> {
        self.set_stage(path, Stage::Published { fingerprint: view.fingerprint, device: view.device });
        self.tell_embargo(path, now)
    }

    fn judge_missing(&mut self, path: &str, former: Former, since_ms: i64, now: Moment) -> Option<i64> {
        let is_unmounted = self.seems_unmounted(path, former.device);
        let was_unmounted = self.releases.get(path).is_some_and(Release::is_unmounted);
        // What comes to light when something is mounted again is gone since now.
        let since_ms = if was_unmounted && !is_unmounted { now.at_ms } else { since_ms };
        self.set_stage(path, Stage::Missing { former, since_ms, is_unmounted });
        let end_ms = since_ms.saturating_add(self.timing.grace_ms);
        let was_looked_for = self.releases.get(path).is_some_and(|release| release.seen_ms >= Some(end_ms));
        if is_unmounted || was_looked_for {
            // It is withdrawn by the next poll, unless something holds that back.
            return None;
        }
        if now.at_ms < end_ms {
            return Some(end_ms);
        }
        self.actions.push(Action::Look { path: path.into() });
        Some(now.at_ms + LOOK_AGAIN_MS)
    }

    /// A release that is not served: it never was, or its content is another one.
    fn judge_waiting(&mut self, path: &str, view: Option<View>, now: Moment) -> Option<i64> {
        let Some(view) = view else {
            let is_there = self.entries.get(path).is_some_and(|entry| entry.role == Role::Release);
            if is_there {
                self.wait(path, Waiting::Empty);
            } else {
                self.set_due(path, None);
                self.releases.remove(path);
            }
            return None;
        };
        if let Some((waiting, until_ms)) = self.obstacle(path, &view) {
            self.wait(path, waiting);
            return until_ms;
        }
        let lost_ms = self.releases.get(path).and_then(|release| release.lost_ms);
        let changed_ms = view.changed_ms.max(lost_ms.unwrap_or(i64::MIN));
        let settled_ms = self.settled_ms(&view, changed_ms, now);
        let seen_ms = self.releases.get(path).and_then(|release| release.seen_ms);
        if seen_ms.is_some_and(|seen_ms| settled_ms <= seen_ms) {
            self.be_ready(path, &view);
            return None;
        }
        self.wait(path, Waiting::Settling { until_ms: settled_ms });
        if settled_ms > now.at_ms {
            return Some(settled_ms);
        }
        self.actions.push(Action::Look { path: path.into() });
        Some(now.at_ms + LOOK_AGAIN_MS)
    }

    fn wait(&mut self, path: &str, reason: Waiting) {
        match self.releases.get_mut(path).map(|release| &mut release.stage) {
            Some(Stage::Changed { waiting, .. }) => *waiting = reason,
            Some(stage) => *stage = Stage::Waiting(reason),
            None => {}
        }
    }

    /// What was published there before is not coming back: it makes room now, not when its successor has been hashed, which
    /// may be hours later.
    fn be_ready(&mut self, path: &str, view: &View) {
        let Some(release) = self.releases.get_mut(path) else { return };
        let &View { fingerprint, size_bytes, device, .. } = view;
        let before = std::mem::replace(&mut release.stage, Stage::Ready { fingerprint, size_bytes, device });
        if let Stage::Changed { .. } = before {
            self.actions.push(Action::Withdraw { path: path.into(), why: Why::Changed });
        }
    }

    /// What keeps a release from being published that is not time.
    fn obstacle(&self, path: &str, view: &View) -> Option<(Waiting, Option<i64>)> {
        if let Some(release) = self.rules.output_of(path)
            && self.releases.contains_key(release)
        {
            return Some((Waiting::NameTaken(release.into()), None));
        }
        if self.is_cut && view.becomes == Becomes::Directory {
            return Some((Waiting::TooManyEntries, None));
        }
        if let Some(Err(reason)) = self.own_release_at(path) {
            let file = format!("{path}{}", crate::EMBARGO_SUFFIX).into();
            return Some((Waiting::Embargo { path: file, reason }, None));
        }
        view.blocked.clone()
    }

    /// When a release that has been as it is since `changed_ms` has settled, as the head of `tree` says.
    fn settled_ms(&self, view: &View, changed_ms: i64, now: Moment) -> i64 {
        let settled_ms = changed_ms.saturating_add(self.timing.settle_ms);
        if view.becomes == Becomes::Directory || !self.timing.trusts_clock {
            return settled_ms;
        }
        let age_ms = now.wall_ms.saturating_sub(view.mtime_ns / 1_000_000);
        if age_ms < 0 {
            return settled_ms;
        }
        let old_ms = now.at_ms.saturating_add(self.timing.settle_ms.saturating_sub(age_ms));
        let quiet_ms = changed_ms.saturating_add(QUIET_MS.min(self.timing.settle_ms));
        // Never later than what was seen says, never before it was quiet.
        old_ms.max(quiet_ms).min(settled_ms)
    }

    /// What the file beside a release says, if there is one.
    fn own_release_at(&self, path: &str) -> Option<Result<i64, Box<str>>> {
        let file = format!("{path}{}", crate::EMBARGO_SUFFIX);
        let entry = self.entries.get(&file).filter(|entry| entry.role == Role::Embargo)?;
        entry.release_at.clone()
    }

    /// Tells of another time at which a published release opens; gives when to ask again.
    fn tell_embargo(&mut self, path: &str, now: Moment) -> Option<i64> {
        let release_at = match self.own_release_at(path) {
            Some(Ok(release_at)) => Some(release_at),
            // A file that is just being written says nothing for a moment: what was said last holds.
            Some(Err(_)) => return None,
            None => self.timing.release_at,
        };
        let is_own = self.own_release_at(path).is_some();
        let release = self.releases.get_mut(path)?;
        if release.release_at == release_at {
            return None;
        }
        // A file that is gone may be on its way back: some editors delete and write anew.
        let certain_ms =
            release.lost_ms.filter(|_| !is_own).map(|lost_ms| lost_ms.saturating_add(self.timing.settle_ms));
        if let Some(certain_ms) = certain_ms.filter(|certain_ms| now.at_ms < *certain_ms) {
            return Some(certain_ms);
        }
        release.release_at = release_at;
        self.actions.push(Action::Embargo { path: path.into(), release_at });
        None
    }

    fn cancel(&mut self, path: &str) {
        if let Some(Release { stage: Stage::Preparing { is_cancelled, .. }, .. }) = self.releases.get_mut(path) {
            *is_cancelled = true;
            self.actions.push(Action::Cancel { path: path.into() });
        }
    }

    /// Asks for the publication of the next release, if none is under way. The newest batch goes first, since people wait
    /// for it while the rest of a large tree is being read for the first time; in a batch the smallest, so that most
    /// are out soonest. One turn in four is for what has waited longest, so that everything comes out in the end.
    pub(super) fn publish_next(&mut self, now: Moment) {
        loop {
            let preparing =
                self.releases.values().filter(|release| matches!(release.stage, Stage::Preparing { .. })).count();
            if preparing >= MAX_PREPARING {
                return;
            }
            let is_oldest = self.picked % OLDEST_EVERY == OLDEST_EVERY - 1;
            let ready = self.releases.iter().filter_map(|(path, release)| match release.stage {
                Stage::Ready { size_bytes, .. } if is_oldest => Some(((release.found_ms, size_bytes), path)),
                Stage::Ready { size_bytes, .. } => Some(((-release.found_ms.div_euclid(BATCH_MS), size_bytes), path)),
                _ => None,
            });
            let Some((_, path)) = ready.min() else { return };
            let path = path.clone();
            self.picked = self.picked.wrapping_add(1);
            self.publish(&path, now);
        }
    }

    fn publish(&mut self, path: &str, now: Moment) {
        let release_at = match self.own_release_at(path) {
            Some(Ok(release_at)) => Some(release_at),
            // The file came after the release had settled: it waits after all.
            Some(Err(_)) => return self.judge(path, now),
            None => self.timing.release_at,
        };
        let Some(release) = self.releases.get_mut(path) else { return };
        let Stage::Ready { fingerprint, size_bytes, device } = release.stage else { return };
        release.release_at = release_at;
        release.stage = Stage::Preparing { fingerprint, device, is_cancelled: false };
        let becomes = release.becomes;
        let path = path.into();
        self.actions.push(Action::Publish { path, becomes, fingerprint, size_bytes, device, release_at });
    }

    pub(super) fn set_stage(&mut self, path: &str, stage: Stage) {
        if let Some(release) = self.releases.get_mut(path) {
            release.stage = stage;
        }
    }
}
