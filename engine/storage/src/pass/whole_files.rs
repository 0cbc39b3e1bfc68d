//! The SHA-256 of whole files, as checksum files and Metalinks give it. Such a hash goes through a file in order, so that a file
//! takes one lane from its first byte to its last, and a lane that is done takes the next file. Why this is not done
//! with the pieces in one read: `decisions/sha-256-of-whole-files.md`.

use arrayvec::ArrayVec;
use hash::{LANES, Sha256Lanes};
use metainfo::FileIndex;

use super::Pass;
use super::group::BUFFER_BYTES;
use super::source::{ColdRead, Source};
use crate::error::StorageError;

/// A file in a lane.
struct InHand {
    file: FileIndex,
    length: u64,
    at: u64,
    /// What the lane's buffer holds this turn.
    size: usize,
}

/// Hashes the files and hands in their digests, unless the pass ends before. `buffer` holds [`BUFFER_BYTES`] for each lane.
pub(super) fn hash_files(pass: &Pass<'_>, source: &mut Source<'_, '_>, buffer: &mut [u8], files: &[FileIndex]) {
    let mut waiting = files.iter().map(|file| {
        let length = pass.layout.file(*file).length();
        InHand { file: *file, length, at: 0, size: 0 }
    });
    let lane_count = files.len().min(LANES);
    let mut sha256 = Sha256Lanes::new(lane_count);
    let mut lanes: ArrayVec<Option<InHand>, LANES> = (0..lane_count).map(|_| waiting.next()).collect();
    while lanes.iter().any(Option::is_some) {
        if pass.is_over() {
            return;
        }
        if let Err((file, error)) = read_turn(source, buffer, &mut lanes) {
            pass.report(file, error);
            return;
        }
        let of_lane = |(lane, buffer): (&Option<InHand>, _)| -> &[u8] {
            let buffer: &[u8] = buffer;
            &buffer[..lane.as_ref().map_or(0, |lane| lane.size)]
        };
        let inputs: ArrayVec<&[u8], LANES> = lanes.iter().zip(buffer.chunks(BUFFER_BYTES)).map(of_lane).collect();
        sha256.update(&inputs);
        pass.meter.add(inputs.iter().map(|input| input.len() as u64).sum());
        for (index, lane) in lanes.iter_mut().enumerate() {
            let Some(done) = lane.take_if(|lane| lane.at >= lane.length) else { continue };
            pass.hand_in_file(done.file, sha256.finish_lane(index));
            *lane = waiting.next();
        }
    }
}

/// Fills the buffer of every lane with what comes next of its file; what is not in the page cache is asked for all at once.
fn read_turn(
    source: &mut Source<'_, '_>,
    buffer: &mut [u8],
    lanes: &mut [Option<InHand>],
) -> Result<(), (FileIndex, StorageError)> {
    let mut cold: ArrayVec<ColdRead, LANES> = ArrayVec::new();
    for (index, lane) in lanes.iter_mut().enumerate() {
        let Some(lane) = lane else { continue };
        lane.size = (lane.length - lane.at).min(BUFFER_BYTES as u64) as usize;
        let room = &mut buffer[index * BUFFER_BYTES..][..lane.size];
        let left = source.read_now(index, lane.file, lane.at, room).map_err(|error| (lane.file, error))?;
        cold.extend(left.map(|cold| cold.ending_at(lane.size)));
        lane.at += lane.size as u64;
    }
    for read in &cold {
        source.advise(read, u64::MAX);
    }
    for read in cold {
        let room = &mut buffer[read.slot * BUFFER_BYTES + read.at..][..read.size];
        source.read_cold(&read, room).map_err(|error| (read.index, error))?;
    }
    Ok(())
}
