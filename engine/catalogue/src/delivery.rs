//! Messages to other programs that wait to be delivered.

/// A delivery's number: larger ones are younger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeliveryNumber(pub i64);

/// A message that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Its number ([`crate::Catalogue::next_delivery`]).
    pub number: DeliveryNumber,
    /// Whom it is for, as the settings name it.
    pub target: String,
    /// What it tells of.
    pub event: String,
    /// What is sent.
    pub body: Vec<u8>,
    /// Since when it waits, in seconds since 1970.
    pub queued_at_s: i64,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub next_try_at_s: i64,
}
