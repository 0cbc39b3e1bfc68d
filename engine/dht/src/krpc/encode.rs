//! Messages to canonical bytes.

use bencode::{DictEncoder, encode_dict};

use crate::address::pack_peer;
use crate::krpc::{Body, Message, Method, Query, Response, Want};

impl Message<'_> {
    /// The datagram.
    pub fn encode(&self) -> Vec<u8> {
        encode_dict(|dict| {
            match &self.body {
                Body::Query(query) => {
                    dict.bytes("y", "q").bytes("q", query.method.name()).dict("a", |args| query.write_arguments(args));
                }
                Body::Response(response) => {
                    dict.bytes("y", "r").dict("r", |body| response.write(body));
                }
                Body::Error(error) => {
                    dict.bytes("y", "e").list("e", |parts| {
                        parts.int(error.code).bytes(error.text);
                    });
                }
            }
            if let Some(address) = self.seen_as {
                let mut packed = Vec::new();
                pack_peer(&mut packed, address);
                dict.bytes("ip", packed);
            }
            if self.read_only {
                dict.int("ro", 1);
            }
            if let Some(version) = self.version {
                dict.bytes("v", version);
            }
            dict.bytes("t", self.transaction);
        })
    }
}

impl Method<'_> {
    fn name(&self) -> &[u8] {
        match self {
            Method::Ping => b"ping",
            Method::FindNode { .. } => b"find_node",
            Method::GetPeers { .. } => b"get_peers",
            Method::AnnouncePeer { .. } => b"announce_peer",
            Method::Unknown(name) => name,
        }
    }
}

impl Query<'_> {
    fn write_arguments(&self, dict: &mut DictEncoder<'_>) {
        dict.bytes("id", self.id.0);
        match &self.method {
            Method::Ping | Method::Unknown(_) => {}
            Method::FindNode { target, want } => {
                dict.bytes("target", target.0);
                write_want(dict, *want);
            }
            Method::GetPeers { info_hash, want } => {
                dict.bytes("info_hash", info_hash.0);
                write_want(dict, *want);
            }
            Method::AnnouncePeer { info_hash, port, implied_port, token } => {
                dict.bytes("info_hash", info_hash.0).int("port", (*port).into()).bytes("token", token);
                dict.int("implied_port", (*implied_port).into());
            }
        }
    }
}

fn write_want(dict: &mut DictEncoder<'_>, want: Option<Want>) {
    let Some(want) = want else { return };
    dict.list("want", |list| {
        if want.v4 {
            list.bytes("n4");
        }
        if want.v6 {
            list.bytes("n6");
        }
    });
}

impl Response<'_> {
    fn write(&self, dict: &mut DictEncoder<'_>) {
        dict.bytes("id", self.id.0);
        for (key, value) in [("nodes", self.nodes), ("nodes6", self.nodes6), ("token", self.token)] {
            if let Some(value) = value {
                dict.bytes(key, value);
            }
        }
        if !self.values.is_empty() {
            dict.list("values", |list| {
                for peer in &self.values {
                    let mut packed = Vec::new();
                    pack_peer(&mut packed, *peer);
                    list.bytes(packed);
                }
            });
        }
    }
}
