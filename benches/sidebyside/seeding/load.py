"""What is set on a seeder: swarmload, a real client beside it, and iperf3 as the floor of the network itself."""

import json
import os
import pathlib
import shutil
import subprocess
import time

from . import network
from .process import Failed, Process, environment

# A client that shared a core with two thousand peers fetches the rest alone, at full speed.
CLIENT_SECONDS = 180
# Long enough for clients that unchoke every ten seconds.
UNCHOKE_SECONDS = 15
# Connecting, unchoking in rounds of ten seconds, and reporting.
SPARE_SECONDS = 90
IPERF_SECONDS = 5


class Swarm:
    """One run of swarmload, started now. `result()` gives its JSON."""

    def __init__(self, program, content, port, folder, cores, connections, seconds, options=(), pid=None, idle=False):
        self._json = pathlib.Path(folder) / f"swarmload-{connections}.json"
        self._json.unlink(missing_ok=True)
        self._seconds = seconds
        argv = [
            program,
            f"127.0.0.1:{port}",
            "--torrent",
            content.torrent,
            "--connections",
            connections,
            "--duration",
            f"{seconds}s",
            "--sources",
            network.SOURCES,
            "--unchoke-wait",
            f"{UNCHOKE_SECONDS}s",
            "--json",
            self._json,
            "--quiet",
            *options,
        ]
        if pid is not None:
            argv += ["--pid", pid]
        self.process = Process(argv, self._json.with_suffix(".log"), cores, idle=idle)

    def result(self):
        try:
            code = self.process.wait(self._seconds + SPARE_SECONDS)
        finally:
            self.process.stop()
        if code != 0:
            raise Failed(f"swarmload: {self.process.log().strip()}")
        return json.loads(self._json.read_text(encoding="utf-8"))


class Client:
    """libtorrent as a leech of the same seeder; its download is compared byte by byte."""

    def __init__(self, python, content, port, folder, cores, seconds):
        self._content = content
        self._into = pathlib.Path(folder) / "download"
        shutil.rmtree(self._into, ignore_errors=True)
        self._into.mkdir()
        script = pathlib.Path(__file__).with_name("libtorrent_leech.py")
        # Alone it would be done before the load has begun.
        rate = content.size_bytes // (seconds + 10)
        argv = [python, script, content.torrent, self._into, port, rate]
        # It takes what the load leaves of their core, so that its hashing does not pass for the seeder's latency.
        self.process = Process(argv, pathlib.Path(folder) / "client.log", cores, idle=True)

    def bytes_so_far(self):
        """What it says that it has."""
        lines = self.process.log().splitlines()
        return int(lines[-1]) if lines and lines[-1].isdigit() else 0

    def verified(self):
        """Waits for the whole download and compares it."""
        try:
            code = self.process.wait(CLIENT_SECONDS)
            if code != 0:
                raise Failed(f"the client ended with {code}: {self.process.log()}")
            if not self._content.equals(self._into / self._content.data.name):
                raise Failed("the client's download differs from the content")
        finally:
            self.process.stop()
            shutil.rmtree(self._into, ignore_errors=True)


def iperf(folder, sender_cores, receiver_cores, streams):
    """`(Gbit/s, CPU seconds of the sender per GB)` of plain TCP."""
    port = network.free_port()
    with Process(
        ["iperf3", "--server", "--one-off", "--port", port], pathlib.Path(folder) / "iperf3.log", receiver_cores
    ) as server:
        time.sleep(0.3)
        argv = [
            "iperf3",
            "--client",
            "127.0.0.1",
            "--port",
            str(port),
            "--time",
            str(IPERF_SECONDS),
            "--parallel",
            str(streams),
            "--json",
        ]
        child = subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
            preexec_fn=lambda: os.sched_setaffinity(0, sender_cores),
        )
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = status
        server.stop()
    if status != 0:
        raise Failed(f"iperf3: {output.decode(errors='replace')[:300]}")
    sent = json.loads(output)["end"]["sum_sent"]
    return sent["bits_per_second"] / 1e9, (usage.ru_utime + usage.ru_stime) / (sent["bytes"] / 1e9)
