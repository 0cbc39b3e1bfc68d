"""Payloads that all tests share, the publishers of single tests, and the network they live in."""

import contextlib
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


@pytest.fixture
def publisher(tmp_path):
    """`publisher(path, address, format_name)` starts a publisher of its own for the test: no peer of another test is known."""
    with contextlib.ExitStack() as running:

        def start(path, address, format_name):
            options = ["--format", format_name]
            server = publish(path, folder=tmp_path / "publish", listen=joined(address, 0), options=options)
            return running.enter_context(server)

        yield start
