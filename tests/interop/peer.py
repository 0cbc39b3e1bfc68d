"""A plain peer for what a real client hides: when each byte came, and what is served after something went wrong."""

import os
import socket
import struct
import time

BLOCK_BYTES = 16 * 1024
# Blocks asked for ahead, so that the wire never waits for us.
AHEAD = 64
TIMEOUT_SECONDS = 20

CHOKE, UNCHOKE, INTERESTED, BITFIELD, REQUEST, PIECE, EXTENDED = 0, 1, 2, 5, 6, 7, 20


class Peer:
    """A connection that has shaken hands, and is unchoked unless it does not wait for that. Without fast extension: a request is
    answered or forgotten."""

    def __init__(self, address, info_hash, waits=True, source=None):
        self._socket = socket.create_connection(address, TIMEOUT_SECONDS, (source, 0) if source else None)
        self._received = bytearray()
        handshake = b"\x13BitTorrent protocol" + bytes(8) + bytes.fromhex(info_hash) + b"-PT0001-" + os.urandom(12)
        self._socket.sendall(handshake + struct.pack(">IB", 1, INTERESTED))
        answer = self._take(68)
        assert answer[:20] == handshake[:20] and answer[28:48] == handshake[28:48], answer
        while waits and self._message()[0] != UNCHOKE:
            pass

    def ask(self, piece, begin, size=BLOCK_BYTES):
        self._socket.sendall(struct.pack(">IBIII", 13, REQUEST, piece, begin, size))

    def block(self):
        """The next block: `(piece, begin, bytes)`. Raises OSError when the connection ends or nothing comes."""
        while True:
            kind, payload = self._message()
            if kind == PIECE:
                return *struct.unpack(">II", payload[:8]), payload[8:]

    def stream(self, piece_count, piece_bytes, seconds):
        """Reads whole pieces over and over for that long and gives how many bytes came, and in how many seconds."""
        started, total = time.monotonic(), 0
        for size in self.sizes(piece_count, piece_bytes):
            total += size
            if time.monotonic() - started >= seconds:
                return total, time.monotonic() - started

    def sizes(self, piece_count, piece_bytes):
        """Reads whole pieces over and over, and gives the size of each block as it comes."""
        blocks = self._requests(piece_count, piece_bytes)
        for _ in range(AHEAD):
            self.ask(*next(blocks))
        while True:
            yield len(self.block()[2])
            self.ask(*next(blocks))

    def close(self):
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def _requests(piece_count, piece_bytes):
        while True:
            for piece in range(piece_count):
                for begin in range(0, piece_bytes, BLOCK_BYTES):
                    yield piece, begin

    def _message(self):
        size = 0
        while size == 0:
            (size,) = struct.unpack(">I", self._take(4))
        message = self._take(size)
        return message[0], message[1:]

    def _take(self, size):
        while len(self._received) < size:
            received = self._socket.recv(1 << 16)
            if not received:
                raise ConnectionError("the seed closed the connection")
            self._received += received
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken


def is_seeding(address, info_hash):
    """Whether who listens at `address` greets for this torrent and has every piece of it. The number of pieces is not known
    here: a bitfield counts if all of its bytes but the last are full. A refusal comes at once, an answer may have to be loaded."""
    try:
        with socket.create_connection(address, TIMEOUT_SECONDS) as connection:
            handshake = b"\x13BitTorrent protocol" + bytes(8) + bytes.fromhex(info_hash) + b"-PT0001-" + os.urandom(12)
            connection.sendall(handshake)
            stream = connection.makefile("rb")
            if len(stream.read(68)) != 68:
                return False
            while True:
                (size,) = struct.unpack(">I", stream.read(4))
                message = stream.read(size)
                if size > 1 and message[0] == BITFIELD:
                    return message[-1] != 0 and all(byte == 0xFF for byte in message[1:-1])
                if size > 0 and message[0] != EXTENDED:
                    return False
    except (OSError, struct.error):
        return False
