//! Piece layers from peers (BEP 52) for a v2 or hybrid torrent that came without them: which run of hashes to ask whom for,
//! and whether what came is true. Every answer carries its proof up to the file's root, so a liar is known by its first
//! lie. Connections are the caller's, and so is the time.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use hash::Sha256Digest;
use metainfo::merkle::{LAYER_RUN, TreeShape};
use metainfo::{PieceLayer, Torrent};
use wire::HashRequest;

use crate::hash_trees::{for_tree, for_wire};
use crate::sources::{SECOND_OPINION_AFTER, SOURCES_LIMIT, Source, SourceFault};

/// Requests under way at one peer, and hashes that they ask for: four long runs are 64 KiB, and a torrent of many small files
/// must not wait a round trip for every few of them.
const OUTSTANDING_LIMIT: usize = 32;
const OUTSTANDING_HASHES_LIMIT: u32 = 4 * LAYER_RUN;

/// Bytes of a hash.
const HASH_BYTES: usize = 32;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerAction<P> {
    /// Ask the peer for hashes.
    Ask {
        /// Whom.
        peer: P,
        /// For which.
        request: HashRequest,
    },
    /// The peer lies or floods; it is forgotten here already.
    Ban {
        /// Whom.
        peer: P,
        /// What it did.
        fault: SourceFault,
    },
    /// All layers, checked: for [`Torrent::with_piece_layers`]. Nothing follows.
    Complete(Vec<PieceLayer>),
}

/// How far the fetching is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LayerProgress {
    /// Peers that are asked.
    pub peer_count: usize,
    /// Hashes of all layers.
    pub hash_count: u64,
    /// How many of them are here.
    pub got_count: u64,
}

/// The fetching of one torrent's piece layers. `P` names a peer.
#[derive(Debug)]
pub struct LayerFetch<P> {
    files: Vec<File>,
    runs: Vec<Run>,
    /// Runs that nobody is asked for.
    waiting: VecDeque<u32>,
    peers: BTreeMap<P, Source>,
    hash_count: u64,
    got_count: u64,
    /// Runs that are not here yet.
    left: usize,
    is_over: bool,
}

/// A file of more than one piece, or several that are equal.
#[derive(Debug)]
struct File {
    root: Sha256Digest,
    shape: TreeShape,
    /// The layer, made when its first hashes come.
    hashes: Vec<u8>,
}

#[derive(Debug)]
struct Run {
    file: u32,
    /// Which of the file's runs.
    number: u32,
    /// Hashes in it, pads among them.
    length: u32,
    /// When somebody was asked last.
    asked_at: Duration,
    is_here: bool,
}

impl Run {
    fn new(file: u32, number: u32, length: u32) -> Run {
        Run { file, number, length, asked_at: Duration::ZERO, is_here: false }
    }
}

impl<P: Copy + Ord> LayerFetch<P> {
    /// What a torrent lacks that was made of its `info` alone. `None` if it lacks nothing that peers could give: one of v1,
    /// or of files of one piece, which needs no layer but [`Torrent::with_piece_layers`] with none.
    pub fn new(torrent: &Torrent) -> Option<LayerFetch<P>> {
        let layout = torrent.layout();
        let mut fetch = LayerFetch {
            files: Vec::new(),
            runs: Vec::new(),
            waiting: VecDeque::new(),
            peers: BTreeMap::new(),
            hash_count: 0,
            got_count: 0,
            left: 0,
            is_over: false,
        };
        let mut known = HashSet::new();
        for entry in layout.files() {
            let Some(root) = entry.pieces_root().filter(|root| known.insert(*root)) else { continue };
            let shape = TreeShape::new(entry.length(), layout.piece_length());
            let file = fetch.files.len() as u32;
            let requests = (0..).zip(shape.layer_requests(root));
            let first = fetch.runs.len();
            fetch.runs.extend(requests.map(|(number, request)| Run::new(file, number, request.length)));
            if fetch.runs.len() > first {
                fetch.hash_count += shape.piece_count();
                fetch.files.push(File { root, shape, hashes: Vec::new() });
            }
        }
        fetch.left = fetch.runs.len();
        fetch.waiting.extend(0..fetch.runs.len() as u32);
        (fetch.left > 0).then_some(fetch)
    }

    /// A peer that speaks v2. False if there are too many.
    pub fn handle_joined(&mut self, now: Duration, peer: P, out: &mut Vec<LayerAction<P>>) -> bool {
        if self.is_over || (self.peers.len() >= SOURCES_LIMIT && !self.peers.contains_key(&peer)) {
            return false;
        }
        self.peers.entry(peer).or_default();
        self.fill(now, peer, out);
        true
    }

    /// The peer is gone.
    pub fn handle_left(&mut self, now: Duration, peer: P, out: &mut Vec<LayerAction<P>>) {
        self.forget(peer);
        self.fill_all(now, out);
    }

    /// The peer sent hashes.
    pub fn handle_hashes(
        &mut self,
        now: Duration,
        peer: P,
        request: &HashRequest,
        hashes: &[u8],
        out: &mut Vec<LayerAction<P>>,
    ) {
        let Some(run) = self.settle(now, peer, request, out) else { return };
        if self.keep(run, request, hashes) {
            if let Some(source) = self.peers.get_mut(&peer) {
                source.praise();
            }
            self.fill(now, peer, out);
        } else {
            self.release(run);
            self.ban(now, peer, SourceFault::WrongHashes, out);
        }
        if self.left == 0 && !self.is_over {
            self.is_over = true;
            self.peers.clear();
            let layer = |file: File| PieceLayer { root: file.root, hashes: file.hashes };
            out.push(LayerAction::Complete(std::mem::take(&mut self.files).into_iter().map(layer).collect()));
        }
    }

    /// The peer will not send hashes that it was asked for.
    pub fn handle_reject(&mut self, now: Duration, peer: P, request: &HashRequest, out: &mut Vec<LayerAction<P>>) {
        let Some(run) = self.settle(now, peer, request, out) else { return };
        if let Some(source) = self.peers.get_mut(&peer) {
            source.strike(now);
        }
        self.release(run);
        self.fill_all(now, out);
    }

    /// Time has passed: to be called a few times a second.
    pub fn handle_tick(&mut self, now: Duration, out: &mut Vec<LayerAction<P>>) {
        let overdue: Vec<u32> = self.peers.values_mut().flat_map(|source| source.take_overdue(now)).collect();
        overdue.into_iter().for_each(|run| self.release(run));
        self.fill_all(now, out);
    }

    /// How far it is.
    pub fn progress(&self) -> LayerProgress {
        LayerProgress { peer_count: self.peers.len(), hash_count: self.hash_count, got_count: self.got_count }
    }

    /// Finds what an answer belongs to; `None` if nobody waits for it.
    fn settle(&mut self, now: Duration, peer: P, request: &HashRequest, out: &mut Vec<LayerAction<P>>) -> Option<u32> {
        let source = self.peers.get(&peer)?;
        let run = source.asked().map(|(run, _)| run).find(|run| self.request(*run).as_ref() == Some(request));
        let source = self.peers.get_mut(&peer)?;
        match run {
            Some(run) => _ = source.settle(run),
            None => {
                if let Err(fault) = source.waste() {
                    self.ban(now, peer, fault, out);
                }
            }
        }
        run
    }

    /// Checks the hashes of a run and keeps those that stand for pieces. False if they are wrong.
    fn keep(&mut self, run: u32, request: &HashRequest, hashes: &[u8]) -> bool {
        let Some(run) = self.runs.get_mut(run as usize) else { return false };
        let Some(file) = self.files.get_mut(run.file as usize) else { return false };
        let (digests, rest) = hashes.as_chunks::<HASH_BYTES>();
        let digests: Vec<Sha256Digest> = digests.iter().map(|bytes| Sha256Digest(*bytes)).collect();
        if !rest.is_empty() || !for_tree(request).verify(&file.shape, &digests) {
            return false;
        }
        if run.is_here {
            return true;
        }
        file.hashes.resize(file.shape.piece_count() as usize * HASH_BYTES, 0);
        let start = request.index as usize * HASH_BYTES;
        let end = (start + request.length as usize * HASH_BYTES).min(file.hashes.len());
        // What lies beyond the last piece is padding.
        file.hashes[start..end].copy_from_slice(&hashes[..end - start]);
        run.is_here = true;
        self.left -= 1;
        self.got_count += (end - start) as u64 / HASH_BYTES as u64;
        true
    }

    fn request(&self, run: u32) -> Option<HashRequest> {
        let run = self.runs.get(run as usize)?;
        let file = self.files.get(run.file as usize)?;
        file.shape.layer_requests(file.root).nth(run.number as usize).map(|request| for_wire(&request))
    }

    /// A request came to nothing: another peer may be asked at once.
    fn release(&mut self, run: u32) {
        let is_asked = self.peers.values().any(|source| source.is_asked(run));
        if !is_asked && self.runs.get(run as usize).is_some_and(|run| !run.is_here) {
            self.waiting.push_front(run);
        }
    }

    fn forget(&mut self, peer: P) {
        let Some(gone) = self.peers.remove(&peer) else { return };
        gone.asked().for_each(|(run, _)| self.release(run));
    }

    fn ban(&mut self, now: Duration, peer: P, fault: SourceFault, out: &mut Vec<LayerAction<P>>) {
        self.forget(peer);
        out.push(LayerAction::Ban { peer, fault });
        self.fill_all(now, out);
    }

    fn fill_all(&mut self, now: Duration, out: &mut Vec<LayerAction<P>>) {
        // Those that answer come first, so that silent ones do not hold what is asked for a second time.
        let mut order: Vec<(u32, P)> = self.peers.iter().map(|(key, source)| (source.strikes(), *key)).collect();
        order.sort_unstable();
        for (_, key) in order {
            self.fill(now, key, out);
        }
    }

    /// Asks the peer for as much as it may be asked for.
    fn fill(&mut self, now: Duration, key: P, out: &mut Vec<LayerAction<P>>) {
        while self.peers.get(&key).is_some_and(|source| self.has_room(now, source)) {
            let Some(run) = self.next_to_ask(now, key) else { return };
            let Some(request) = self.request(run) else { return };
            self.runs[run as usize].asked_at = now;
            if let Some(source) = self.peers.get_mut(&key) {
                source.ask(now, run);
            }
            out.push(LayerAction::Ask { peer: key, request });
        }
    }

    fn has_room(&self, now: Duration, source: &Source) -> bool {
        let length = |run: u32| self.runs.get(run as usize).map_or(0, |run| run.length);
        let outstanding: u32 = source.asked().map(|(run, _)| length(run)).sum();
        outstanding < OUTSTANDING_HASHES_LIMIT && source.has_room(now, OUTSTANDING_LIMIT)
    }

    /// A run that nobody is asked for, else the one that has been waited for longest, if that is long enough for a second
    /// opinion.
    fn next_to_ask(&mut self, now: Duration, key: P) -> Option<u32> {
        while let Some(run) = self.waiting.pop_front() {
            if !self.runs.get(run as usize)?.is_here {
                return Some(run);
            }
        }
        let own = self.peers.get(&key)?;
        let under_way = self.peers.values().flat_map(|source| source.asked().map(|(run, _)| run));
        let asked_at = |run: &u32| self.runs.get(*run as usize).map_or(now, |run| run.asked_at);
        under_way
            .filter(|run| now.saturating_sub(asked_at(run)) >= SECOND_OPINION_AFTER && !own.is_asked(*run))
            .filter(|run| self.runs.get(*run as usize).is_some_and(|run| !run.is_here))
            .min_by_key(|run| (asked_at(run), *run))
    }
}

#[cfg(test)]
mod tests;
