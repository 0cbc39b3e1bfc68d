"""What is seeded: one file of random bytes in page cache, and a v1 torrent of it, which every rival can read."""

import ctypes
import hashlib
import mmap
import os
import pathlib
import sys

BLOCK_BYTES = 64 << 20


class Content:
    """`data` lies in `folder` under the torrent's own name, as every client expects it."""

    def __init__(self, folder, size_bytes, piece_bytes, name="release.img"):
        self.folder = pathlib.Path(folder) / "content"
        self.folder.mkdir()
        self.data = self.folder / name
        self.torrent = pathlib.Path(folder) / "release.torrent"
        self.size_bytes = size_bytes
        self.piece_bytes = piece_bytes
        self._write()
        pieces = self._hash()
        info = b"d6:lengthi%de4:name%d:%s12:piece lengthi%de6:pieces%d:%se" % (
            size_bytes,
            len(self.data.name),
            self.data.name.encode(),
            piece_bytes,
            len(pieces),
            pieces,
        )
        self.info_hash = hashlib.sha1(info).digest()
        # Nobody listens there; but rtorrent opens no torrent that names no tracker.
        tracker = b"http://127.0.0.1:9/announce"
        self.torrent.write_bytes(b"d8:announce%d:%s4:info%se" % (len(tracker), tracker, info))

    def _write(self):
        # On disk before anything is measured, so that no write-back runs beside the rounds.
        with open(self.data, "wb") as file:
            left = self.size_bytes
            while left > 0:
                left -= file.write(os.urandom(min(BLOCK_BYTES, left)))
            file.flush()
            os.fsync(file.fileno())

    def _hash(self):
        hashes = []
        with open(self.data, "rb") as file:
            while piece := file.read(self.piece_bytes):
                hashes.append(hashlib.sha1(piece).digest())
        return b"".join(hashes)

    def warm(self):
        """Reads all of it: a cached file that lies idle may be paged out."""
        with open(self.data, "rb", buffering=0) as file:
            buffer = bytearray(BLOCK_BYTES)
            while file.readinto(buffer):
                pass

    def hold(self):
        """Locks it in page cache until this program ends. Some machines page out what is read seldom (DAMON), and a
        load of 2 Gbit/s reads a block of 1 GiB seldom; then it is the disk that is measured."""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
        libc.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        with open(self.data, "rb") as file:
            address = libc.mmap(None, self.size_bytes, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
        if address == ctypes.c_void_p(-1).value or libc.mlock(address, self.size_bytes) != 0:
            reason = os.strerror(ctypes.get_errno())
            print(f"the content cannot be locked in page cache: {reason}; the machine may page it out", file=sys.stderr)

    def at(self, offset, length):
        with open(self.data, "rb", buffering=0) as file:
            return os.pread(file.fileno(), length, offset)

    def equals(self, path):
        """Whether a file holds the same bytes."""
        with open(self.data, "rb", buffering=0) as ours, open(path, "rb", buffering=0) as theirs:
            while True:
                part = ours.read(BLOCK_BYTES)
                if part != theirs.read(BLOCK_BYTES):
                    return False
                if not part:
                    return True
