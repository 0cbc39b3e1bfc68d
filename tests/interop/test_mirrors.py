"""A swarm of our own: mirrors that pull a release at the same moment, find each other, and hardly ask the publisher twice."""

import contextlib
import json
import random

from content import assert_same
from gathering import Gathering
from network import free_port
from process import Process, wait_until
from spillway import BINARY

MIRRORS = 20
SIZE = 6 * 1024 * 1024 + 12_345
# As slow as makes the first copy take seconds.
SEED_RATE = "2MB/s"
COPIES_AT_MOST = 1.3
DONE_SECONDS = 120


def test_twenty_mirrors_get_a_release_for_little_more_than_one_copy(tmp_path):
    release = tmp_path / "release.img"
    release.write_bytes(random.Random(20).randbytes(SIZE))
    with contextlib.ExitStack() as running:
        seed = running.enter_context(Gathering(tmp_path / "seed", release, "127.0.100.1", "--piece-length", "64KiB"))
        mirrors = [running.enter_context(Mirror(n, seed.torrent.torrent_file, tmp_path)) for n in range(1, MIRRORS + 1)]
        seed.begin(MIRRORS, SEED_RATE)
        wait_until("all have it", lambda: all(mirror.is_complete() for mirror in mirrors), DONE_SECONDS)
        copies = seed.given_bytes() / SIZE
        for mirror in mirrors:
            assert_same(release, mirror.into / release.name)
    assert 1 <= copies <= COPIES_AT_MOST, f"{copies:.2f} copies"


class Mirror(Process):
    """`spillway get` at an address of its own, as peers of a swarm have; it seeds on until it is stopped."""

    def __init__(self, number, torrent_file, folder):
        self.into = folder / f"mirror-{number}"
        self.into.mkdir()
        address = f"127.0.200.{number}"
        command = [BINARY, "get", torrent_file, "--output", self.into, "--listen", f"{address}:{free_port(address)}",
                   "--no-dht", "--no-lsd", "--shards", "1", "--upload-limit", SEED_RATE, "--seed-for", "forever", "--json",
                   "--state", folder / f"state-{number}"]
        super().__init__(command, folder / f"mirror-{number}.log")

    def is_complete(self):
        """Whether everything is verified on disk."""
        assert self.exit_code is None, self.log()
        lines = [line for line in self.log().splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]
        return bool(lines) and json.loads(lines[-1])["state"] == "seeding"
