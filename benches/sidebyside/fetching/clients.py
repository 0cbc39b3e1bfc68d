"""The clients that fetch, each as an expert would set it up: TCP alone, nobody found but by the tracker, no file written
twice, and an end of its own once everything is there."""

import pathlib

PARTS = pathlib.Path(__file__).resolve().parent


def spillway(programs, torrent, into, port):
    return [programs.spillway, "get", torrent, "--output", into, "--listen", f"127.0.0.1:{port}", 
            "--state", into.parent / "state"]


def libtorrent(programs, torrent, into, _port):
    return [programs.python, PARTS / "libtorrent_get.py", torrent, into, "127.0.0.1"]


def aria2(_programs, torrent, into, port):
    return ["aria2c", f"--dir={into}", "--no-conf", f"--listen-port={port}", "--enable-dht=false", "--enable-dht6=false",
            "--bt-enable-lpd=false", "--enable-peer-exchange=false", "--seed-time=0", "--file-allocation=falloc",
            "--bt-max-peers=0", "--bt-request-peer-speed-limit=100M", "--disk-cache=64M", "--summary-interval=0",
            "--console-log-level=warn", "--show-console-readout=false", torrent]


def rqbit(programs, torrent, into, port):
    return [programs.rqbit, "--disable-dht", "--disable-upnp-port-forward", "--disable-lsd", "--listen-port", port, "download", "-o", into,
            "--exit-on-finish", torrent]


def transmission(_programs, torrent, into, port):
    finished = into.parent / "finished"
    finished.write_text("#!/bin/sh\nkill -TERM $PPID\n", encoding="ascii")
    finished.chmod(0o755)
    return ["transmission-cli", "-w", into, "-p", port, "-M", "-er", "-D", "-U", "-g", into.parent / "transmission", "-f",
            finished, torrent]


def rtorrent(_programs, torrent, into, port):
    folder = into.parent / "rtorrent"
    (folder / "session").mkdir(parents=True, exist_ok=True)
    settings = folder / "settings.rc"
    settings.write_text(
        f"""
network.bind_address.set = 127.0.0.1
network.local_address.set = 127.0.0.1
system.daemon.set = true
directory.default.set = "{into}"
session.path.set = "{folder}/session"
network.port_range.set = {port}-{port}
network.port_random.set = no
dht.mode.set = disable
protocol.pex.set = no
trackers.use_udp.set = no
protocol.encryption.set = none
pieces.memory.max.set = 256M
pieces.hash.on_completion.set = no
throttle.global_down.max_rate.set_kb = 0
method.set_key = event.download.finished, end, "system.shutdown.quick="
load.start = "{torrent}"
""",
        encoding="utf-8",
    )
    return ["rtorrent", "-n", "-o", f"import={settings}"]


ALL = {
    "spillway": spillway,
    "libtorrent": libtorrent,
    "aria2": aria2,
    "rqbit": rqbit,
    "transmission": transmission,
    "rtorrent": rtorrent,
}
# They end in this way when they are told to end from within.
KILLED_BY_ITSELF = {"transmission"}
