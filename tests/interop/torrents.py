"""Torrent files as the tests need them: made by other creators, and with other trackers than they came with."""

import json
from pathlib import Path
from types import SimpleNamespace

import libtorrent

from spillway import spillway


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
