"""The clients that fetch, each as an expert would set it up: TCP alone, nobody found but by the tracker, no file written
twice, and an end of its own once everything is there."""

import pathlib

PARTS = pathlib.Path(__file__).resolve().parent


def spillway(programs, torrent, into, home, port):
    return [programs.spillway, "get", torrent, "--output", into, "--listen", f"{home}:{port}", "--no-dht", "--no-lsd",
            "--state", into.parent / "state"]


def libtorrent(programs, torrent, into, home, _port):
    return [programs.python, PARTS / "libtorrent_get.py", torrent, into, home]


def aria2(_programs, torrent, into, _home, port):
    return ["aria2c", f"--dir={into}", "--no-conf", f"--listen-port={port}", "--enable-dht=false", "--enable-dht6=false",
            "--bt-enable-lpd=false", "--enable-peer-exchange=false", "--seed-time=0", "--file-allocation=falloc",
            "--bt-max-peers=0", "--bt-request-peer-speed-limit=100M", "--disk-cache=64M", "--summary-interval=0",
            "--console-log-level=warn", "--show-console-readout=false", torrent]


def rqbit(programs, torrent, into, _home, port):
    return [programs.rqbit, "--disable-dht", "--disable-upnp-port-forward", "--disable-lsd", "--listen-port", port, "download", "-o", into,
            "--exit-on-finish", torrent]


ALL = {
    "spillway": spillway,
    "libtorrent": libtorrent,
    "aria2": aria2,
    "rqbit": rqbit,
}
