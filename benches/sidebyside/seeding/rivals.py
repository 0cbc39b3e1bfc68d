"""Seeders, each set up as an expert would for one release and thousands of peers.

For all: unlimited slots and rate, thousands of peers in all, no DHT, PEX, LSD, uTP or encryption, no tracker, content
verified or trusted before measuring. `start(content, folder, port, cores)` gives the running process; the probe tells
when it serves.
"""

import json
import pathlib
import shutil
import sys

from . import network
from .process import Process

PEERS = 10_000


class Spillway:
    name = "spillway"

    def __init__(self, program, shards=1):
        self.program = program
        self.version = [program, "--version"]
        self.shards = shards

    def start(self, content, folder, port, cores):
        return Process(
            [
                self.program,
                "seed",
                content.torrent,
                "--data",
                content.folder,
                "--listen",
                f"127.0.0.1:{port}",
                "--state",
                folder / "state",
                "--shards",
                self.shards,
                # The load has nothing and passes nothing on, like no real swarm; without this it would be super-seeded.
                "--super-seed",
                "off",
            ],
            folder / "spillway.log",
            cores,
            env={"HOME": str(folder)},
        )


class Libtorrent:
    """A session of its own in a Python process; Python sleeps while it serves."""

    name = "libtorrent"

    def __init__(self, python):
        self.program = python
        self.version = [python, "-c", "import libtorrent; print(libtorrent.__version__)"]

    def start(self, content, folder, port, cores):
        return Process(
            [
                self.program,
                pathlib.Path(__file__).with_name("libtorrent_seed.py"),
                content.torrent,
                content.folder,
                port,
            ],
            folder / "libtorrent.log",
            cores,
        )


class Rtorrent:
    name = "rtorrent"
    version = ("rtorrent", "-h")

    def start(self, content, folder, port, cores):
        (folder / "session").mkdir()
        settings = folder / "settings.rc"
        settings.write_text(
            f"""
system.daemon.set = true
directory.default.set = "{content.folder}"
session.path.set = "{folder}/session"
network.bind_address.set = 127.0.0.1
network.port_range.set = {port}-{port}
network.port_random.set = no
network.listen.backlog.set = 4096
network.max_open_sockets.set = {PEERS}
network.max_open_files.set = 256
network.send_buffer.size.set = 4M
network.receive_buffer.size.set = 1M
throttle.global_up.max_rate.set = 0
throttle.global_down.max_rate.set = 0
throttle.max_uploads.set = {PEERS}
throttle.max_uploads.global.set = 0
throttle.max_peers.normal.set = {PEERS}
throttle.max_peers.seed.set = {PEERS}
throttle.min_peers.seed.set = 1
pieces.memory.max.set = 4096M
pieces.hash.on_completion.set = no
dht.mode.set = disable
protocol.pex.set = no
protocol.encryption.set = none
trackers.use_udp.set = no
""",
            encoding="utf-8",
        )
        return Process(
            ["rtorrent", "-n", "-o", f"import={settings}", content.torrent],
            folder / "rtorrent.log",
            cores,
            env={"HOME": str(folder), "TERM": "dumb"},
        )


class Aria2:
    name = "aria2"
    version = ("aria2c", "--version")

    def start(self, content, folder, port, cores):
        return Process(
            [
                "aria2c",
                "--no-conf",
                f"--dir={content.folder}",
                f"--listen-port={port}",
                "--interface=127.0.0.1",
                "--disable-ipv6=true",
                "--enable-dht=false",
                "--enable-dht6=false",
                "--bt-enable-lpd=false",
                "--enable-peer-exchange=false",
                "--bt-max-peers=0",
                "--max-overall-upload-limit=0",
                "--max-upload-limit=0",
                "--seed-ratio=0.0",
                "--bt-seed-unverified=true",
                "--check-integrity=false",
                "--allow-overwrite=false",
                "--file-allocation=none",
                "--bt-detach-seed-only=false",
                "--event-poll=epoll",
                "--min-tls-version=TLSv1.2",
                "--summary-interval=0",
                "--show-console-readout=false",
                "--console-log-level=error",
                f"--rlimit-nofile={PEERS + 1_000}",
                content.torrent,
            ],
            folder / "aria2.log",
            cores,
            env={"HOME": str(folder)},
        )


class Transmission:
    name = "transmission"
    version = ("transmission-daemon", "--version")

    def start(self, content, folder, port, cores):
        settings = {
            "bind-address-ipv4": "127.0.0.1",
            "peer-port": port,
            "peer-limit-global": PEERS,
            "peer-limit-per-torrent": PEERS,
            "upload-slots-per-torrent": PEERS,
            "speed-limit-up-enabled": False,
            "speed-limit-down-enabled": False,
            "alt-speed-enabled": False,
            "ratio-limit-enabled": False,
            "idle-seeding-limit-enabled": False,
            "seed-queue-enabled": False,
            "dht-enabled": False,
            "lpd-enabled": False,
            "pex-enabled": False,
            "utp-enabled": False,
            "port-forwarding-enabled": False,
            # Prefers plain connections.
            "encryption": 0,
            "download-dir": str(content.folder),
            "incomplete-dir-enabled": False,
            "rename-partial-files": False,
            "prefetch-enabled": True,
            "cache-size-mb": 64,
            "message-level": 1,
            "rpc-enabled": False,
            "watch-dir": str(folder / "watch"),
            "watch-dir-enabled": True,
        }
        (folder / "watch").mkdir()
        shutil.copy(content.torrent, folder / "watch")
        (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        return Process(
            ["transmission-daemon", "--foreground", "--config-dir", folder],
            folder / "transmission.log",
            cores,
            env={"HOME": str(folder)},
        )


class Rqbit:
    name = "rqbit"

    def __init__(self, program):
        self.program = program
        self.version = [program or "rqbit", "--version"]

    def start(self, content, folder, port, cores):
        # It ends peers from whom it reads nothing for ten seconds, unless told to wait.
        return Process(
            [
                self.program,
                "-v",
                "warn",
                "--worker-threads",
                len(cores or (0, 1)),
                "--disable-dht",
                "--disable-dht-persistence",
                "--disable-lsd",
                "--disable-trackers",
                "--disable-upnp-port-forward",
                "--ipv4-only",
                "--listen-ip",
                "127.0.0.1",
                "--listen-port",
                port,
                "--peer-limit",
                PEERS,
                "--peer-read-write-timeout",
                "600s",
                "--http-api-listen-addr",
                f"127.0.0.1:{network.free_port()}",
                "download",
                content.torrent,
                "--output-folder",
                content.folder,
                "--overwrite",
            ],
            folder / "rqbit.log",
            cores,
            env={"HOME": str(folder)},
        )


class SendPaths:
    """The floor: one epoll set, one gathered write a turn, and nothing else (engine/shard/examples/send_paths)."""

    name = "floor"
    version = ("true",)

    def __init__(self, program):
        self.program = program

    def start(self, content, folder, port, cores):
        return Process(
            [
                self.program,
                "--path",
                "epoll-sendmsg",
                "--torrent",
                content.torrent,
                "--data",
                content.folder,
                "--listen",
                f"127.0.0.1:{port}",
            ],
            folder / "send_paths.log",
            cores,
        )


def all_of(programs):
    """Every seeder by name; `programs` says where those are that were built or installed here."""
    return {
        seeder.name: seeder
        for seeder in (
            Spillway(programs.spillway),
            Rtorrent(),
            Libtorrent(programs.python or sys.executable),
            Rqbit(programs.rqbit),
            Aria2(),
            Transmission(),
            SendPaths(programs.send_paths),
        )
    }
