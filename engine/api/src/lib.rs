//! HTTP, and nothing but HTTP: the server with its limits, what it answers to everybody (the tracker, feeds, files of
//! releases), and what it answers to the operator on a socket of its own. What an announce does is for the tracker service
//! of `control`; what an operator asks for is done by whoever takes the requests from [`operator`]'s queue.
#![forbid(unsafe_code)]

mod etag;
mod tracker_route;
mod tracker_server;

pub mod feeds;
pub mod operator;
pub mod releases;
pub mod server;

pub use server::HttpLimits;
pub use tracker_server::{TrackerServer, TrackerServerError, reachable};
