//! The limits of one shard, each with its reason. What an operator may want to change is in `ShardConfig`.

use std::time::Duration;

/// Blocks that one gathered write carries at most. What decides the cost of a byte is how many blocks one system
/// call carries; beyond 64 nothing was gained.
pub(crate) const BATCH_BLOCKS: usize = 64;

/// Bytes that one gathered write carries at most: one turn of a connection, for fairness by bytes. As many whole blocks.
pub(crate) const BATCH_BYTES: usize = BATCH_BLOCKS * (metainfo::BLOCK_SIZE as usize + wire::PIECE_HEADER_SIZE);

/// The least that the kernel may hold unsent for one connection: it keeps a path of 1 Gbit/s full for a millisecond, which
/// is ten turns.
pub(crate) const LEAST_UNSENT_BYTES: usize = 128 * 1024;

/// The most: one gathered write.
pub(crate) const MOST_UNSENT_BYTES: usize = 1024 * 1024;

/// Parts of one gathered write: headers, and data that may come from several files. Below IOV_MAX (1024).
pub(crate) const BATCH_PARTS: usize = 256;

/// How long a round of turns takes at most under an upload limit, as far as each still holds a block. The longer a turn, the
/// sooner its pieces are whole and can be passed on: a limit that serves all blocks of all peers in parallel finishes all pieces
/// at the end.
pub(crate) const LIMITED_ROUND: Duration = Duration::from_secs(4);

/// Connections read from before the clock is looked at.
pub(crate) const RECEIVES_PER_LOOK: usize = 32;

/// How long a turn reads, and how long it sends, before it looks for new events again, for fairness by time.
pub(crate) const TURN_BUDGET: Duration = Duration::from_millis(2);

/// How long a turn sends cold content after all else: two writes or so.
pub(crate) const COLD_TURN_BUDGET: Duration = Duration::from_micros(100);

/// A turn that took this long is late: something blocked the executor.
pub(crate) const LATE_TURN: Duration = Duration::from_millis(20);

/// Bytes read from one connection in one turn. A request is 17 bytes, so this is thousands of them.
pub(crate) const RECEIVE_BYTES: usize = 64 * 1024;

/// The least that is read at once under a download limit, if its bucket holds twice as much.
pub(crate) const LEAST_RECEIVE_BYTES: usize = 16 * 1024;

/// Bytes of answers that wait for one connection before we read no more from it: a peer that asks and does not take
/// the answers waits for itself.
pub(crate) const OUTBOX_LIMIT: usize = 64 * 1024;

/// The shortest wait for the upload limit. Its buckets hold 50 ms, so none runs over meanwhile.
pub(crate) const THROTTLE_LEAST: Duration = Duration::from_millis(5);

/// How long reads rest after one failed for want of descriptors or memory.
pub(crate) const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// How long a stop waits, beyond its grace, for reads of the disk that are under way.
pub(crate) const DISK_STOP_SLACK: Duration = Duration::from_secs(3);

/// Pieces longer than this are not asked about as a whole: the question costs 2.5 microseconds a MiB.
pub(crate) const WHOLE_PIECE_BYTES: u32 = 4 * 1024 * 1024;

/// Room that an outbox keeps when it is empty.
pub(crate) const OUTBOX_IDLE_CAPACITY: usize = 512;

/// The handshake must be whole after this long.
pub(crate) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// A torrent at rest that is asked for must be loaded after this long; its peers give up on us no sooner.
pub(crate) const LOAD_LIMIT: Duration = Duration::from_secs(10);

/// Connections that wait for torrents to be loaded, and what they may have said by then: a handshake is 68 bytes, the list of
/// pieces of the largest torrent 128 KiB, and most say neither that nor anything else before they are answered.
pub(crate) const PARKED_LIMIT: usize = 4096;
pub(crate) const PARKED_BYTES_LIMIT: usize = 8 * 1024 * 1024;

/// A peer that takes nothing of what it asked for is gone after this long.
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(60);

/// Connections accepted in one turn, so that a storm of them does not stop those that we have.
pub(crate) const ACCEPTS_PER_TURN: usize = 64;

/// Bytes of HAVE messages that wait for one peer while it is told that we have everything.
pub(crate) const REVEAL_BYTES: usize = 16 * 1024;

/// The swarm of a super-seeded torrent gathers in one shard until this share of its connections is taken: three of four.
pub(crate) const GATHER_SHARE: (usize, usize) = (3, 4);

/// How long a listener rests when the process has no descriptor left.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often each connection is looked at for time limits.
pub(crate) const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// The looks are spread over the interval, so that ten thousand idle peers never cost a turn of their own.
pub(crate) const TICK_PARTS: u32 = 16;

/// The longest sleep. glommio 0.9 can park with runnable tasks (`engine/decisions/heartbeat.md`); this bounds it.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(250);

/// The longest sleep while a read of the disk is under way, whose completion such a hang would hide.
pub(crate) const HEARTBEAT_READING: Duration = Duration::from_millis(10);

/// How long pages that were seen resident are taken to be so, while the page cache is at rest.
pub(crate) const RESIDENCY_TTL: Duration = Duration::from_secs(2);

/// The same while cold reads go on, or the kernel throws out pages that peers want; one or two ticks of 64 ms more, as the
/// clock of `residency` has it. A question costs 2.5 microseconds a MiB, a wrong answer one read of the disk on the
/// shard's own time.
pub(crate) const RESIDENCY_TTL_MOVING: Duration = Duration::from_millis(64);

/// Pages that are missed again this soon after they were last asked about were thrown out for want of memory, not for
/// want of use.
pub(crate) const EVICTION_HORIZON: Duration = Duration::from_secs(300);

/// Content does not fit the page cache if of the pages that are asked about more than one in so many was thrown out, over
/// about two rounds of this length.
pub(crate) const EVICTED_ONE_IN: u64 = 8;
pub(crate) const EVICTION_ROUND: Duration = Duration::from_secs(1);

/// For how long the last such miss is taken to say that content does not fit the page cache.
pub(crate) const PRESSURE_MEMORY: Duration = Duration::from_secs(10);

/// How fast one shard's cold reads fill the page cache at most, and how much of it at once; the rest is read past it.
pub(crate) const FILL_BYTES_PER_S: u64 = 256 * 1024 * 1024;
pub(crate) const FILL_BURST_BYTES: u64 = 64 * 1024 * 1024;

/// Cold reads whose pages are kept in the page cache while content does not fit it: one in so many, and for how long
/// the choice of pieces stands.
pub(crate) const ADMITTED_ONE_IN: u32 = 16;
pub(crate) const ADMITTED_ROUND: Duration = Duration::from_secs(2);

/// Cold data is read in windows of this size, counted from the start of its piece.
pub(crate) const WINDOW_BYTES: u32 = 256 * 1024;

/// Bytes of cold windows that one shard holds, read or being read.
pub(crate) const COLD_BYTES_LIMIT: usize = 64 * 1024 * 1024;

/// Reads of windows under way in one shard, each on a thread of the blocking pool. Eight of 256 KiB keep a fast flash
/// device busy; a hard disk has enough to sort.
pub(crate) const COLD_READS_LIMIT: usize = 8;

/// Reads of windows under way at one device, over all shards (each may have one, however many shards there are). Reads for
/// leaves are not counted.
pub(crate) const DEVICE_READS_LIMIT: usize = 32;

/// Devices whose reads are counted apart; the others share a budget.
pub(crate) const DEVICES_LIMIT: usize = 32;

/// Devices that may have a limit of their own; there is room for as many others.
pub(crate) const NAMED_DEVICES_LIMIT: usize = DEVICES_LIMIT / 2;

/// Files being opened in one shard.
pub(crate) const OPEN_JOBS_LIMIT: usize = 32;

/// Requests of one peer that are looked through for windows to read ahead; how often the kernel is asked is bounded apart.
pub(crate) const READ_AHEAD_BLOCKS: usize = 128;

/// How long a connection that found no room for its read waits at most before it tries again. Mostly it is woken before,
/// when a read ends or a window was sent.
pub(crate) const READ_RETRY: Duration = Duration::from_millis(5);

/// A window that was read and not sent is held this long, even if others want its room.
pub(crate) const WINDOW_HELD: Duration = Duration::from_millis(500);

/// A window that nobody has used for this long is given back.
pub(crate) const WINDOW_IDLE_LIMIT: Duration = Duration::from_secs(10);

/// Bytes of cold windows that one write carries at most: those that wait for their pages have had their wait, and others
/// of the turn are in more of a hurry.
pub(crate) const COLD_BATCH_BYTES: usize = 128 * 1024;

/// Bytes that one turn of one connection may read from small files, which are not mapped.
pub(crate) const SCRATCH_BYTES: usize = BATCH_BYTES;

/// A block of more files than this is read as part of a window: opening each of them for it would cost more, and
/// would close those that other peers use.
pub(crate) const FILES_PER_BLOCK: usize = 8;

/// The fewest files that a shard keeps open, whatever it was told: those of two blocks.
pub(crate) const OPEN_FILES_LEAST: usize = 2 * FILES_PER_BLOCK;

/// Hash requests under way in one shard that need leaves made from the data (BEP 52); beyond it they are refused.
pub(crate) const LEAF_JOBS_LIMIT: usize = 4;

/// Data that one shard hashes for leaves from one tick (a second) to the next; beyond it they are refused. Leaves find
/// the bad block of a bad piece, so few are asked for in earnest, while 53 bytes ask for 8 MiB of work.
pub(crate) const LEAF_BYTES_PER_TICK: usize = 32 * 1024 * 1024;

/// Pieces that are checked at once: as many as the widest hash has lanes.
pub(crate) const CHECKED_AT_ONCE: usize = hash::LANES;

/// How long a whole piece waits for others that are checked with it.
pub(crate) const CHECK_DELAY: Duration = Duration::from_millis(20);

/// How often what was verified is made durable and recorded: what a crash costs at most.
pub(crate) const RECORD_INTERVAL: Duration = Duration::from_millis(800);

/// How long a disk that took nothing is left alone.
pub(crate) const WRITE_RETRY: Duration = Duration::from_secs(5);

/// Jobs of torrents that are fetched under way in one shard: a check and a record of several torrents.
pub(crate) const WRITE_JOBS_LIMIT: usize = 8;

/// Peers that are served at once by a torrent that is fetched under an upload limit: one for so much of it, within these
/// bounds. Four are what BEP 3 had in mind.
pub(crate) const LEECH_SLOT_BYTES_PER_S: u64 = 128 * 1024;
pub(crate) const LEECH_SLOTS: (usize, usize) = (4, 64);

/// How often the downloads of a shard look at the clock.
pub(crate) const LEECH_TICK_INTERVAL: Duration = Duration::from_millis(250);

/// Peers of one torrent that is fetched here beyond which we dial no more; others may still dial us.
pub(crate) const PEERS_WANTED: usize = 80;

/// The shortest pause between two looks at whom to dial.
pub(crate) const DIAL_LEAST_WAIT: Duration = Duration::from_millis(10);

/// Threads for what would block the executor: as many as there are reads, so that none waits for another, and two more for
/// opening files and hashing leaves. Those may for a moment be more than two; then a read waits for one of them.
pub(crate) const BLOCKING_THREADS: usize = COLD_READS_LIMIT + 2;

/// The niceness of threads that have read cold windows: all of them weigh an eighth of a shard.
pub(crate) const READER_NICENESS: i32 = 19;

/// Memory that one executor registers for direct I/O. Our reads are on the pool, so it is hardly used.
pub(crate) const IO_MEMORY_BYTES: usize = 1024 * 1024;
