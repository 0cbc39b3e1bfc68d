"""Torrent files as the tests need them: made by other creators, and with other trackers than they came with."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import libtorrent

from spillway import spillway

# The block of v2 merkle trees, and the smallest piece that every client takes.
LEAF_BYTES = 16 * 1024


def with_trackers(torrent, trackers, target):
    """A copy of `torrent` that announces to `trackers` alone; the info dictionary keeps its bytes."""
    content = libtorrent.bdecode(Path(torrent).read_bytes())
    content.pop(b"announce-list", None)
    content[b"announce"] = trackers[0].encode()
    if len(trackers) > 1:
        content[b"announce-list"] = [[tracker.encode()] for tracker in trackers]
    target.write_bytes(libtorrent.bencode(content))
    return target


def magnet_for(client, torrent, trackers=None):
    """The magnet link of a torrent from the ready file as the client can read it; with `trackers` alone if given."""
    fields = torrent.magnet.removeprefix("magnet:?").split("&")
    if not client.takes_two_hashes and torrent.info_hash_v1:
        fields = [field for field in fields if not field.startswith("xt=urn:btmh:")]
    if trackers is not None:
        fields = [field for field in fields if not field.startswith("tr=")] + [f"tr={tracker}" for tracker in trackers]
    return "magnet:?" + "&".join(fields)


def described(path):
    """A torrent file as the ready file describes one."""
    shown = json.loads(spillway("show", path, "--json").stdout)
    names = {key: shown[key] for key in ("name", "magnet", "info_hash_v1", "info_hash_v2")}
    return SimpleNamespace(torrent_file=str(path), **names)


def tiny_hybrid(folder, name, content, trackers=()):
    """A hybrid torrent of one small file, whose content is written into `folder`; gives the torrent file's path and info-hash."""
    assert 0 < len(content) <= LEAF_BYTES
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    # One leaf is its own root (BEP 52), and needs no piece layer.
    info = {
        b"file tree": {name.encode(): {b"": {b"length": len(content), b"pieces root": hashlib.sha256(content).digest()}}},
        b"length": len(content),
        b"meta version": 2,
        b"name": name.encode(),
        b"piece length": LEAF_BYTES,
        b"pieces": hashlib.sha1(content).digest(),
    }
    torrent = {b"info": info, b"piece layers": {}}
    if trackers:
        torrent[b"announce-list"] = [[tracker.encode()] for tracker in trackers]
    path = folder / f"{name}.torrent"
    path.write_bytes(libtorrent.bencode(torrent))
    return path, hashlib.sha1(libtorrent.bencode(info)).hexdigest()
