//! The extension protocol (BEP 10): the handshake, and metadata for peers that came by a magnet link (BEP 9).

use super::{Fault, Opening, Ours, Reaction, Session};
use crate::limits::{METADATA_COPIES_LIMIT, REQUEST_QUEUE_LIMIT};
use metainfo::Torrent;
use std::time::Duration;
use wire::{ExtensionHandshake, MetadataMessage, Reserved, UT_METADATA_ID, metadata_piece};

impl Session {
    pub(super) fn say_extensions(&self, opening: &Opening<'_>, out: &mut Vec<u8>) {
        if !self.shared.has(Reserved::EXTENDED) {
            return;
        }
        ExtensionHandshake {
            metadata_size: u32::try_from(opening.torrent.info_bytes().len()).ok(),
            wants_metadata: false,
            takes_pex: opening.takes_pex,
            upload_only: opening.ours == Ours::Everything,
            request_queue_limit: REQUEST_QUEUE_LIMIT as u32,
            client: opening.client,
            your_ip: Some(opening.address),
            listen_port: opening.listen_port,
        }
        .encode(out);
    }

    pub(super) fn handle_extended(
        &mut self,
        now: Duration,
        id: u8,
        payload: &[u8],
        torrent: &Torrent,
        out: &mut Vec<u8>,
    ) -> Result<Reaction, Fault> {
        self.noise.add(now)?;
        match id {
            0 => self.extensions.get_or_insert_default().update(payload)?,
            UT_METADATA_ID => self.handle_metadata(payload, torrent, out)?,
            // Ids that we never gave out, and what seeds have no use for.
            _ => {}
        }
        Ok(Reaction::None)
    }

    fn handle_metadata(&mut self, payload: &[u8], torrent: &Torrent, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(MetadataMessage::Request { piece }) = MetadataMessage::parse(payload)? else { return Ok(()) };
        // Answers go under the id that the peer chose; one that has chosen none cannot be answered.
        let Some(their_id) = self.extensions.as_ref().and_then(|extensions| extensions.ut_metadata) else {
            return Ok(());
        };
        let info = torrent.info_bytes();
        let allowance = METADATA_COPIES_LIMIT * info.len() as u64;
        match metadata_piece(info, piece) {
            Some(data) if self.metadata_sent_bytes + data.len() as u64 <= allowance => {
                self.metadata_sent_bytes += data.len() as u64;
                MetadataMessage::Data { piece, total_size: info.len() as u32, data }.encode(their_id, out);
            }
            _ => MetadataMessage::Reject { piece }.encode(their_id, out),
        }
        Ok(())
    }
}
