//! What is to be told of releases that were withdrawn. Once such a release is forgotten, nothing else in the catalogue tells of
//! it: so its message is kept with the withdrawal itself, in a box, and goes from there to each URL that wants it.

use catalogue::{Change, Delivery, DeliveryNumber};
use settings::WebhookEvent;

use super::message::{Happening, name};
use crate::desk::TorrentLine;

/// Whom messages in the box are for, to the catalogue. A URL is called by digits.
pub(super) const BOX: &str = "withdrawn";

/// The change that puts a message into the box.
pub(crate) fn note(number: DeliveryNumber, line: &TorrentLine, at_s: i64, reason: &str) -> Change {
    let happening = Happening::of_line(WebhookEvent::Withdrawn, line, at_s, Some(reason.to_owned()));
    Change::PutDelivery(Delivery {
        number,
        target: BOX.to_owned(),
        event: name(WebhookEvent::Withdrawn).to_owned(),
        // Nothing of it is served any more, so it does not say where.
        body: happening.body(None),
        queued_at_s: at_s,
        attempts: 0,
        next_try_at_s: at_s,
    })
}
