//! What the two fetches of a magnet link want done, and the step from one to the other. The loop that feeds them is in
//! `drive`.

use std::net::SocketAddr;
use std::time::Duration;

use metainfo::{FileIndex, Magnet, Torrent, Version};
use swarm::{LayerAction, LayerFetch, MetadataAction};
use wire::{Message, MetadataMessage};

use super::connection::Command;
use super::drive::{Done, Driver, Stage};
use super::{ResolveError, Resolved};

impl Driver {
    /// In the second stage: asks the peer for hashes, or has it come back under the name that allows that.
    pub(super) fn begin_layers_with(&mut self, now: Duration, address: SocketAddr) -> Option<Done> {
        let Stage::Layers { fetch, v2, .. } = &mut self.stage else { return None };
        let connection = self.connections.get_mut(&address).filter(|connection| connection.is_open)?;
        if !connection.is_v2 {
            let _ = connection.commands.try_send(Command::Upgrade(*v2));
            return None;
        }
        connection.is_source = true;
        let mut out = Vec::new();
        fetch.handle_joined(now, address, &mut out);
        self.follow_layers(out)
    }

    pub(super) fn forget_source(&mut self, now: Duration, address: SocketAddr) -> Option<Done> {
        match &mut self.stage {
            Stage::Metadata(fetch) => {
                let mut out = Vec::new();
                fetch.handle_left(now, address, &mut out);
                self.follow_metadata(out)
            }
            Stage::Layers { fetch, .. } => {
                let mut out = Vec::new();
                fetch.handle_left(now, address, &mut out);
                self.follow_layers(out)
            }
        }
    }

    pub(super) fn tick_fetch(&mut self, now: Duration) -> Option<Done> {
        match &mut self.stage {
            Stage::Metadata(fetch) => {
                let mut out = Vec::new();
                fetch.handle_tick(now, &mut out);
                self.follow_metadata(out)
            }
            Stage::Layers { torrent, fetch, last_gain, .. } => {
                let got_count = fetch.progress().got_count;
                if got_count > last_gain.0 {
                    *last_gain = (got_count, now);
                }
                let waited = now.saturating_sub(last_gain.1);
                if torrent.version() == Version::Hybrid && waited >= self.shared.config.hybrid_patience {
                    tracing::info!("no peer gives the piece layers of this hybrid torrent: going on by v1");
                    let torrent = Torrent::clone(torrent);
                    return Some(Ok(self.resolved(torrent, true)));
                }
                let mut out = Vec::new();
                fetch.handle_tick(now, &mut out);
                self.follow_layers(out)
            }
        }
    }

    pub(super) fn follow_metadata(&mut self, actions: Vec<MetadataAction<SocketAddr>>) -> Option<Done> {
        for action in actions {
            match action {
                MetadataAction::Ask { peer, piece } => {
                    self.say(peer, |id, out| MetadataMessage::Request { piece }.encode(id, out));
                }
                MetadataAction::Ban { peer, fault } => self.ban(peer, fault),
                MetadataAction::HashesDisagree => return Some(Err(ResolveError::HashesDisagree)),
                MetadataAction::Complete(info) => return self.handle_info(&info),
            }
        }
        None
    }

    pub(super) fn follow_layers(&mut self, actions: Vec<LayerAction<SocketAddr>>) -> Option<Done> {
        for action in actions {
            match action {
                LayerAction::Ask { peer, request } => {
                    let mut bytes = Vec::new();
                    Message::HashRequest(request).encode(&mut bytes);
                    self.order(peer, Command::Send(bytes));
                }
                LayerAction::Ban { peer, fault } => self.ban(peer, fault),
                LayerAction::Complete(layers) => {
                    let Stage::Layers { torrent, .. } = &self.stage else { return None };
                    let complete = Torrent::clone(torrent).with_piece_layers(&layers);
                    return Some(complete.map(|torrent| self.resolved(torrent, false)).map_err(ResolveError::from));
                }
            }
        }
        None
    }

    /// The metadata is here and true.
    fn handle_info(&mut self, info: &[u8]) -> Option<Done> {
        let torrent = match Torrent::from_info(info) {
            Ok(torrent) => torrent,
            Err(error) => return Some(Err(error.into())),
        };
        let trackers = self.magnet.trackers.iter().map(|url| vec![url.clone()]).collect();
        let torrent = torrent.with_sources(trackers, self.magnet.web_seeds.clone());
        let Some(v2) = torrent.info_hash_v2() else { return Some(Ok(self.resolved(torrent, false))) };
        let Some(fetch) = LayerFetch::new(&torrent) else {
            // Files of one piece each: nothing is missing.
            let complete = torrent.with_piece_layers(&[]);
            return Some(complete.map(|torrent| self.resolved(torrent, false)).map_err(ResolveError::from));
        };
        let now = self.now();
        self.stage = Stage::Layers { torrent: Box::new(torrent), fetch, v2: v2.into(), last_gain: (0, now) };
        self.connections.values_mut().for_each(|connection| connection.is_source = false);
        let addresses: Vec<SocketAddr> = self.connections.keys().copied().collect();
        addresses.into_iter().find_map(|address| self.begin_layers_with(now, address))
    }

    fn resolved(&self, torrent: Torrent, lacks_layers: bool) -> Resolved {
        self.publish();
        let mut peers: Vec<(bool, SocketAddr)> = self.met.iter().map(|(address, gave)| (!gave, *address)).collect();
        peers.sort_unstable();
        let peers = peers.into_iter().map(|(_, address)| address).collect();
        Resolved { selected: selected(&self.magnet, &torrent), torrent, lacks_layers, peers }
    }

    pub(super) fn timed_out(&self, after: Duration) -> ResolveError {
        let what = match &self.stage {
            Stage::Metadata(_) => "the metadata",
            Stage::Layers { .. } => "the piece layers",
        };
        ResolveError::TimedOut { what, after, known_count: self.list.len(), answered_count: self.met.len() }
    }
}

/// The files that the link selects, as far as they are there. One sweep, since a hostile link has a thousand ranges of two
/// million files each.
fn selected(magnet: &Magnet, torrent: &Torrent) -> Option<Vec<FileIndex>> {
    let mut ranges: Vec<(u32, u32)> = magnet.select_only.iter().map(|range| (*range.start(), *range.end())).collect();
    if ranges.is_empty() {
        return None;
    }
    ranges.sort_unstable();
    let layout = torrent.layout();
    let (mut files, mut next) = (Vec::new(), 0);
    for (first, last) in ranges {
        files.extend((first.max(next)..=last).map_while(|index| layout.file_index(index)));
        next = next.max(last.saturating_add(1));
    }
    Some(files)
}
