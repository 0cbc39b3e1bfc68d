//! A connection that fetches the metadata as the user of a magnet link does (BEP 9): all pieces of it at once, checked by
//! the info-hash, once a connection.

use wire::{Limits, METADATA_PIECE_SIZE, Message, MetadataMessage, Parsed, UT_METADATA_ID, parse};

use crate::connection::{Progress, Reason};
use crate::content::Content;
use crate::leech::Leech;
use crate::tally::Tally;

/// A fetch under way.
#[derive(Debug)]
pub(crate) struct Fetch {
    limits: Limits,
    held: Vec<u8>,
    skip_bytes: usize,
    info: Vec<u8>,
    /// Which pieces have not come; empty before they were asked for.
    missing: Vec<u32>,
    asked: bool,
}

impl Fetch {
    /// Before the seeder has said that it has metadata.
    pub(crate) fn new(content: &Content) -> Fetch {
        Fetch {
            limits: Limits::seed(content.piece_count()),
            held: Vec::new(),
            skip_bytes: 0,
            info: vec![0; content.info_size() as usize],
            missing: Vec::new(),
            asked: false,
        }
    }

    /// So many bytes came; what is to be said goes to `out`.
    pub(crate) fn read(
        &mut self,
        bytes: &[u8],
        leech: &mut Leech,
        content: &Content,
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> Result<Progress, Reason> {
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let mut start = 0;
        while start < held.len() {
            let passed = self.skip_bytes.min(held.len() - start);
            self.skip_bytes -= passed;
            start += passed;
            match parse(&held[start..], &self.limits).map_err(|error| error.reason())? {
                Parsed::Incomplete { .. } => break,
                Parsed::Skip { consumed, body_bytes, .. } => {
                    start += consumed;
                    self.skip_bytes = body_bytes;
                }
                Parsed::Message { message: Message::Extended { id: UT_METADATA_ID, payload }, consumed } => {
                    self.on_metadata(payload)?;
                    start += consumed;
                }
                Parsed::Message { message, consumed } => {
                    leech.message(&message);
                    start += consumed;
                }
            }
        }
        held.drain(..start);
        self.held = held;
        self.ask(leech, out)?;
        if !self.asked || !self.missing.is_empty() {
            return Ok(Progress::Open);
        }
        match content.is_info(&self.info) {
            true => tally.metadata_good += 1,
            false => tally.metadata_bad += 1,
        }
        tally.metadata_bytes += self.info.len() as u64;
        Ok(Progress::Done)
    }

    /// Asks for all pieces once the seeder has said under which id.
    fn ask(&mut self, leech: &Leech, out: &mut Vec<u8>) -> Result<(), Reason> {
        let (Some(id), false) = (leech.peer.ut_metadata, self.asked) else { return Ok(()) };
        if leech.peer.metadata_size != Some(self.info.len() as u32) {
            return Err("metadata-size");
        }
        self.asked = true;
        self.missing = (0..self.info.len().div_ceil(METADATA_PIECE_SIZE) as u32).collect();
        for &piece in &self.missing {
            MetadataMessage::Request { piece }.encode(id, out);
        }
        Ok(())
    }

    fn on_metadata(&mut self, payload: &[u8]) -> Result<(), Reason> {
        match MetadataMessage::parse(payload).map_err(|error| error.reason())? {
            Some(MetadataMessage::Data { piece, data, .. }) => {
                let Some(place) = self.missing.iter().position(|missing| *missing == piece) else { return Ok(()) };
                let start = piece as usize * METADATA_PIECE_SIZE;
                let end = self.info.len().min(start + METADATA_PIECE_SIZE);
                if data.len() != end - start {
                    return Err("metadata-size");
                }
                self.info[start..end].copy_from_slice(data);
                self.missing.swap_remove(place);
                Ok(())
            }
            Some(MetadataMessage::Reject { .. }) => Err("metadata-rejected"),
            _ => Ok(()),
        }
    }
}
