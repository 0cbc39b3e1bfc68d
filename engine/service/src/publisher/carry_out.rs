//! Carrying out what a tree asks for, one action after the other. What cannot be done is told, and left for the next start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use catalogue::Change;
use publish::{Action, Fingerprint, Outcome, Why};
use seedbox::Meter;
use tokio::task::JoinError;

use super::knowledge::{Numbers, recall};
use super::restore::suspended_key;
use super::root::{Job, Root};
use crate::desk::DeskError;
use crate::outputs::{PrepareError, Prepared, prepare_release, remove_outputs};

impl Root {
    pub(super) async fn carry_out(&mut self, action: Action) {
        match action {
            // The task of the root looks.
            Action::Look { .. } => {}
            Action::Publish { path, fingerprint, device, release_at, .. } => {
                self.keep_device(device).await;
                self.begin_job(path, fingerprint, release_at);
            }
            Action::Cancel { path } => {
                if let Some(job) = self.job.as_ref().filter(|job| job.path == path) {
                    job.meter.cancel();
                }
            }
            Action::Suspend { path } => self.suspend(&path).await,
            Action::Resume { path } => self.resume(&path).await,
            Action::Withdraw { path, why } => self.withdraw(&path, why).await,
            Action::Embargo { path, release_at } => {
                if let Some(numbers) = self.current.get(&path).copied() {
                    let set = self.world.desk.set_embargo(numbers.torrent, release_at).await;
                    self.tell_failure(&path, set);
                }
            }
            Action::Held(Some(hold)) => self.trouble(None, hold.to_string()),
            Action::Held(None) => tracing::info!(tree = &*self.name, "nothing is held back any more"),
        }
    }

    fn begin_job(&mut self, path: Box<str>, fingerprint: Fingerprint, release_at: Option<i64>) {
        let sources = self.knowledge.sources(&self.tree.files_of(&path));
        let (recipe, rules, meter) = (Arc::clone(&self.recipe), Arc::clone(&self.rules), Arc::new(Meter::new()));
        let (catalogue, threads) = (self.world.catalogue.clone(), self.world.threads);
        let created_at_s = self.clock.now().wall_ms / 1000;
        let (release, watched) = (path.clone(), Arc::clone(&meter));
        let hash = move || {
            let known = recall(&catalogue, &sources);
            prepare_release(&recipe, &rules, &release, &known, created_at_s, threads, &watched)
        };
        let turn = Arc::clone(&self.world.turn);
        let done = tokio::spawn(async move {
            // Nobody ever closes it.
            let _turn = turn.acquire_owned().await;
            match tokio::task::spawn_blocking(hash).await {
                Ok(prepared) => prepared,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        });
        self.job = Some(Job { path, fingerprint, release_at, meter, done });
    }

    /// A release was hashed, or not. What it is now is seen once more: the hashes are of that, or of nothing.
    pub(super) async fn end_job(&mut self, done: Result<Result<Prepared, PrepareError>, JoinError>) {
        let Some(job) = self.job.take() else { return };
        self.look(&job.path).await;
        let is_still = self.tree.is_still(&job.path, job.fingerprint, self.clock.now());
        let outcome = match done {
            _ if !is_still || job.meter.is_cancelled() => Outcome::Cancelled,
            Ok(Ok(prepared)) => self.publish(&job, prepared).await,
            Ok(Err(error)) => Outcome::Failed(error.to_string().into()),
            Err(_) => Outcome::Failed("hashing broke off: this is a mistake of ours, which the log shows".into()),
        };
        if let Outcome::Failed(reason) = &outcome {
            self.trouble(Some(&job.path), reason.to_string());
        }
        self.tree.handle_outcome(&job.path, outcome, self.clock.now());
    }

    /// An operator who stopped it before has the last word when it is back.
    async fn suspend(&mut self, path: &str) {
        let Some(numbers) = self.current.get(path).copied() else { return };
        let is_stopped = self.world.desk.line(numbers.torrent).await.is_ok_and(|line| line.stopped.is_some());
        if is_stopped {
            return;
        }
        self.note_suspended(path, true).await;
        let stopped = self.world.desk.stop(numbers.torrent).await;
        self.tell_failure(path, stopped);
    }

    async fn resume(&mut self, path: &str) {
        let Some(numbers) = self.current.get(path).copied() else { return };
        if !self.suspended.contains(path) {
            return;
        }
        let started = self.world.desk.start(numbers.torrent).await;
        if started.is_ok() {
            self.note_suspended(path, false).await;
        }
        self.tell_failure(path, started);
    }

    /// Also for the next start, which is to know whom it may start again.
    async fn note_suspended(&mut self, path: &str, is_suspended: bool) {
        let has_changed = if is_suspended { self.suspended.insert(path.into()) } else { self.suspended.remove(path) };
        if has_changed {
            self.keep(suspended_key(&self.name, path), is_suspended.then(String::new)).await;
        }
    }

    pub(super) async fn withdraw(&mut self, path: &str, why: Why) {
        let Some(numbers) = self.current.remove(path) else { return };
        let reason = match why {
            Why::Gone => "its content is gone",
            Why::Changed => "its content has changed",
        };
        let withdrawn = self.world.desk.withdraw(numbers.torrent, reason).await;
        self.tell_failure(path, withdrawn);
        let foreign = self.remove_outputs(path, numbers).await;
        for foreign in foreign {
            self.trouble(
                Some(path),
                format!("{}: was changed since we wrote it, and is left there", foreign.display()),
            );
        }
        match why {
            Why::Gone => self.forget(path, numbers).await,
            // What did not change in it is not hashed again.
            Why::Changed => drop(self.former.insert(path.into(), numbers)),
        }
        self.note_suspended(path, false).await;
    }

    /// Releases that changed, and went before they were published again: nobody needs their hashes any more.
    pub(super) async fn forget_lost(&mut self) {
        let tree = &self.tree;
        let lost: Vec<_> = self.former.extract_if(|path, _| tree.state_of(path).is_none()).collect();
        for (path, numbers) in lost {
            self.forget(&path, numbers).await;
        }
    }

    /// A release that is not open is known no longer.
    pub(super) async fn forget(&mut self, path: &str, numbers: Numbers) {
        self.knowledge.forget(numbers);
        let forgotten = self.world.desk.forget(numbers.torrent).await;
        self.tell_failure(path, forgotten);
    }

    /// Removes what was written for a release; gives what has its names and is not ours.
    pub(super) async fn remove_outputs(&mut self, path: &str, numbers: Numbers) -> Vec<PathBuf> {
        let (catalogue, recipe, release) = (self.world.catalogue.clone(), Arc::clone(&self.recipe), path.to_owned());
        let removed = tokio::task::spawn_blocking(move || {
            let mut ours = catalogue.release_outputs(numbers.release).map_err(|error| error.to_string())?;
            // They may have moved with their tree. What is removed has to be what we wrote, wherever it is.
            let folder = recipe.output_root().join(Path::new(&release).parent().unwrap_or(Path::new("")));
            for own in ours.iter_mut().filter(|own| !own.path.starts_with(recipe.output_root())) {
                own.path = folder.join(own.path.file_name().unwrap_or_default());
            }
            remove_outputs(&recipe, &release, &ours).map_err(|error| error.to_string())
        });
        match removed.await {
            Ok(Ok(removed)) => removed.foreign,
            Ok(Err(reason)) => {
                self.trouble(Some(path), reason);
                Vec::new()
            }
            // The runtime ends: the next start removes them.
            Err(_) => Vec::new(),
        }
    }

    pub(super) fn tell_failure(&self, path: &str, done: Result<(), DeskError>) {
        match done {
            Ok(()) | Err(DeskError::Stopping) => {}
            Err(error) => self.trouble(Some(path), error.to_string()),
        }
    }

    /// Keeps a note for the next start, or takes it back.
    pub(super) async fn keep(&self, key: String, value: Option<String>) {
        if let Err(error) = self.world.catalogue.apply(vec![Change::Setting { key, value }]).await {
            self.trouble(None, error.to_string());
        }
    }
}
