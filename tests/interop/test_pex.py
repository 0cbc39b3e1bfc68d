"""Peer exchange (BEP 11) beside libtorrent's: peers that know one address find the rest, with no tracker, DHT or multicast."""

import contextlib

import pytest

from content import assert_same
from getter import Getter
from libtorrent_session import parameters, quiet_session
from network import NEARBY_V4, VISITOR_V4
from process import wait_until
from spillway import seed, spillway
from torrents import described

SECONDS = 120
# So slow that nobody is done before it has heard of others.
SLOW_BYTES_PER_S = 64 * 1024


@pytest.fixture
def torrent(payloads, tmp_path):
    """A torrent that names no tracker."""
    target = tmp_path / "release.torrent"
    spillway("create", payloads["image"], "-o", target, "--format", "v1")
    return described(target)


def leech(torrent, into, address, peer):
    """A session that is slow to fetch and knows one peer."""
    session = quiet_session(address)
    added = parameters(torrent.torrent_file, into)
    added.download_limit = SLOW_BYTES_PER_S
    handle = session.add_torrent(added)
    handle.connect_peer(peer)
    return session, handle


def knows(handle, address, port):
    """Whether it is connected to the peer that listens there."""
    return any(peer.ip == (address, port) for peer in handle.get_peer_info())


@pytest.mark.parametrize("super_seed", ["off", "on"])
def test_leeches_of_our_seed_find_each_other(torrent, payloads, tmp_path, super_seed):
    options = ("--no-announce", "--super-seed", super_seed)
    with seed(torrent.torrent_file, data=payloads["image"].parent, folder=tmp_path, listen=f"{NEARBY_V4}:0", options=options) as ours:
        folders = [tmp_path / name for name in ("first", "second")]
        for folder in folders:
            folder.mkdir()
        first, first_handle = leech(torrent, folders[0], NEARBY_V4, ours.address)
        second, second_handle = leech(torrent, folders[1], VISITOR_V4, ours.address)

        def met():
            return knows(first_handle, VISITOR_V4, second.listen_port()) or knows(second_handle, NEARBY_V4, first.listen_port())

        wait_until("one of them has dialled the other", met, SECONDS)
        for handle, folder in zip((first_handle, second_handle), folders):
            handle.set_download_limit(0)
            wait_until("it has all of it", lambda handle=handle: handle.status().is_seeding, SECONDS)
            assert_same(payloads["image"], folder / torrent.name)
        del first, second


def test_our_leech_hears_of_a_seed_from_a_leech(torrent, payloads, tmp_path):
    """It is told of nobody but a leech that has nothing."""
    session = quiet_session(NEARBY_V4)
    handle = session.add_torrent(parameters(torrent.torrent_file, payloads["image"].parent))
    wait_until("libtorrent seeds", lambda: handle.status().is_seeding, SECONDS)
    into = tmp_path / "into"
    (tmp_path / "middle").mkdir()
    with contextlib.ExitStack() as running:
        middle, _ = leech(torrent, tmp_path / "middle", VISITOR_V4, (NEARBY_V4, session.listen_port()))
        peers = [(VISITOR_V4, middle.listen_port())]
        getter = running.enter_context(
            Getter(torrent.torrent_file, into, tmp_path, "--no-announce", peers=peers, listen=f"{VISITOR_V4}:0")
        )
        getter.complete()
    assert_same(payloads["image"], into / torrent.name)
    del session, middle
