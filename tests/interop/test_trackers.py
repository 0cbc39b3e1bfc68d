"""A foreign tracker between us and the clients, and our tracker between foreign peers."""

import socket
import struct
import urllib.parse
import urllib.request

import libtorrent
import pytest

import clients
from content import assert_same
from libtorrent_session import parameters, quiet_session
from network import LOOPBACK_V4
from opentracker import Opentracker
from process import PATIENCE_SECONDS, wait_until
from spillway import Server, seed, spillway
from torrents import with_trackers

ALLOWED, FOREIGN = "0" * 39 + "1", "0" * 39 + "2"
PEER_ID = b"-PT0001-000000000000"
# BEP 15.
UDP_PROTOCOL = 0x41727101980
CONNECT, ANNOUNCE, ERROR = 0, 1, 3


@pytest.mark.parametrize("client", (clients.Libtorrent, clients.Webtorrent), ids=lambda client: client.name)
@pytest.mark.parametrize("scheme", ("http", "udp"))
def test_clients_find_a_seed_that_announces_to_opentracker(scheme, client, payloads, tmp_path):
    source = payloads["names"]
    plain = tmp_path / "plain.torrent"
    spillway("create", source, "-o", plain)
    hashes = libtorrent.load_torrent_file(str(plain)).info_hashes
    # opentracker knows a v2 swarm by its truncated hash.
    swarms = [str(hashes.v1), str(hashes.v2)[:40]]
    with Opentracker(swarms, tmp_path / "opentracker.log") as tracker:
        torrent = with_trackers(plain, [tracker.url(scheme)], tmp_path / "foreign.torrent")
        with seed(torrent, data=source.parent, folder=tmp_path / "seed"):
            client.download(torrent, tmp_path / "into", LOOPBACK_V4)
    assert_same(source, tmp_path / "into" / source.name)


@pytest.mark.parametrize("scheme", ("http", "udp"))
def test_foreign_peers_find_each_other_by_our_tracker(scheme, payloads, tmp_path):
    source = payloads["names"]
    plain = tmp_path / "plain.torrent"
    spillway("create", source, "-o", plain, "--format", "v1")
    with Server("tracker", "--open", folder=tmp_path / "tracker") as tracker:
        (url,) = tracker.trackers(scheme)
        torrent = with_trackers(plain, [url], tmp_path / "ours.torrent")
        session = quiet_session(LOOPBACK_V4)
        seeding = session.add_torrent(parameters(torrent, source.parent))
        wait_until("the foreign seed has checked its files", lambda: seeding.status().is_seeding)
        wait_until("it has announced", lambda: _announced(seeding))
        clients.Aria2.download(torrent, tmp_path / "into", LOOPBACK_V4)
    assert_same(source, tmp_path / "into" / source.name)


@pytest.mark.parametrize("scheme", ("http", "udp"))
def test_a_torrent_that_is_not_allowed_is_refused_with_the_reason(scheme, tmp_path):
    allowed = tmp_path / "allowed"
    allowed.write_text(f"{ALLOWED}\n", encoding="ascii")
    with Server("tracker", "--allow", allowed, folder=tmp_path / "tracker") as tracker:
        (url,) = tracker.trackers(scheme)
        ask = _failure_by_http if scheme == "http" else _failure_by_udp
        assert ask(url, bytes.fromhex(ALLOWED)) is None
        assert "not registered" in ask(url, bytes.fromhex(FOREIGN))


def _announced(handle):
    trackers = handle.trackers()
    # After an announce the tracker is verified: it has answered.
    return any(tracker["verified"] for tracker in trackers)


def _failure_by_http(url, info_hash):
    """Announces and gives the failure reason, if any (BEP 3)."""
    fields = {"info_hash": info_hash, "peer_id": PEER_ID, "port": 1, "uploaded": 0, "downloaded": 0, "left": 1}
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(fields)}", timeout=PATIENCE_SECONDS) as reply:
        return libtorrent.bdecode(reply.read()).get(b"failure reason", b"").decode() or None


def _failure_by_udp(url, info_hash):
    """Connects, announces and gives the error message, if any (BEP 15)."""
    parts = urllib.parse.urlsplit(url)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(PATIENCE_SECONDS)
        udp.connect((parts.hostname, parts.port))
        udp.send(struct.pack(">QII", UDP_PROTOCOL, CONNECT, 1))
        (connection,) = struct.unpack(">Q", udp.recv(2048)[8:16])
        announce = struct.pack(">QII20s20sQQQIIIiH", connection, ANNOUNCE, 2, info_hash, PEER_ID, 0, 1, 0, 0, 0, 0, -1, 1)
        udp.send(announce)
        reply = udp.recv(2048)
        action, transaction = struct.unpack(">II", reply[:8])
        assert transaction == 2
        return reply[8:].decode() if action == ERROR else None
