//! Announce and scrape as UDP datagrams (BEP 15), with the URL option of BEP 41. All numbers are big-endian. What a
//! connection id means, and when to send a datagram again, is for the sockets' owners.

mod request;
mod response;

pub use request::{Request, RequestError, parse_request, write_announce, write_connect, write_scrape};
pub use response::{
    Response, ResponseError, parse_response, write_announce_response, write_connect_response, write_error_response,
    write_scrape_response,
};

/// Marks a connect request; no connection id is ever this number.
pub const PROTOCOL_ID: u64 = 0x0417_2710_1980;
/// How many torrents one scrape may ask for (BEP 15).
pub const MAX_SCRAPE_HASHES: usize = 74;
/// The largest datagram that is sent or read: what an IPv6 link must carry (1280, RFC 8200) less IPv6 and UDP headers.
pub const MAX_DATAGRAM_BYTES: usize = 1232;

const ACTION_CONNECT: u32 = 0;
const ACTION_ANNOUNCE: u32 = 1;
const ACTION_SCRAPE: u32 = 2;
const ACTION_ERROR: u32 = 3;

/// Takes big-endian fields off the front of a datagram.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*field)
    }

    fn slice(&mut self, size: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.rest.split_at_checked(size)?;
        self.rest = rest;
        Some(field)
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests;
