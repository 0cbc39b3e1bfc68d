//! From a hashed release to one that is served: catalogue, output files, engine and feeds, in this order, so that whatever
//! is announced is there. A step that fails takes those before it back.

use std::path::PathBuf;
use std::sync::Arc;

use catalogue::{Change, ReleaseOutput, TorrentLimits, TorrentNumber};
use publish::{Outcome, State, Why};
use settings::SuperSeed;
use storage::VerifiedRecord;
use swarm::SuperSeeding;

use super::knowledge::Numbers;
use super::root::{Job, Root};
use crate::desk::{DeskError, NewRelease, Recorded};
use crate::outputs::{Output, Prepared, render, write_outputs};

impl Root {
    pub(super) async fn publish(&mut self, job: &Job, prepared: Prepared) -> Outcome {
        let path = &*job.path;
        if let Some(former) = self.former.remove(path) {
            self.forget(path, former).await;
        }
        let outputs = match self.render(path, &prepared).await {
            Ok(outputs) => outputs,
            Err(reason) => return Outcome::Failed(reason.into()),
        };
        let record = prepared.record.clone();
        let recorded = match self.record(job, prepared).await {
            Ok(recorded) => recorded,
            Err(outcome) => return outcome,
        };
        let numbers = Numbers { torrent: recorded.torrent, release: recorded.release };
        match self.hand_out(path, numbers, outputs).await {
            Ok(()) => self.be_current(path, numbers, &record),
            Err(reason) => {
                // What was in the way is named by the reason.
                let _ = self.remove_outputs(path, numbers).await;
                self.forget(path, numbers).await;
                Outcome::Failed(reason.into())
            }
        }
    }

    fn be_current(&mut self, path: &str, numbers: Numbers, record: &VerifiedRecord) -> Outcome {
        self.current.insert(path.into(), numbers);
        self.knowledge.learn(numbers, record);
        Outcome::Published
    }

    async fn render(&self, path: &str, prepared: &Prepared) -> Result<Vec<Output>, String> {
        let (recipe, release) = (Arc::clone(&self.recipe), path.to_owned());
        let (torrent, metainfo) = (Arc::clone(&prepared.torrent), prepared.metainfo.clone());
        let sums = prepared.file_sha256.clone();
        let rendered = tokio::task::spawn_blocking(move || render(&recipe, &release, &torrent, &metainfo, &sums)).await;
        rendered.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Puts it into the catalogue. The same torrent may be there already: then what has moved here makes room, and what
    /// lies in two places is published from the first.
    async fn record(&mut self, job: &Job, prepared: Prepared) -> Result<Recorded, Outcome> {
        let new = self.new_release(job, prepared);
        let (name, number) = match self.world.desk.record(new.clone()).await {
            Ok(recorded) => return Ok(recorded),
            Err(DeskError::Duplicate { name, number }) => (name, number),
            Err(error) => return Err(Outcome::Failed(error.to_string().into())),
        };
        let other = self.current.iter().find(|(_, numbers)| numbers.torrent == number).map(|(path, _)| path.clone());
        let has_moved = other.filter(|other| matches!(self.tree.state_of(other), Some(State::Missing { .. })));
        if let Some(other) = has_moved {
            self.tree.give_up(&other);
            self.withdraw(&other, Why::Gone).await;
            return match self.world.desk.record(new).await {
                Ok(recorded) => Ok(recorded),
                Err(error) => Err(Outcome::Failed(error.to_string().into())),
            };
        }
        Err(self.twin(&job.path, name, number))
    }

    fn twin(&mut self, path: &str, name: String, number: TorrentNumber) -> Outcome {
        self.twins.entry(number).or_default().insert(path.into());
        let other = self.current.iter().find(|(_, numbers)| numbers.torrent == number);
        let of = other.map_or_else(|| name.into(), |(path, _)| path.clone());
        tracing::info!(tree = &*self.name, path, %of, "is the same torrent, and is published from there");
        Outcome::Twin(of)
    }

    fn new_release(&self, job: &Job, prepared: Prepared) -> NewRelease {
        let now_s = self.clock.now().wall_ms / 1000;
        let settings = &self.settings;
        NewRelease {
            label: Arc::clone(&self.name),
            path: PathBuf::from(&*job.path),
            torrent: prepared.torrent,
            metainfo: prepared.metainfo,
            content: prepared.content,
            record: prepared.record,
            file_sha256: prepared.file_sha256,
            group: settings.group.as_deref().map(Arc::from),
            limits: TorrentLimits {
                upload_bytes_per_s: settings.upload.map(|rate| rate.0.map_or(0, std::num::NonZeroU64::get)),
                super_seeding: settings.super_seed.map(super_seeding),
                ..TorrentLimits::default()
            },
            opens_at_s: job.release_at.filter(|opens_at_s| *opens_at_s > now_s),
        }
    }

    /// Output files, then engine and feeds.
    async fn hand_out(&mut self, path: &str, numbers: Numbers, outputs: Vec<Output>) -> Result<(), String> {
        let rows: Vec<ReleaseOutput> = outputs.iter().map(Output::to_row).collect();
        let kept = self.world.catalogue.apply(vec![Change::ReleaseOutputs(numbers.release, rows)]).await;
        kept.map_err(|error| error.to_string())?;
        let (recipe, release) = (Arc::clone(&self.recipe), path.to_owned());
        let written = tokio::task::spawn_blocking(move || write_outputs(&recipe, &release, &outputs, &[])).await;
        written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        self.world.desk.open(numbers.torrent).await.map_err(|error| error.to_string())
    }
}

fn super_seeding(setting: SuperSeed) -> SuperSeeding {
    match setting {
        SuperSeed::Auto => SuperSeeding::Auto,
        SuperSeed::On => SuperSeeding::On,
        SuperSeed::Off => SuperSeeding::Off,
    }
}
