//! What the settings say of torrents: the limits of groups and of those that have none of their own, how long they are
//! seeded, who may have releases before their time.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use catalogue::{Origin, TorrentRow};
use settings::{Rates, Secret, Settings, SuperSeed};
use swarm::{Gate, GroupLimits, Network, SuperSeeding, TorrentLimits};

/// What holds for torrents as long as the settings stay what they are.
pub(crate) struct Policy {
    torrents: settings::Torrents,
    super_seeding: SuperSeeding,
    groups: HashMap<String, GroupPolicy>,
    early: HashMap<String, Early>,
}

struct GroupPolicy {
    limits: Arc<GroupLimits>,
    seed_ratio: Option<f64>,
    seed_time_s: Option<u64>,
}

/// Who may have the releases of a tree before their time.
struct Early {
    networks: Vec<Network>,
    key: Option<Secret>,
}

/// When a torrent has been seeded enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SeedLimits {
    /// So many thousandths of its size were uploaded.
    pub(crate) ratio_permille: Option<u64>,
    /// It was seeded for so long.
    pub(crate) time_s: Option<u64>,
}

impl Policy {
    /// What the settings say. Groups that were there before keep their limiters, so that torrents at work obey the new rates
    /// at once.
    pub(crate) fn new(settings: &Settings, before: Option<&Policy>) -> Policy {
        let group = |(name, group): (&String, &settings::Group)| {
            let known = before.and_then(|before| before.groups.get(name));
            let limits = known.map_or_else(|| Arc::new(GroupLimits::new(None, None)), |known| known.limits.clone());
            limits.upload.set_rate(group.upload.bytes_per_s());
            limits.download.set_rate(group.download.bytes_per_s());
            let seed_time_s = group.seed_time.map(|period| period.duration().as_secs());
            (name.clone(), GroupPolicy { limits, seed_ratio: group.seed_ratio, seed_time_s })
        };
        let early = |tree: &settings::Publish| {
            let network = |net: &settings::IpNet| Network::new(net.addr(), net.prefix_len()).ok();
            let networks = tree.early_networks.iter().filter_map(network).collect();
            (tree.name.clone(), Early { networks, key: tree.early_key.clone() })
        };
        Policy {
            torrents: settings.torrents.clone(),
            super_seeding: super_seeding(settings.peers.super_seed),
            groups: settings.limits.groups.iter().map(group).collect(),
            early: settings.publish.iter().map(early).collect(),
        }
    }

    /// Lets groups have these rates now.
    pub(crate) fn set_rates(&self, rates: &Rates) {
        for (name, (upload, download)) in &rates.groups {
            if let Some(group) = self.groups.get(name) {
                group.limits.upload.set_rate(upload.bytes_per_s());
                group.limits.download.set_rate(download.bytes_per_s());
            }
        }
    }

    /// Whether there is such a group.
    pub(crate) fn knows_group(&self, name: &str) -> bool {
        self.groups.contains_key(name)
    }

    /// The limits that a torrent has now: its own, or those of all.
    pub(crate) fn limits(&self, row: &TorrentRow) -> TorrentLimits {
        let rate = |own: Option<u64>, all: settings::Rate| own.map_or(all.bytes_per_s(), NonZeroU64::new);
        TorrentLimits {
            upload_bytes_per_s: rate(row.limits.upload_bytes_per_s, self.torrents.upload),
            download_bytes_per_s: rate(row.limits.download_bytes_per_s, self.torrents.download),
            super_seeding: row.limits.super_seeding.unwrap_or(self.super_seeding),
            group: self.group(row).map(|group| group.limits.clone()),
        }
    }

    /// When a torrent has been seeded enough: its own say, or its group's, or that for all.
    pub(crate) fn seed_limits(&self, row: &TorrentRow) -> SeedLimits {
        let group = self.group(row);
        let permille = |ratio: f64| (ratio.max(0.0) * 1000.0).round() as u64;
        let ratio_permille = row
            .limits
            .seed_ratio_permille
            .or_else(|| group.and_then(|group| group.seed_ratio).or(self.torrents.seed_ratio).map(permille));
        let time_s = row.limits.seed_time_s.or_else(|| {
            let all_s = self.torrents.seed_time.map(|period| period.duration().as_secs());
            group.and_then(|group| group.seed_time_s).or(all_s)
        });
        // Zero is how one torrent is let off what holds for all.
        let limit = |limit: Option<u64>| limit.filter(|limit| *limit > 0);
        SeedLimits { ratio_permille: limit(ratio_permille), time_s: limit(time_s) }
    }

    /// A shut gate for a torrent whose time has not come.
    pub(crate) fn gate(&self, row: &TorrentRow, now_s: i64) -> Option<Arc<Gate>> {
        let opens_at_s = row.release_at_s.filter(|opens_at_s| *opens_at_s > now_s)?;
        let (networks, key) = self.early(row);
        let opens_at_s = u64::try_from(opens_at_s).ok();
        let gate = Gate::new(opens_at_s, networks.clone(), key).or_else(|error| {
            // The settings were checked; better to let in too few than all.
            tracing::error!("an early key is left out: {error}");
            Gate::new(opens_at_s, networks, None)
        });
        gate.ok().map(Arc::new)
    }

    /// Lets those through a gate who may have the torrent early by these settings.
    pub(crate) fn set_early(&self, row: &TorrentRow, gate: &Gate) {
        let (networks, key) = self.early(row);
        if let Err(error) = gate.set_early(networks.clone(), key) {
            tracing::error!("an early key is left out: {error}");
            // Without a key nothing can be wrong with it.
            let _ = gate.set_early(networks, None);
        }
    }

    fn early(&self, row: &TorrentRow) -> (Vec<Network>, Option<&str>) {
        let early = match &row.origin {
            Origin::Published { label, .. } => self.early.get(&**label),
            Origin::Added | Origin::Subscribed { .. } => None,
        };
        let networks = early.map(|early| early.networks.clone()).unwrap_or_default();
        (networks, early.and_then(|early| early.key.as_ref()).map(Secret::expose))
    }

    fn group(&self, row: &TorrentRow) -> Option<&GroupPolicy> {
        self.groups.get(row.group.as_deref().or(self.torrents.group.as_deref())?)
    }
}

fn super_seeding(setting: SuperSeed) -> SuperSeeding {
    match setting {
        SuperSeed::Auto => SuperSeeding::Auto,
        SuperSeed::On => SuperSeeding::On,
        SuperSeed::Off => SuperSeeding::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use catalogue::{Catalogue, ContentPlace, NewTorrent};
    use std::time::Duration;

    const MAGNET: &str = "magnet:?xt=urn:btih:0101010101010101010101010101010101010101";

    #[test]
    fn whom_new_settings_do_not_name_a_gate_that_is_there_lets_in_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let (catalogue, _) = Catalogue::open(dir.path()).unwrap();
        let origin = Origin::Published { label: "images".into(), path: "a".into() };
        let (number, place) = (catalogue.next_torrent(), ContentPlace::under(dir.path()));
        let mut row = NewTorrent::of_magnet(number, &MAGNET.parse().unwrap(), place, origin, 1).row;
        row.release_at_s = Some(2_000);
        let policy = |networks: &[&str], key: Option<&str>| {
            let tree = settings::Publish {
                name: "images".to_owned(),
                early_networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
                early_key: key.map(Secret::new),
                ..settings::Publish::default()
            };
            Policy::new(&Settings { publish: vec![tree], ..Settings::default() }, None)
        };
        let gate = policy(&["192.0.2.0/24"], Some("a-key-that-nobody-guesses")).gate(&row, 1_000).unwrap();
        let early = "192.0.2.1".parse().unwrap();
        assert!(gate.admits(early, Duration::ZERO) && gate.is_key("a-key-that-nobody-guesses"));
        policy(&[], None).set_early(&row, &gate);
        assert!(!gate.admits(early, Duration::ZERO) && !gate.is_key("a-key-that-nobody-guesses"));
    }
}
