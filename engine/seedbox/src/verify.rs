//! Verifying content on every core. Owns the threads; what is compared with what is `storage`.

use std::num::NonZeroUsize;
use std::sync::Arc;

use metainfo::Torrent;
use storage::{Meter, Place, StorageError, VerifyPass, VerifyReport};

use crate::create::on_threads;

/// Why content was not verified. What is wrong with the content is no error but in the report.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The processor, or the build, computes wrong digests.
    #[error(transparent)]
    SelfTest(#[from] hash::SelfTestError),
    /// The caller cancelled.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Compares the content at `place` with the torrent. Hashes with `threads` threads, the caller's among them, or one for
/// each core. `meter` may be watched, and cancelled, from another thread.
pub fn verify(
    torrent: &Torrent,
    place: &Place,
    threads: Option<NonZeroUsize>,
    meter: &Arc<Meter>,
) -> Result<VerifyReport, VerifyError> {
    hash::self_test()?;
    let pass = VerifyPass::new(torrent, place, Arc::clone(meter))?;
    on_threads(threads, || pass.work());
    Ok(pass.finish()?)
}
