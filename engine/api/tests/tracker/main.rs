//! The tracker from both ends over real sockets on loopback: our server as strangers see it, our client against our
//! server, and our client against trackers that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking, its set-up too.

mod announcer;
mod foreign;
mod https;
mod server;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use api::HttpLimits;
use api::TrackerServer;
use control::tracker_service::TrackerService;
use hash::InfoHash;
use tracker::table::{Access, Limits};

const TORRENT: InfoHash = InfoHash(*b"aaaaaaaaaaaaaaaaaaaa");

/// A tracker on both loopbacks with one port, and its service.
fn start_tracker(access: Access) -> (TrackerServer, TrackerService) {
    let service = TrackerService::new(access, Limits::default()).unwrap();
    let listen: [SocketAddr; 2] = ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
    let server = TrackerServer::start(&listen, &service, HttpLimits::default()).unwrap();
    (server, service)
}

/// Fails rather than hangs.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it takes forever")
}
