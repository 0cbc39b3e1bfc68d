"""A foreign tracker between us and the clients, and our tracker between foreign peers."""

import libtorrent
import pytest

import clients
from clients.libtorrent_client import parameters, quiet_session
from content import assert_same
from network import LOOPBACK_V4
from opentracker import Opentracker
from process import wait_until
from spillway import Server, seed, spillway
from torrents import with_trackers


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
        (url,) = [url for url in tracker.ready["tracker"] if url.startswith(f"{scheme}:")]
        torrent = with_trackers(plain, [url], tmp_path / "ours.torrent")
        session = quiet_session(LOOPBACK_V4)
        seeding = session.add_torrent(parameters(torrent, source.parent))
        wait_until("the foreign seed has checked its files", lambda: seeding.status().is_seeding)
        wait_until("it has announced", lambda: _announced(seeding))
        clients.Aria2.download(torrent, tmp_path / "into", LOOPBACK_V4)
    assert_same(source, tmp_path / "into" / source.name)


@pytest.mark.parametrize("scheme", ("http", "udp"))
def test_a_torrent_that_is_not_allowed_is_refused_by_name_of_the_reason(scheme, payloads, tmp_path):
    source = payloads["names"]
    plain = tmp_path / "plain.torrent"
    spillway("create", source, "-o", plain, "--format", "v1")
    allowed = tmp_path / "allowed"
    allowed.write_text("0" * 40 + "\n", encoding="ascii")
    with Server("tracker", "--allow", allowed, folder=tmp_path / "tracker") as tracker:
        (url,) = [url for url in tracker.ready["tracker"] if url.startswith(f"{scheme}:")]
        torrent = with_trackers(plain, [url], tmp_path / "ours.torrent")
        session = quiet_session(LOOPBACK_V4)
        session.add_torrent(parameters(torrent, source.parent))

        def failure():
            alerts = [alert for alert in session.pop_alerts() if isinstance(alert, libtorrent.tracker_error_alert)]
            return alerts[0].failure_reason() if alerts else None

        assert wait_until("the announce fails", failure)


def _announced(handle):
    trackers = handle.trackers()
    # After an announce the tracker is verified: it has answered.
    return any(tracker["verified"] for tracker in trackers)
