"""Clients that no one here wrote, as seeds: each checks the content that it is given and serves it until it is stopped.

`Seed(torrent, data, folder, address)` is a context manager; `torrent` is a path, `data` the folder that holds the content under the
torrent's own name, `peer` the `(host, port)` where it serves once it is entered.
"""

import json
import os
import shutil
import sys
from pathlib import Path

from network import LOOPBACK, OFF_LOOPBACK, free_port
from peer import is_seeding
from process import PATIENCE_SECONDS, Process
from torrents import with_trackers

from .rtorrent import Rpc

RQBIT = os.environ.get("RQBIT_BIN") or shutil.which("rqbit")


class Seed:
    """A client's process, ready when it tells a peer that it has every piece."""

    home = LOOPBACK
    formats = ("v1",)

    def __init__(self, torrent, data, folder, address):
        folder.mkdir(parents=True)
        self.peer = (address, free_port(address))
        self._torrent, self._data, self._folder = torrent, data, folder
        self._process = None

    def __enter__(self):
        self._process = Process(self.command(), self._folder / f"{self.name}.log", env=self.env())
        try:
            self.begin(self._process)
            info_hash = self._torrent.info_hash_v1 or self._torrent.info_hash_v2[:40]
            self._process.wait_until("it seeds", lambda: is_seeding(self.peer, info_hash), PATIENCE_SECONDS)
        except BaseException:
            self._process.stop()
            raise
        return self

    def __exit__(self, *_):
        self._process.stop()

    def begin(self, process):
        """What is to be done once the process runs."""

    def env(self):
        return {"HOME": str(self._folder), "TERM": "dumb"}


class LibtorrentSeed(Seed):
    name = "libtorrent"
    formats = ("v1", "v2", "hybrid")

    def command(self):
        script = Path(__file__).with_name("libtorrent_seed.py")
        return [sys.executable, script, self._torrent.torrent_file, self._data, *self.peer]


class Aria2Seed(Seed):
    name = "aria2"

    def command(self):
        host, port = self.peer
        return [
            "aria2c",
            "--no-conf",
            f"--dir={self._data}",
            f"--interface={host}",
            f"--listen-port={port}",
            "--disable-ipv6=true",
            "--enable-dht=false",
            "--enable-dht6=false",
            "--bt-enable-lpd=false",
            "--enable-peer-exchange=false",
            "--check-integrity=true",
            "--seed-ratio=0.0",
            "--file-allocation=none",
            "--summary-interval=0",
            "--show-console-readout=false",
            self._torrent.torrent_file,
        ]


class RtorrentSeed(Seed):
    name = "rtorrent"

    def command(self):
        host, port = self.peer
        (self._folder / "session").mkdir()
        settings = self._folder / "settings.rc"
        settings.write_text(
            f"""
system.daemon.set = true
system.daemon.set = true
directory.default.set = "{self._data}"
session.path.set = "{self._folder}/session"
network.scgi.open_local = "{self._folder}/rpc.socket"
network.bind_address.set = {host}
network.port_range.set = {port}-{port}
network.port_random.set = no
dht.mode.set = disable
protocol.pex.set = no
trackers.use_udp.set = no
protocol.encryption.set = none
""",
            encoding="utf-8",
        )
        return ["rtorrent", "-n", "-o", f"import={settings}"]

    def begin(self, process):
        rpc = Rpc(self._folder / "rpc.socket")
        process.wait_until("its socket answers", rpc.alive)
        # Nobody listens there; but rtorrent opens no torrent that names no tracker.
        named = with_trackers(self._torrent.torrent_file, ["http://127.0.0.1:9/announce"], self._folder / "named.torrent")
        rpc.call("load.start", "", str(named))


class TransmissionSeed(Seed):
    name = "transmission"
    # It never speaks to loopback addresses.
    home = OFF_LOOPBACK

    def command(self):
        host, port = self.peer
        settings = {
            "bind-address-ipv4": host,
            "bind-address-ipv6": "::1",
            "peer-port": port,
            "dht-enabled": False,
            "lpd-enabled": False,
            "pex-enabled": False,
            "utp-enabled": False,
            "port-forwarding-enabled": False,
            "encryption": 0,
            "download-dir": str(self._data),
            "incomplete-dir-enabled": False,
            "rename-partial-files": False,
            "ratio-limit-enabled": False,
            "rpc-enabled": False,
            "watch-dir": str(self._folder / "watch"),
            "watch-dir-enabled": True,
        }
        (self._folder / "watch").mkdir()
        shutil.copy(self._torrent.torrent_file, self._folder / "watch")
        (self._folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        return ["transmission-daemon", "--foreground", "--config-dir", self._folder]


class RqbitSeed(Seed):
    """Not a Debian package, and an hour of compiling: tested where somebody has it."""

    name = "rqbit"

    def command(self):
        host, port = self.peer
        return [
            RQBIT,
            "--disable-dht",
            "--disable-dht-persistence",
            "--disable-lsd",
            "--disable-trackers",
            "--disable-upnp-port-forward",
            "--ipv4-only",
            "--listen-ip",
            host,
            "--listen-port",
            port,
            "--http-api-listen-addr",
            f"{host}:{free_port(host)}",
            "download",
            self._torrent.torrent_file,
            "--output-folder",
            self._data,
            "--overwrite",
        ]


ALL = (LibtorrentSeed, Aria2Seed, RtorrentSeed, TransmissionSeed, RqbitSeed)
