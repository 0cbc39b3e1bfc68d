//! What a web seed costs: for a person to look at with `--ignored --nocapture`, since nothing but the bytes is asserted.

use std::thread;

use metainfo::PieceIndex;
use rustix::time::{ClockId, clock_gettime};
use tokio::net::UnixStream;
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};

use super::peer_end::{PeerEnd, Said};
use super::server::{Reply, Server};
use super::*;

const FILE_BYTES: u64 = 256 << 20;

fn runtime() -> Runtime {
    RuntimeBuilder::new_current_thread().enable_all().build().unwrap()
}

/// Server, web seed and peer each have a thread, so that the web seed's own time can be told.
#[test]
#[ignore = "a measurement"]
fn what_a_gigabyte_costs_in_the_thread_that_fetches_it() {
    let torrent = Arc::new(torrent_of(Version::V1, 1 << 20, &[FILE_BYTES]));
    let layout = torrent.layout();
    let (started, starts) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            runtime().block_on(async {
                let server = Server::start(layout, |_| Reply::Good).await;
                let (stopper, stop) = tokio::sync::oneshot::channel::<()>();
                started.send((server.url(), stopper)).unwrap();
                let _ = stop.await;
            });
        });
        let (url, stopper) = starts.recv().unwrap();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let for_seed = Arc::clone(&torrent);
        scope.spawn(move || {
            runtime().block_on(async {
                ours.set_nonblocking(true).unwrap();
                let seed = seed_at(&clients(quick()), for_seed, &url);
                let ended = seed.serve(UnixStream::from_std(ours).unwrap()).await;
                assert_eq!(ended, Ended::PeerClosed);
            });
            let time = clock_gettime(ClockId::ThreadCPUTime);
            let cpu_s = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
            println!("web seed: {:.3} CPU s/GB", cpu_s / (FILE_BYTES as f64 / 1e9));
        });
        runtime().block_on(async {
            theirs.set_nonblocking(true).unwrap();
            let mut end = PeerEnd::over(UnixStream::from_std(theirs).unwrap(), layout.piece_count()).await;
            let mut pieces = layout.pieces();
            let blocks = |piece: PieceIndex| -> Vec<BlockRange> {
                (0..64).filter_map(|n| layout.block(piece.get(), n << 14, 1 << 14)).collect()
            };
            for piece in pieces.by_ref().take(12) {
                end.request(&blocks(piece)).await;
            }
            let mut came = 0;
            while came < FILE_BYTES >> 14 {
                if let Said::Piece(..) = end.next().await {
                    came += 1;
                    // A piece more for each piece that came.
                    if came % 64 == 0
                        && let Some(piece) = pieces.next()
                    {
                        end.request(&blocks(piece)).await;
                    }
                }
            }
        });
        drop(stopper);
    });
}
