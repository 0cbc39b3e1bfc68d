//! A peer that wants one block and says how long it took.

use crate::content::Entry;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use wire::{Handshake, Limits, Message, Parsed, PeerId, Reserved};

/// From the connection to the last byte of a block of 16 KiB.
pub(crate) fn first_block(address: SocketAddr, entry: &Entry) -> Duration {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    let reserved = Reserved::FAST.with(Reserved::EXTENDED);
    let handshake = Handshake { reserved, info_hash: entry.info_hashes[0], peer_id: PeerId(*b"-XX0001-idlemeasured") };
    let mut hello = handshake.encode().to_vec();
    Message::HaveNone.encode(&mut hello);
    Message::Interested.encode(&mut hello);
    stream.write_all(&hello).expect("a connection");
    let mut answer = [0; wire::HANDSHAKE_SIZE];
    stream.read_exact(&mut answer).expect("a greeting");
    let (mut received, mut has, mut may_ask, mut asked) = (Vec::new(), None, false, false);
    loop {
        let mut room = [0; 8192];
        let count = stream.read(&mut room).expect("a connection");
        assert!(count > 0, "it goes on to the block");
        received.extend_from_slice(&room[..count]);
        while let Parsed::Message { message, consumed } = wire::parse(&received, &Limits::leech(3)).expect("a message")
        {
            match message {
                // A super-seed tells of one piece first.
                Message::Have { index } => has = has.or(Some(index)),
                Message::HaveAll | Message::Bitfield(_) => has = has.or(Some(0)),
                Message::Unchoke => may_ask = true,
                Message::Piece { .. } => return begun.elapsed(),
                _ => {}
            }
            received.drain(..consumed);
        }
        if let (Some(index), true, false) = (has, may_ask, asked) {
            let mut request = Vec::new();
            Message::Request { index, begin: 0, length: 16 * 1024 }.encode(&mut request);
            stream.write_all(&request).expect("a connection");
            asked = true;
        }
    }
}
