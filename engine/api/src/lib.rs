//! HTTP, and nothing but HTTP: the tracker's announce and scrape endpoints. What an announce does is for the tracker
//! service of `control`.
#![forbid(unsafe_code)]

pub mod http_tracker;
pub mod tracker_server;

pub use tracker_server::{TrackerServer, TrackerServerError};
