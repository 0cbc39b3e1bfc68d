//! Peers on loopback that do as their script says.

use std::net::SocketAddr;
use std::sync::Arc;

use hash::{InfoHash, sha1, sha256};
use metainfo::{BLOCK_SIZE, Builder, CreateOptions, FileHashes, NewFile, PieceHashes, Torrent, Version, merkle};
use swarm::{HashAnswer, HashTrees};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wire::{
    ExtensionHandshake, Handshake, Limits, Message, MetadataMessage, Parsed, PeerExtensions, PeerId, PexFlags,
    Reserved, encode_pex,
};

/// What a peer does.
#[derive(Clone, Debug)]
pub(super) enum Script {
    /// Gives everything that it is asked for, under both names.
    Honest,
    /// The same, under this name alone, as a client that knows no other version.
    Named(InfoHash),
    /// Answers a v1 handshake by the v2 name, where it may.
    Upgrades,
    /// Hangs up on the second connection, as if the first one still stood.
    HangsUpOnce,
    /// Gives metadata and refuses hashes.
    NoHashes,
    /// Accepts and says nothing.
    Mute,
    /// Greets, offers metadata and gives none.
    Silent,
    /// Every byte of the metadata is wrong.
    WrongMetadata,
    /// Says that the metadata measures this much.
    Size(u32),
    /// Every hash is wrong.
    WrongHashes,
    /// Answers every request with a rejection.
    Rejects,
    /// Sends these bytes instead of a handshake.
    Bytes(Vec<u8>),
    /// Sends these bytes after the handshake.
    After(Vec<u8>),
    /// Has no metadata and tells of another peer.
    Tells(SocketAddr),
}

/// A peer that listens until the runtime ends.
pub(super) async fn peer(torrent: &Arc<Torrent>, script: Script) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let torrent = Arc::clone(torrent);
    tokio::spawn(async move {
        let mut met = 0;
        while let Ok((stream, _)) = listener.accept().await {
            met += 1;
            if met == 2 && matches!(script, Script::HangsUpOnce) {
                continue;
            }
            let (torrent, script) = (Arc::clone(&torrent), script.clone());
            tokio::spawn(async move {
                // The other side ends the connection when it likes.
                let _ = Peer { stream, torrent, script, trees: HashTrees::default() }.serve().await;
            });
        }
    });
    address
}

struct Peer {
    stream: TcpStream,
    torrent: Arc<Torrent>,
    script: Script,
    trees: HashTrees,
}

impl Peer {
    async fn serve(mut self) -> std::io::Result<()> {
        let mut greeting = [0; wire::HANDSHAKE_SIZE];
        self.stream.read_exact(&mut greeting).await?;
        let theirs = wire::parse_handshake(&greeting).unwrap().unwrap();
        match &self.script {
            Script::Mute => {
                // Until the other side gives up.
                let _ = self.stream.read(&mut greeting).await;
                return Ok(());
            }
            Script::Bytes(bytes) => return self.stream.write_all(bytes).await,
            Script::Named(name) if *name != theirs.info_hash => return Ok(()),
            _ => {}
        }
        if !self.torrent.info_hashes().any(|name| name == theirs.info_hash) {
            return Ok(());
        }
        self.greet(&theirs).await?;
        self.answer_all().await
    }

    async fn greet(&mut self, theirs: &Handshake) -> std::io::Result<()> {
        let reserved = Reserved::EXTENDED.with(Reserved::FAST);
        let v2 = self.torrent.info_hash_v2().map(InfoHash::from);
        let upgrades = matches!(self.script, Script::Upgrades) && theirs.reserved.has(Reserved::V2);
        let info_hash = v2.filter(|_| upgrades).unwrap_or(theirs.info_hash);
        let ours = Handshake { reserved, info_hash, peer_id: PeerId(*b"-XX0001-scripted....") };
        let mut out = ours.encode().to_vec();
        let metadata_size = match self.script {
            Script::Size(size) => Some(size),
            Script::Tells(_) => None,
            _ => Some(self.torrent.info_bytes().len() as u32),
        };
        // A bitfield of which nobody knows whether it is right comes first.
        Message::Bitfield(&vec![0xff; self.torrent.layout().piece_count().div_ceil(8) as usize]).encode(&mut out);
        ExtensionHandshake {
            metadata_size,
            wants_metadata: metadata_size.is_none(),
            takes_pex: true,
            upload_only: true,
            request_queue_limit: 100,
            client: "script",
            your_ip: None,
            listen_port: None,
        }
        .encode(&mut out);
        match &self.script {
            Script::After(bytes) => out.extend_from_slice(bytes),
            Script::Tells(other) => encode_pex(wire::UT_PEX_ID, &[(*other, PexFlags::SEED)], &[], &mut out),
            _ => {}
        }
        self.stream.write_all(&out).await
    }

    async fn answer_all(&mut self) -> std::io::Result<()> {
        let limits = Limits::seed(self.torrent.layout().piece_count());
        let (mut received, mut extensions) = (Vec::new(), PeerExtensions::default());
        loop {
            let mut out = Vec::new();
            while let Parsed::Message { message, consumed } = wire::parse(&received, &limits).unwrap() {
                match message {
                    Message::Extended { id: 0, payload } => extensions.update(payload).unwrap(),
                    Message::Extended { payload, .. } => {
                        self.answer_metadata(extensions.ut_metadata.unwrap(), payload, &mut out);
                    }
                    Message::HashRequest(request) => self.answer_hashes(request, &mut out),
                    _ => {}
                }
                received.drain(..consumed);
            }
            self.stream.write_all(&out).await?;
            if self.stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        }
    }

    fn answer_metadata(&self, id: u8, payload: &[u8], out: &mut Vec<u8>) {
        let Some(MetadataMessage::Request { piece }) = MetadataMessage::parse(payload).unwrap() else { return };
        let info = self.torrent.info_bytes();
        let wrong = vec![b'x'; info.len()];
        let named = |size: u32| vec![b'x'; size as usize];
        let source = match self.script {
            Script::Silent => return,
            Script::Rejects => return MetadataMessage::Reject { piece }.encode(id, out),
            Script::WrongMetadata => &wrong[..],
            Script::Size(size) => &named(size)[..],
            _ => info,
        };
        let Some(data) = wire::metadata_piece(source, piece) else { return };
        MetadataMessage::Data { piece, total_size: data.len() as u32, data }.encode(id, out);
    }

    fn answer_hashes(&mut self, request: wire::HashRequest, out: &mut Vec<u8>) {
        let HashAnswer::Hashes(hashes) = self.trees.plan(&self.torrent, &request) else { panic!("{request:?}") };
        let mut bytes: Vec<u8> = hashes.iter().flat_map(|digest| digest.0).collect();
        match self.script {
            Script::Silent => return,
            Script::Rejects | Script::NoHashes => return Message::HashReject(request).encode(out),
            Script::WrongHashes => bytes[7] ^= 1,
            _ => {}
        }
        Message::Hashes { request, hashes: &bytes }.encode(out);
    }
}

/// A torrent of files of these many pieces of one block; its content exists nowhere.
pub(super) fn torrent(version: Version, pieces: &[u64]) -> Arc<Torrent> {
    let options = CreateOptions {
        name: "release".into(),
        version,
        piece_length: Some(BLOCK_SIZE),
        trackers: vec![vec!["http://tracker.example/announce".into()]],
        web_seeds: vec!["http://web.example/pub".into()],
        is_private: false,
        comment: None,
        source: None,
        created_by: None,
        creation_date: None,
    };
    let file = |(index, count): (usize, &u64)| {
        let length = count * u64::from(BLOCK_SIZE);
        NewFile { components: vec![format!("file {index}")], length, ..NewFile::default() }
    };
    let builder = Builder::new(options, pieces.iter().enumerate().map(file).collect()).unwrap();
    let layout = builder.layout();
    let files = layout.file_indices().filter(|file| layout.file(*file).length() > 0 && !layout.file(*file).is_pad());
    let tree = |file| {
        let leaves: Vec<_> = (0..layout.file_pieces(file).len()).map(|leaf| sha256(&leaf.to_be_bytes())).collect();
        let layer = merkle::piece_layer_from_leaves(&leaves, BLOCK_SIZE);
        FileHashes { file, root: merkle::root_of_leaves(&leaves), layer }
    };
    let hashes = PieceHashes {
        v1: layout.pieces().map(|piece| sha1(&piece.get().to_be_bytes())).collect(),
        v2: files.map(tree).collect(),
    };
    Arc::new(Torrent::parse(&builder.finish(&hashes).unwrap()).unwrap())
}

/// Gives this metadata to one peer, whatever it asks under.
pub(super) async fn give(listener: TcpListener, info: &[u8]) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut greeting = [0; wire::HANDSHAKE_SIZE];
    stream.read_exact(&mut greeting).await.unwrap();
    let theirs = wire::parse_handshake(&greeting).unwrap().unwrap();
    let mut out = Handshake { peer_id: PeerId([9; 20]), ..theirs }.encode().to_vec();
    ExtensionHandshake {
        metadata_size: Some(info.len() as u32),
        wants_metadata: false,
        takes_pex: false,
        upload_only: true,
        request_queue_limit: 100,
        client: "script",
        your_ip: None,
        listen_port: None,
    }
    .encode(&mut out);
    // It knows what it will be asked for.
    MetadataMessage::Data { piece: 0, total_size: info.len() as u32, data: info }
        .encode(wire::UT_METADATA_ID, &mut out);
    stream.write_all(&out).await.unwrap();
    while stream.read_buf(&mut out).await.is_ok_and(|count| count > 0) {}
}
