//! The torrents that this shard serves, each with the shard's own view of it: open files, what is known to be
//! resident, counters.

use hash::{InfoHash, Sha256Digest};
use mesh::{TorrentCounters, TorrentId};
use metainfo::{BlockRange, FileIndex, Torrent};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use storage::{OpenFile, Seeded, StorageError};
use swarm::{HashAnswer, HashTrees, Terms};
use wire::HashRequest;

use crate::exchange::Acquaintances;
use crate::leech::Leech;
use crate::limits::OPEN_FILES_LEAST;
use crate::residency::Resident;
use crate::super_seeding::SuperSeed;

/// What it takes to serve a torrent, as control handed it to every shard.
#[derive(Clone)]
pub(crate) struct TorrentTask {
    /// Metainfo and content.
    pub(crate) seeded: Arc<Seeded>,
    /// Where this torrent's traffic is counted.
    pub(crate) counters: Arc<TorrentCounters>,
    /// How it is uploaded.
    pub(crate) terms: Arc<Terms>,
}

/// A torrent's place in this shard, used again after its torrent is withdrawn; connections go before it does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Slot(pub(crate) usize);

/// All torrents of a shard.
#[derive(Default)]
pub(crate) struct Torrents {
    slots: Vec<Option<Served>>,
    /// Places without a torrent.
    free: Vec<Slot>,
    by_id: HashMap<TorrentId, Slot>,
    by_hash: HashMap<InfoHash, Slot>,
    /// Those that are fetched here.
    leeching: BTreeSet<Slot>,
    /// Torrents that are fetched in another shard, and in which.
    elsewhere: HashMap<InfoHash, (TorrentId, usize)>,
    /// Open files, oldest first, for closing them when there are too many.
    open_files: VecDeque<(Slot, FileIndex)>,
}

/// One torrent as this shard sees it.
pub(crate) struct Served {
    pub(crate) id: TorrentId,
    pub(crate) task: TorrentTask,
    pub(crate) files: Files,
    pub(crate) resident: Resident,
    /// While peers are told of pieces one by one, or may soon be; only in the torrent's home shard.
    pub(crate) super_seed: Option<Box<SuperSeed>>,
    /// While it is not whole; only in the torrent's home shard.
    pub(crate) leech: Option<Box<Leech>>,
    /// Whom its peers are told of; nothing if it is private, or if peers are told of nobody.
    pub(crate) pex: Option<Acquaintances>,
    trees: HashTrees,
}

/// The files of a torrent that this shard has open.
pub(crate) struct Files(Vec<FileSlot>);

/// A file of a served torrent.
#[derive(Default)]
struct FileSlot {
    open: Option<Arc<OpenFile>>,
    /// The turn in which the file was last found unchanged.
    checked_in_turn: u64,
    /// It was wanted since it was last considered for closing.
    used: bool,
}

impl Torrents {
    /// Serves a torrent from now on, and with `tells_peers` tells its peers of each other.
    pub(crate) fn add(&mut self, id: TorrentId, task: TorrentTask, tells_peers: bool) -> Slot {
        let torrent = task.seeded.torrent();
        let layout = torrent.layout();
        let served = Served {
            id,
            files: Files(layout.files().iter().map(|_| FileSlot::default()).collect()),
            super_seed: None,
            leech: None,
            pex: Acquaintances::new(torrent).filter(|_| tells_peers),
            trees: HashTrees::default(),
            resident: Resident::new(layout.piece_count()),
            task,
        };
        let slot = self.free.pop().unwrap_or(Slot(self.slots.len()));
        self.by_id.insert(id, slot);
        self.by_hash.extend(served.names().map(|name| (name, slot)));
        match self.slots.get_mut(slot.0) {
            Some(free) => *free = Some(served),
            None => self.slots.push(Some(served)),
        }
        slot
    }

    /// Serves it no longer. Its connections must be closed before its slot is used again.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Served> {
        let served = self.slots.get_mut(slot.0)?.take()?;
        self.free.push(slot);
        self.by_id.remove(&served.id);
        self.leeching.remove(&slot);
        for name in served.names() {
            if self.by_hash.get(&name) == Some(&slot) {
                self.by_hash.remove(&name);
            }
        }
        if served.files.has_open() {
            self.open_files.retain(|(at, _)| *at != slot);
        }
        Some(served)
    }

    pub(crate) fn find(&self, info_hash: InfoHash) -> Option<Slot> {
        self.by_hash.get(&info_hash).copied()
    }

    /// The shard where the torrent of this name is fetched, if that is another one.
    pub(crate) fn home_of(&self, info_hash: InfoHash) -> Option<usize> {
        self.elsewhere.get(&info_hash).map(|(_, home)| *home)
    }

    /// Connections for a torrent of these names go on in its home shard.
    pub(crate) fn forward(&mut self, id: TorrentId, info_hashes: &[InfoHash], home: usize) {
        self.elsewhere.extend(info_hashes.iter().map(|info_hash| (*info_hash, (id, home))));
    }

    /// Connections for the torrent stay here.
    pub(crate) fn keep(&mut self, id: TorrentId) {
        self.elsewhere.retain(|_, (other, _)| *other != id);
    }

    /// The torrent is whole: what is known of it as one that is fetched is over, its peers stay.
    pub(crate) fn complete(&mut self, slot: Slot, task: TorrentTask) -> Option<Box<Leech>> {
        self.open_files.retain(|(at, _)| *at != slot);
        let served = self.get_mut(slot)?;
        served.files = Files(task.seeded.torrent().layout().files().iter().map(|_| FileSlot::default()).collect());
        served.task = task;
        self.end_leech(slot)
    }

    /// The torrent is fetched from now on.
    pub(crate) fn begin_leech(&mut self, slot: Slot, leech: Box<Leech>) {
        if let Some(served) = self.get_mut(slot) {
            served.leech = Some(leech);
            self.leeching.insert(slot);
        }
    }

    /// The torrent is fetched no longer, if it was; gives what was known of it as such.
    pub(crate) fn end_leech(&mut self, slot: Slot) -> Option<Box<Leech>> {
        self.leeching.remove(&slot);
        self.get_mut(slot)?.leech.take()
    }

    /// Whether any torrent is fetched here.
    pub(crate) fn is_leeching(&self) -> bool {
        !self.leeching.is_empty()
    }

    /// The torrents that are fetched here.
    pub(crate) fn leeching(&self) -> impl Iterator<Item = Slot> + '_ {
        self.leeching.iter().copied()
    }

    /// The same, with what is known of them.
    pub(crate) fn leeches(&self) -> impl Iterator<Item = (Slot, &Leech)> + '_ {
        self.leeching().filter_map(|slot| Some((slot, self.get(slot)?.leech.as_deref()?)))
    }

    /// What is known of a torrent as one that is fetched, if it is.
    pub(crate) fn leech_mut(&mut self, slot: Slot) -> Option<&mut Leech> {
        self.get_mut(slot)?.leech.as_deref_mut()
    }

    /// Whether a piece is there, if the torrent has it at all; of what it has not the session tells.
    pub(crate) fn has_piece(&self, slot: Slot, index: u32) -> bool {
        let Some(served) = self.get(slot) else { return true };
        let piece = served.torrent().layout().piece(index);
        piece.zip(served.leech.as_ref()).is_none_or(|(piece, leech)| leech.verified.contains(piece))
    }

    /// Whether the pieces of all these blocks are there.
    pub(crate) fn has_all(&self, slot: Slot, blocks: &[BlockRange]) -> bool {
        let leech = self.get(slot).and_then(|served| served.leech.as_ref());
        leech.is_none_or(|leech| blocks.iter().all(|block| leech.verified.contains(block.piece())))
    }

    pub(crate) fn find_id(&self, id: TorrentId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Served> {
        self.slots.get(slot.0)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Served> {
        self.slots.get_mut(slot.0)?.as_mut()
    }

    /// Whether the torrent's whole swarm is to be seen here.
    pub(crate) fn has_home(&self, slot: Slot) -> bool {
        self.get(slot).is_some_and(|served| served.super_seed.is_some() || served.leech.is_some())
    }

    /// The places of all torrents.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..self.slots.len()).map(Slot)
    }

    /// Keeps an opened file, closing the oldest ones if there are more than `limit`.
    pub(crate) fn keep_file(&mut self, slot: Slot, index: FileIndex, file: Arc<OpenFile>, limit: usize) {
        while self.open_files.len() >= limit.max(OPEN_FILES_LEAST) {
            let Some((slot, index)) = self.open_files.pop_front() else { break };
            let Some(served) = self.get_mut(slot) else { continue };
            let place = &mut served.files.0[index.get() as usize];
            if std::mem::take(&mut place.used) {
                // Used since it was last looked at here: it has a second chance, the next one may be idle.
                self.open_files.push_back((slot, index));
            } else {
                *place = FileSlot::default();
            }
        }
        let Some(served) = self.get_mut(slot) else { return };
        let place = &mut served.files.0[index.get() as usize];
        let was_open = place.open.replace(file).is_some();
        place.checked_in_turn = 0;
        if !was_open {
            self.open_files.push_back((slot, index));
        }
    }
}

impl Served {
    pub(crate) fn torrent(&self) -> &Torrent {
        self.task.seeded.torrent()
    }

    /// All names by which peers know it.
    fn names(&self) -> impl Iterator<Item = InfoHash> + use<'_> {
        self.torrent().info_hashes().chain(self.torrent().info_hash_without_empty_keys())
    }

    /// What it takes to answer a hash request.
    pub(crate) fn plan_hashes(&mut self, request: &HashRequest) -> HashAnswer {
        self.trees.plan(self.task.seeded.torrent(), request)
    }

    /// The answer to a hash request that needed leaves.
    pub(crate) fn answer_hashes(
        &mut self,
        request: &HashRequest,
        leaves: &[Sha256Digest],
    ) -> Option<Vec<Sha256Digest>> {
        self.trees.answer(self.task.seeded.torrent(), request, leaves)
    }
}

impl Files {
    /// The file if it is open, after a look at whether it is still what it was; one look a turn.
    pub(crate) fn check(&mut self, index: FileIndex, turn: u64) -> Result<Option<&Arc<OpenFile>>, StorageError> {
        let slot = &mut self.0[index.get() as usize];
        let Some(open) = &slot.open else { return Ok(None) };
        if slot.checked_in_turn != turn {
            open.check_unchanged()?;
            slot.checked_in_turn = turn;
            slot.used = true;
        }
        Ok(Some(open))
    }

    fn has_open(&self) -> bool {
        self.0.iter().any(|slot| slot.open.is_some())
    }

    /// The file if it is open, for a part that [`Files::check`] has looked at in this turn.
    pub(crate) fn get(&self, index: FileIndex) -> Option<&OpenFile> {
        self.0[index.get() as usize].open.as_deref()
    }
}
