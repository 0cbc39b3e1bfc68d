"""Payloads and publishers that many tests share, and the network they live in."""

import shutil

import pytest

import content
import network
from network import joined
from spillway import BINARY, publish

NEEDED = ("aria2c", "transmission-daemon", "transmission-create", "rtorrent", "mktorrent", "opentracker", "node", "ip")


def pytest_sessionstart(session):
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        pytest.exit(f"not installed: {', '.join(missing)}; tests/all installs them", returncode=2)
    if not BINARY.exists():
        pytest.exit(f"{BINARY} does not exist; build it with `cargo build --release`, or set SPILLWAY_BIN", returncode=2)
    try:
        network.enter()
    except OSError as error:
        pytest.exit(f"no network namespace: {error}; run as root, or allow user namespaces", returncode=2)


@pytest.fixture(scope="session")
def payloads(tmp_path_factory):
    """`kind -> path` of what is published."""
    folder = tmp_path_factory.mktemp("payloads")
    return {
        "image": content.make_image(folder),
        "tree": content.make_tree(folder),
        "names": content.make_names(folder),
    }


@pytest.fixture(scope="session")
def publishers(payloads, tmp_path_factory):
    """`publishers(address, format_name)` gives a running publisher of all payloads; each is started once."""
    running = {}

    def publisher(address, format_name):
        key = (address, format_name)
        if key not in running:
            folder = tmp_path_factory.mktemp("publish")
            options = ["--format", format_name]
            running[key] = publish(*payloads.values(), folder=folder, listen=joined(address, 0), options=options)
        return running[key]

    yield publisher
    for server in running.values():
        server.stop()
