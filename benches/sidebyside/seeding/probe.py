"""One peer that asks for one block: whether a seeder listens, unchokes, and sends the right bytes."""

import socket
import struct
import time

PROTOCOL = b"\x13BitTorrent protocol"
FAST = b"\0\0\0\0\0\0\0\x04"
CHOKE, UNCHOKE, INTERESTED, REQUEST, PIECE = 0, 1, 2, 6, 7
BLOCK_BYTES = 16_384
# Not an address of the load: a seeder that takes one connection an address shall not mistake the load for the probe.
SOURCE = "127.0.200.1"
# Some clients unchoke newcomers in rounds of ten seconds.
ANSWER_SECONDS = 25


def serves(port, content):
    """True once a block came whole and right; False while nobody listens or the torrent is not served yet."""
    offset = content.size_bytes // 2 // content.piece_bytes * content.piece_bytes
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS, (SOURCE, 0)) as peer:
            peer.sendall(PROTOCOL + FAST + content.info_hash + b"-SB0100-123456789012")
            if len(_read(peer, 68)) != 68:
                return False
            # Not sooner: aria2 bans a peer that says more before it has answered the handshake.
            peer.sendall(_message(INTERESTED))
            block = _block(peer, offset // content.piece_bytes)
    except OSError:
        return False
    if block is not None and block != content.at(offset, BLOCK_BYTES):
        raise ValueError(f"the seeder on port {port} sends wrong bytes")
    return block is not None


def _block(peer, piece):
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        header = _read(peer, 4)
        if len(header) != 4:
            return None
        body = _read(peer, struct.unpack(">I", header)[0])
        if body[:1] == bytes([UNCHOKE]):
            peer.sendall(_message(REQUEST, struct.pack(">III", piece, 0, BLOCK_BYTES)))
        elif body[:1] == bytes([PIECE]):
            return body[9:]
    return None


def _message(kind, body=b""):
    return struct.pack(">IB", 1 + len(body), kind) + body


def _read(peer, size):
    data = b""
    while len(data) < size:
        part = peer.recv(size - len(data))
        if not part:
            break
        data += part
    return data
