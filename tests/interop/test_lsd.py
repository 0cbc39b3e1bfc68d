"""Local service discovery (BEP 14) beside libtorrent's: on one network, with nothing else to find peers by."""

import subprocess

import libtorrent
import pytest

from content import assert_same
from getter import Getter
from libtorrent_session import parameters
from network import free_port, joined
from spillway import BINARY, spillway
from process import Process, wait_until
from torrents import described

OURS, THEIRS = "10.88.0.1", "10.88.0.2"
SECONDS = 120


@pytest.fixture(scope="module", autouse=True)
def lan():
    """A network that knows multicast, which loopback does not. It goes with the namespace of these tests."""
    commands = (
        "link add lsd0 type veth peer name lsd1",
        f"address add {OURS}/24 dev lsd0",
        f"address add {THEIRS}/24 dev lsd0",
        "link set lsd0 up",
        "link set lsd1 up",
    )
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)
    yield
    subprocess.run(["ip", "link", "delete", "lsd0"], check=True)


@pytest.fixture
def session():
    """A libtorrent session that finds peers by local service discovery alone."""
    settings = {
        "listen_interfaces": joined(THEIRS, free_port(THEIRS)),
        "outgoing_interfaces": THEIRS,
        "enable_lsd": True,
        "enable_dht": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_incoming_utp": False,
        "enable_outgoing_utp": False,
        "allow_multiple_connections_per_ip": True,
    }
    session = libtorrent.session(settings)
    yield session
    del session


def make(payload, folder):
    target = folder / "release.torrent"
    spillway("create", payload, "-o", target, "--format", "v1")
    return described(target)


def test_libtorrents_seed_is_found_on_the_local_network(session, payloads, tmp_path):
    torrent = make(payloads["image"], tmp_path)
    added = parameters(torrent.torrent_file, payloads["image"].parent)
    handle = session.add_torrent(added)
    wait_until("libtorrent seeds", lambda: handle.status().is_seeding, SECONDS)
    into = tmp_path / "into"
    with Getter(torrent.torrent_file, into, tmp_path, "--no-announce", listen=f"{OURS}:0", lsd=True) as getter:
        getter.complete()
    assert_same(payloads["image"], into / torrent.name)


def test_libtorrent_finds_our_seed_on_the_local_network(session, payloads, tmp_path):
    torrent = make(payloads["image"], tmp_path)
    into = tmp_path / "into"
    into.mkdir()
    handle = session.add_torrent(parameters(torrent.torrent_file, into))
    command = [BINARY, "seed", torrent.torrent_file, "--data", payloads["image"].parent, "--lsd", "--no-announce"]
    command += ["--super-seed", "off", "--listen", f"{OURS}:0", "--state", tmp_path / "state"]
    with Process(command, tmp_path / "seed.log") as seed:
        seed.wait_until("libtorrent has all of it", lambda: handle.status().is_seeding, SECONDS)
    assert_same(payloads["image"], into / torrent.name)
