//! The node's state on disk: read at the start, replaced whole now and then and at the end.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use dht::Dht;

/// One byte more than the node reads, so that it sees that there is too much.
const READ_BYTES: u64 = dht::limits::MAX_STATE_BYTES as u64 + 1;

/// Gives the node what a former run left. Without it, or if it is damaged, the node begins anew.
pub(super) fn load(path: &Path, dht: &mut Dht) {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(READ_BYTES).read_to_end(&mut bytes)) {
        Ok(_) => {
            if let Err(error) = dht.import(0, &bytes) {
                tracing::warn!(path = %path.display(), %error, "DHT: the state is damaged, beginning anew");
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "DHT: cannot read the state, beginning anew"),
    }
}

/// Replaces the file, off this thread.
pub(super) async fn save(path: PathBuf, state: Vec<u8>) {
    let written = tokio::task::spawn_blocking(move || storage::write_atomically(&path, &state)).await;
    if let Ok(Err(error)) = written {
        tracing::warn!(%error, "DHT: the state is not kept");
    }
}
