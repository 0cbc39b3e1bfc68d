//! The daemon: what keeps torrents, publishes trees, follows feeds and answers operators around one engine, and goes on
//! where it was after any end. Composes the floors below; how bytes reach peers, how files are hashed and how rows reach
//! the disk is theirs.
#![forbid(unsafe_code)]

