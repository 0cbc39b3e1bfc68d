"""One measurement: a fresh seeder, the load, one row of figures."""

import pathlib
import shutil
import tempfile
import time

from . import load, network, probe, rivals
from .process import Failed, thread_seconds
from .scenarios import BOTH_CORES

READY_SECONDS = 60
# What busy connections get to be served before others come.
SETTLE_SECONDS = 3

# The columns of the record, after `scenario`, `seeder` and `round`.
COLUMNS = (
    "connections", "unchoked", "lost", "errors", "gbit_s", "cpu_s_per_gb", "user_s_per_gb", "system_s_per_gb", "p50_us", "p90_us", "p99_us", "p999_us",
    "max_us", "schedule_p50_us", "schedule_p99_us", "schedule_p999_us", "jain", "min_peer_mb", "max_peer_mb", "unchoke_p50_ms", "unchoke_p99_ms",
    "unchoke_max_ms", "anonymous_mib", "pss_mib", "load_cpu_s_per_gb", "client_mb_while_loaded", "second_shard_share", "start_s")


class Bench:
    """Holds what every measurement needs."""

    def __init__(self, programs, content, folder, seconds):
        self.programs = programs
        self.content = content
        self.folder = pathlib.Path(folder)
        self.seconds = seconds
        self.seeders = rivals.all_of(programs) | {
            "client": rivals.Spillway(programs.spillway),
            "shards-1": rivals.Spillway(programs.spillway, shards=1),
            "shards-2": rivals.Spillway(programs.spillway, shards=2),
        }

    def row(self, scenario, name):
        """The figures of one seeder in one scenario. Raises Failed if they could not be had."""
        network.set_mtu(scenario.mtu)
        self.content.warm()
        if name.startswith("iperf3"):
            streams = 8 if name.endswith("parallel") else 1
            gbit_s, cpu = load.iperf(self.folder, scenario.seeder_cores, scenario.load_cores, streams)
            return {"connections": streams, "gbit_s": gbit_s, "cpu_s_per_gb": cpu}
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        try:
            return self._seeded(scenario, name, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _seeded(self, scenario, name, folder):
        port = network.free_port()
        started = time.monotonic()
        with self.seeders[name].start(self.content, folder, port, scenario.seeder_cores) as seeder:
            seeder.wait_until("it serves", lambda: probe.serves(port, self.content), READY_SECONDS)
            row = {"start_s": time.monotonic() - started}
            client = busy = None
            try:
                if name == "client":
                    client = load.Client(self.programs.python, self.content, port, folder, scenario.load_cores, self.seconds)
                if scenario.busy:
                    busy = self._swarm(scenario, folder, port, scenario.busy, self.seconds + 2 * SETTLE_SECONDS, ())
                    time.sleep(SETTLE_SECONDS)
                before = thread_seconds(seeder.pid)
                swarm = self._swarm(scenario, folder, port, scenario.connections, self.seconds, scenario.options, seeder.pid)
                row |= figures(swarm.result())
                if scenario.seeder_cores == BOTH_CORES:
                    row |= shares(before, thread_seconds(seeder.pid))
                if client is not None:
                    row["client_mb_while_loaded"] = client.bytes_so_far() / 1e6
                    client.verified()
            finally:
                for other in (busy, client):
                    if other is not None:
                        other.process.stop()
            if not seeder.running():
                raise Failed(f"{name} ended under load: {seeder.log()}")
        return row

    def _swarm(self, scenario, folder, port, connections, seconds, options, pid=None):
        return load.Swarm(self.programs.swarmload, self.content, port, folder, scenario.load_cores, connections, seconds, options, pid)


def figures(run):
    """swarmload's JSON as a flat row."""
    latency, schedule, unchoke = run["latency_us"], run["schedule_latency_us"], run["unchoke_ms"]
    row = {
        "connections": run["connections"]["connected"],
        "unchoked": run["connections"]["unchoked"],
        "lost": run["connections"]["lost"],
        "errors": sum(run["errors"].values()),
        "gbit_s": run["gbit_s"],
        "p50_us": latency["p50"], "p90_us": latency["p90"], "p99_us": latency["p99"], "p999_us": latency["p999"], "max_us": latency["max"],
        "jain": run["fairness"]["jain"],
        "min_peer_mb": run["fairness"]["min_bytes"] / 1e6,
        "max_peer_mb": run["fairness"]["max_bytes"] / 1e6,
        "unchoke_p50_ms": unchoke["p50"], "unchoke_p99_ms": unchoke["p99"], "unchoke_max_ms": unchoke["max"],
        "load_cpu_s_per_gb": run["load"]["cpu_s_per_gb"],
    }
    if schedule is not None:
        row |= {"schedule_p50_us": schedule["p50"], "schedule_p99_us": schedule["p99"], "schedule_p999_us": schedule["p999"]}
    seeder = run["seeder"]
    if seeder is not None:
        gigabytes = run["bytes"] / 1e9
        row |= {
            "cpu_s_per_gb": seeder["cpu_s_per_gb"],
            "anonymous_mib": seeder["anonymous_bytes"] / (1 << 20),
            "pss_mib": seeder["pss_bytes"] / (1 << 20),
        }
        if gigabytes:
            row |= {"user_s_per_gb": seeder["user_s"] / gigabytes, "system_s_per_gb": seeder["system_s"] / gigabytes}
    return row


def shares(before, after):
    """How evenly two shards worked: the lesser one's part of the CPU time of the two busiest threads."""
    spent = sorted((seconds - before.get(name, 0.0) for name, seconds in after.items()), reverse=True)
    if len(spent) < 2 or spent[0] + spent[1] == 0:
        return {}
    return {"second_shard_share": spent[1] / (spent[0] + spent[1])}
