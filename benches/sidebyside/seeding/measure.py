"""One measurement: a fresh seeder, the load, one row of figures."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from . import load, network, probe, rivals
from .process import Failed, thread_seconds
from .scenarios import BOTH_CORES, LOAD_CORE

READY_SECONDS = 60
# What busy connections get to be served before others come.
SETTLE_SECONDS = 3

# The columns of the record, after `scenario`, `seeder` and `round`.
COLUMNS = (
    "version",
    "connections",
    "unchoked",
    "lost",
    "errors",
    "gbit_s",
    "cpu_s_per_gb",
    "user_s_per_gb",
    "system_s_per_gb",
    "p50_us",
    "p90_us",
    "p99_us",
    "p999_us",
    "max_us",
    "schedule_p50_us",
    "schedule_p99_us",
    "schedule_p999_us",
    "jain",
    "min_peer_mb",
    "max_peer_mb",
    "unchoke_p50_ms",
    "unchoke_p99_ms",
    "unchoke_max_ms",
    "all_unchoked_ms",
    "unanswered",
    "depth",
    "anonymous_mib",
    "load_cpu_s_per_gb",
    "client_mb_while_loaded",
    "held_up_share",
    "second_shard_share",
    "start_s",
)


class Bench:
    """Holds what every measurement needs."""

    def __init__(self, programs, content, folder, seconds):
        self.programs = programs
        self.content = content
        content.hold()
        self.folder = pathlib.Path(folder)
        self.seconds = seconds
        # This program only waits; it shall not do so on the seeder's core.
        os.sched_setaffinity(0, LOAD_CORE)
        self.seeders = rivals.all_of(programs) | {
            "client": rivals.Spillway(programs.spillway),
            "shards-1": rivals.Spillway(programs.spillway, shards=1),
            "shards-2": rivals.Spillway(programs.spillway, shards=2),
        }
        self.versions = {name: version(seeder.version) for name, seeder in self.seeders.items()}

    def row(self, scenario, name):
        """The figures of one seeder in one scenario. Raises Failed if they could not be had."""
        network.set_mtu(scenario.mtu)
        self.content.warm()
        if name.startswith("iperf3"):
            streams = 8 if name.endswith("parallel") else 1
            gbit_s, cpu = load.iperf(self.folder, scenario.seeder_cores, scenario.load_cores, streams)
            return {
                "version": version(["iperf3", "--version"]),
                "connections": streams,
                "gbit_s": gbit_s,
                "cpu_s_per_gb": cpu,
            }
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
            row = {"version": self.versions[name], "start_s": time.monotonic() - started}
            client = busy = None
            try:
                if name == "client":
                    client = load.Client(
                        self.programs.python, self.content, port, folder, scenario.load_cores, self.seconds
                    )
                if scenario.busy:
                    busy = self._swarm(scenario, folder, port, scenario.busy, self.seconds + 2 * SETTLE_SECONDS, ())
                    time.sleep(SETTLE_SECONDS)
                before = thread_seconds(seeder.pid)
                client_before = client.bytes_so_far() if client is not None else 0
                swarm = self._swarm(
                    scenario, folder, port, scenario.connections, self.seconds, scenario.options, seeder.pid
                )
                row |= figures(swarm.result(), alone=busy is None)
                row |= shares(before, thread_seconds(seeder.pid), scenario.seeder_cores == BOTH_CORES)
                if busy is not None:
                    # Those who were there before must have been served all the time.
                    row["lost"] += busy.result()["connections"]["lost"]
                if client is not None:
                    row["client_mb_while_loaded"] = (client.bytes_so_far() - client_before) / 1e6
                    client.verified()
            finally:
                for other in (busy, client):
                    if other is not None:
                        other.process.stop()
            if not seeder.running():
                raise Failed(f"{name} ended under load: {seeder.log()}")
        return row

    def _swarm(self, scenario, folder, port, connections, seconds, options, pid=None):
        return load.Swarm(
            self.programs.swarmload, self.content, port, folder, scenario.load_cores, connections, seconds, options, pid
        )


def figures(run, alone):
    """swarmload's JSON as a flat row. What a byte cost is known only if the seeder sent bytes to this load alone."""
    latency, schedule, unchoke = run["latency_us"], run["schedule_latency_us"], run["unchoke_ms"]
    row = {
        "connections": run["connections"]["connected"],
        "unchoked": run["connections"]["unchoked"],
        "lost": run["connections"]["lost"],
        "errors": " ".join(f"{kind}:{count}" for kind, count in sorted(run["errors"].items()) if count),
        "gbit_s": run["gbit_s"],
        "p50_us": latency["p50"],
        "p90_us": latency["p90"],
        "p99_us": latency["p99"],
        "p999_us": latency["p999"],
        "max_us": latency["max"],
        "jain": run["fairness"]["jain"],
        "min_peer_mb": run["fairness"]["min_bytes"] / 1e6,
        "max_peer_mb": run["fairness"]["max_bytes"] / 1e6,
        "unchoke_p50_ms": unchoke["p50"],
        "unchoke_p99_ms": unchoke["p99"],
        "unchoke_max_ms": unchoke["max"],
        "all_unchoked_ms": run["all_unchoked_ms"],
        "unanswered": run["unanswered"]["blocks"] + run["unanswered"]["abandoned_blocks"],
        "depth": run["depth"]["median"],
        "load_cpu_s_per_gb": run["load"]["cpu_s_per_gb"],
    }
    if schedule is not None:
        row |= {
            "schedule_p50_us": schedule["p50"],
            "schedule_p99_us": schedule["p99"],
            "schedule_p999_us": schedule["p999"],
        }
    seeder = run["seeder"]
    if seeder is not None:
        gigabytes = run["bytes"] / 1e9
        row |= {"anonymous_mib": seeder["anonymous_bytes"] / (1 << 20)}
        if alone and gigabytes:
            row |= {
                "cpu_s_per_gb": seeder["cpu_s_per_gb"],
                "user_s_per_gb": seeder["user_s"] / gigabytes,
                "system_s_per_gb": seeder["system_s"] / gigabytes,
            }
    return row


def version(command):
    """The first line that says a version; empty for what is not there."""
    try:
        output = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False
        )
    except OSError:
        return ""
    lines = (output.stdout + output.stderr).splitlines()
    return next((line.strip() for line in lines if any(letter.isdigit() for letter in line)), "")


def shares(before, after, on_both_cores):
    """How much of the time that it wanted the busiest thread did not get, since others had its core. On two cores also
    how evenly two shards worked: the lesser one's part of the CPU time of the two busiest threads."""
    nothing = (0.0, 0.0)
    grown = ([end - begin for begin, end in zip(before.get(name, nothing), after[name])] for name in after)
    busiest, *others = sorted(grown, reverse=True)
    row = {"held_up_share": busiest[1] / sum(busiest)} if sum(busiest) else {}
    if on_both_cores and others and busiest[0]:
        row["second_shard_share"] = others[0][0] / (busiest[0] + others[0][0])
    return row
