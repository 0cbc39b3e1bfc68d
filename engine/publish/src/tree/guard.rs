//! What looks like an accident is no deletion: a root that is gone, a file system that was unmounted, very much at once.

use crate::action::{Action, Hold, Why};
use crate::limits::WITHDRAWN_UNASKED;
use crate::sight::Top;
use crate::tree::release::Stage;
use crate::tree::view::View;
use crate::tree::{Release, Tree};

impl Tree {
    /// Whether a release that lay on `device` is gone together with its file system: the nearest directory above it that is
    /// there lies on another one, or the root is not the one in which releases were seen.
    pub(super) fn seems_unmounted(&self, path: &str, device: u64) -> bool {
        let Some(Top::There { device: top_device, inode }) = self.top else { return true };
        let is_strange = self.familiar_top.is_some_and(|familiar| familiar != (top_device, inode));
        is_strange || self.entries.device_above(path).unwrap_or(top_device) != device
    }

    /// Remembers the root as it is now, if a release of it is there, or none could be.
    pub(super) fn become_familiar(&mut self) {
        let Some(Top::There { device, inode }) = self.top else { return };
        if self.familiar_top == Some((device, inode)) {
            return;
        }
        // What is new says nothing: it may lie below a mount point that nothing is mounted on.
        let was_published = |release: &Release| {
            matches!(release.stage, Stage::Published { .. } | Stage::Changed { .. } | Stage::Missing { .. })
        };
        let mut published = self.releases.iter().filter(|(_, release)| was_published(release)).peekable();
        if published.peek().is_none() || published.any(|(path, _)| View::is_there(&self.entries, path)) {
            self.familiar_top = Some((device, inode));
        }
    }

    /// Says whether withdrawals are held back, when that has changed.
    pub(super) fn guard(&mut self) {
        let hold = self.reason_to_hold();
        if hold != self.hold {
            self.hold.clone_from(&hold);
            self.actions.push(Action::Held(hold));
        }
    }

    /// Withdraws what was gone for longer than the grace, unless all of that is held back.
    pub(super) fn withdraw_gone(&mut self) {
        if matches!(self.hold, Some(Hold::RootGone(_) | Hold::TooMany { .. })) {
            return;
        }
        let grace_ms = self.timing.grace_ms;
        let is_due = |release: &Release| match release.stage {
            // A last look has not found it.
            Stage::Missing { since_ms, is_unmounted, .. } => {
                !is_unmounted && release.seen_ms >= Some(since_ms.saturating_add(grace_ms))
            }
            _ => false,
        };
        let due: Vec<Box<str>> =
            self.releases.iter().filter(|(_, release)| is_due(release)).map(|(path, _)| path.clone()).collect();
        for path in due {
            self.set_due(&path, None);
            self.releases.remove(&path);
            self.actions.push(Action::Withdraw { path, why: Why::Gone });
        }
    }

    fn reason_to_hold(&self) -> Option<Hold> {
        if let Some(Top::Gone(reason)) = &self.top {
            return Some(Hold::RootGone(reason.clone()));
        }
        let (mut of, mut gone, mut unmounted) = (0, 0, 0);
        for release in self.releases.values() {
            match release.stage {
                Stage::Missing { is_unmounted: true, .. } => unmounted += 1,
                Stage::Missing { .. } => (of, gone) = (of + 1, gone + 1),
                Stage::Published { .. } | Stage::Changed { .. } => of += 1,
                _ => {}
            }
        }
        let share_is_large = gone * 100 > of * usize::from(self.timing.max_withdraw_percent);
        if gone > WITHDRAWN_UNASKED && share_is_large {
            return Some(Hold::TooMany { gone, of });
        }
        (unmounted > 0).then_some(Hold::Unmounted(unmounted))
    }
}
