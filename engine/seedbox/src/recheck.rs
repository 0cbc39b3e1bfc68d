//! Comparing a torrent's content with it once more, on all cores, and what to tell of it. When it is done, and what follows, is
//! control's.

use crate::release::record_fits;
use crate::verify::{VerifyError, verify};
use control::{CheckError, Checked, ContentCheck, PROBLEMS_LIMIT, RecheckReport};
use metainfo::{FileLayout, Torrent};
use std::sync::{Arc, Mutex, PoisonError};
use storage::{Content, Meter, Place, Progress, Seeded, VerifiedRecord, VerifyReport};

/// A check of the content at one place.
pub(crate) struct PlaceCheck {
    place: Place,
    meter: Arc<Meter>,
    /// Held meanwhile: each check takes all threads for itself.
    hashing: Arc<Mutex<()>>,
}

impl PlaceCheck {
    pub(crate) fn new(place: Place, hashing: Arc<Mutex<()>>) -> PlaceCheck {
        PlaceCheck { place, meter: Arc::default(), hashing }
    }
}

impl ContentCheck for PlaceCheck {
    fn check(&self, torrent: &Arc<Torrent>) -> Result<Checked, CheckError> {
        let _turn = self.hashing.lock().unwrap_or_else(PoisonError::into_inner);
        let found = verify(torrent, &self.place, None, &self.meter).map_err(|error| match error {
            VerifyError::SelfTest(error) => CheckError::SelfTest(error),
            VerifyError::Storage(error) => CheckError::Storage(error),
        })?;
        let mut report = describe(torrent.layout(), &found);
        let (Some(files), Some(info_hash)) = (found.verified_files(), torrent.info_hashes().next()) else {
            return Ok(Checked { report, seeded: None });
        };
        let record = VerifiedRecord::new(info_hash, files);
        let content = Content::open(torrent.layout(), &self.place)?;
        if !record_fits(&record, torrent, &content) {
            report.problems.push(format!("{}: changed while it was checked", torrent.layout().name()));
            return Ok(Checked { report, seeded: None });
        }
        report.record = Some(record);
        Ok(Checked { report, seeded: Some(Arc::new(Seeded::new(torrent.clone(), content))) })
    }

    fn progress(&self) -> Progress {
        self.meter.progress()
    }

    fn cancel(&self) {
        self.meter.cancel();
    }
}

/// How much is wrong, and in which files.
fn describe(layout: &FileLayout, found: &VerifyReport) -> RecheckReport {
    let problem_of = |file| found.problems.iter().find(|problem| problem.file == file);
    let line = |file| {
        let bad_count = found.bad_pieces_of(layout, file);
        let path = layout.disk_path(file);
        match problem_of(file) {
            // It names the file by itself.
            Some(problem) => Some(problem.error.to_string()),
            None if bad_count > 0 => Some(format!("{}: {bad_count} bad pieces", path.display())),
            None => None,
        }
    };
    RecheckReport {
        piece_count: found.piece_count,
        bad_count: found.bad_pieces.len() as u32,
        problems: layout.file_indices().filter_map(line).take(PROBLEMS_LIMIT).collect(),
        record: None,
    }
}
