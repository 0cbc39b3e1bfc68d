//! A disk that takes no more: files of this process may not grow beyond a limit. A process of its own, since that holds for
//! all of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that fails says so

mod support;

use mesh::{Event, TorrentId};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shard::ShardConfig;
use support::seed::{Reply, Seed};
use support::{TORRENT, config, idle, partial, single};
use wire::PeerId;

const OTHER: TorrentId = TorrentId(1);

/// Writes beyond so many bytes of a file fail from now on; the signal that comes with it is ignored.
fn limit_files(bytes: Option<u64>) {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let before = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: bytes.or(before.maximum), ..before }).unwrap();
}

#[test]
fn a_disk_that_takes_nothing_pauses_its_torrent_alone_until_there_is_room() {
    // Pieces that fit the buffers, and pieces that have to be written before they are whole.
    for piece_length in [64 * 1024, 2 << 20] {
        let large = single(4 << 20, piece_length);
        let small = single(700_000, 64 * 1024);
        let large_seed = Seed::start(61, &large, |_| Reply::Right);
        let small_seed = Seed::start(62, &small, |_| Reply::Right);
        let (refused, fine) = (partial(&large.torrent), partial(&small.torrent));
        let leech = ShardConfig { peer_id: PeerId::ours([3; 12]), write_buffer_bytes: 1 << 20, ..config() };
        let shard = idle(&leech, 1).remove(0);
        limit_files(Some(1 << 20));
        refused.begin_as(TORRENT, &shard);
        shard.tell(&[large_seed.address]);
        let Event::FetchPaused { id, reason } = shard.event() else { panic!("it says that it cannot write") };
        assert_eq!(id, TORRENT);
        assert!(reason.contains("image.iso"), "{reason}");
        // More buffers than its share are held by what cannot be written.
        fine.begin_as(OTHER, &shard);
        shard.tell_of(OTHER, &[small_seed.address]);
        assert_eq!(shard.event(), Event::Fetched { id: OTHER });
        limit_files(None);
        assert_eq!(shard.event(), Event::FetchResumed { id: TORRENT });
        assert_eq!(shard.event(), Event::Fetched { id: TORRENT });
        assert!(refused.bytes() == large.bytes && fine.bytes() == small.bytes);
        assert_eq!(shard.counters.failed_pieces(), 0);
    }
}
