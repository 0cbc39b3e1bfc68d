//! The daemon: what keeps torrents, publishes trees, follows feeds and answers operators around one engine, and goes on
//! where it was after any end. Composes the floors below; how bytes reach peers, how files are hashed and how rows reach
//! the disk is theirs.
#![forbid(unsafe_code)]

pub mod allow_list;
pub mod desk;
pub mod outputs;
pub mod publisher;
pub mod subscribe;
pub mod webhooks;

mod clock;
mod cores;
mod engine_config;
mod feeds;
mod http;
mod operate;
mod reload;
mod running;
mod schedule;
mod service;
mod systemd;

pub use service::{Listening, Options, Reread, Service, ServiceError, SetLogFilter};
