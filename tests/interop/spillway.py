"""The program under test, driven as its users drive it: arguments, the ready file, signals, exit codes."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

from network import LOOPBACK_V4
from process import Process, run

BINARY = Path(os.environ.get("SPILLWAY_BIN") or Path(__file__).parents[2] / "target/release/spillway")
# Hashing the largest payload takes well under a second; the rest is for a busy machine.
READY_SECONDS = 60


def spillway(*arguments, check=True):
    """Runs a verb that ends by itself."""
    return run(BINARY, *arguments, check=check)


class Server(Process):
    """`spillway publish`, `seed` or `tracker`, ready for peers once constructed."""

    def __init__(self, verb, *arguments, folder, listen=f"{LOOPBACK_V4}:0"):
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob(f"{verb}-*.log")))
        ready_file = folder / f"{verb}-{number}.ready.json"
        command = [BINARY, verb, *arguments, "--listen", listen, "--ready-file", ready_file]
        super().__init__(command, folder / f"{verb}-{number}.log")
        try:
            self.wait_until("it is ready", ready_file.exists, READY_SECONDS)
        except BaseException:
            self.stop()
            raise
        self.ready = json.loads(ready_file.read_text(encoding="utf-8"))

    @property
    def torrents(self):
        """`name -> torrent` as the ready file tells it."""
        return {torrent["name"]: SimpleNamespace(**torrent) for torrent in self.ready["torrents"]}

    @property
    def torrent(self):
        """The only torrent."""
        (torrent,) = self.torrents.values()
        return torrent

    def trackers(self, scheme):
        """The announce URLs of our tracker with that scheme."""
        return [url for url in self.ready["tracker"] if url.startswith(f"{scheme}:")]

    @property
    def address(self):
        """`(host, port)` of the first listener."""
        host, port = self.ready["listen"][0].rsplit(":", 1)
        return host.strip("[]"), int(port)


def publish(*paths, folder, listen=f"{LOOPBACK_V4}:0", options=()):
    """`spillway publish` with its tracker on the same address as its peers."""
    address = listen.rsplit(":", 1)[0]
    state = folder / "state"
    arguments = [*paths, "--tracker-listen", f"{address}:0", "--state", state, *options]
    return Server("publish", *arguments, folder=folder, listen=listen)


def seed(*torrents, data, folder, listen=f"{LOOPBACK_V4}:0", options=()):
    """`spillway seed`."""
    return Server("seed", *torrents, "--data", data, *options, folder=folder, listen=listen)
