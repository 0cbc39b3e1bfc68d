"""Torrent files as the tests need them: made by other creators, and with other trackers than they came with."""

import libtorrent


def with_trackers(torrent, trackers, target):
    """A copy of `torrent` that announces to `trackers` alone; the info dictionary keeps its bytes."""
    content = libtorrent.bdecode(torrent.read_bytes())
    content.pop(b"announce-list", None)
    content[b"announce"] = trackers[0].encode()
    if len(trackers) > 1:
        content[b"announce-list"] = [[tracker.encode()] for tracker in trackers]
    target.write_bytes(libtorrent.bencode(content))
    return target


def magnet_with_trackers(torrent, trackers):
    """The magnet link of a torrent from the ready file with `trackers` alone."""
    fields = [field for field in torrent.magnet.removeprefix("magnet:?").split("&") if not field.startswith("tr=")]
    return "magnet:?" + "&".join(fields + [f"tr={tracker}" for tracker in trackers])
