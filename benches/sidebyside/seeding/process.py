"""Child processes: started with a log of their own and on given cores, stopped by their own handle, always reaped."""

import os
import pathlib
import resource
import signal
import subprocess
import time

# What a program gets to end on its own after SIGTERM.
STOP_SECONDS = 5
POLL_SECONDS = 0.02
# Room for ten thousand peers. Not more: rtorrent and aria2 make tables as long as the limit.
DESCRIPTORS = 32_768


class Failed(Exception):
    """One measurement could not be made. The others go on."""


class Process:
    """One running program. Use as a context manager, so that it never outlives what it is for."""

    def __init__(self, argv, log_path, cores=None, env=None, idle=False):
        self.argv = [str(argument) for argument in argv]
        self.log_path = pathlib.Path(log_path)

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        descriptors = min(DESCRIPTORS, hard) if hard != resource.RLIM_INFINITY else DESCRIPTORS

        def prepare():
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
            if cores is not None:
                os.sched_setaffinity(0, cores)
            if idle:
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

        with open(self.log_path, "wb") as log:
            self._child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment() | (env or {}),
                preexec_fn=prepare,
            )

    @property
    def pid(self):
        return self._child.pid

    def running(self):
        return self._child.poll() is None

    def log(self):
        """The end of what it wrote."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")[-2_000:]

    def wait(self, seconds):
        """Waits for it to end by itself and gives its exit code."""
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.argv[0]} did not end in {seconds} s: {self.log()}") from None

    def wait_until(self, what, condition, seconds):
        """Waits for `condition()` to be true, and gives its value."""
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if not self.running():
                raise Failed(f"{self.argv[0]} ended before {what}: {self.log()}")
            if time.monotonic() > deadline:
                raise Failed(f"{self.argv[0]}: not within {seconds} s: {what}: {self.log()}")
            time.sleep(POLL_SECONDS)

    def tell_to_stop(self):
        if self.running():
            self._child.send_signal(signal.SIGTERM)

    def stop(self):
        if self.running():
            self.tell_to_stop()
            try:
                self._child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
        return self._child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def environment():
    """Our environment without what would send programs elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return kept | {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}


def thread_seconds(pid):
    """`(CPU seconds, seconds it waited for a core)` of each thread by name and id. From schedstat: the clock ticks of
    `stat` are too coarse."""
    seconds = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            name = (task / "comm").read_text(encoding="utf-8").strip()
            spent, waited = (task / "schedstat").read_text(encoding="ascii").split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        seconds[f"{name}/{task.name}"] = int(spent) / 1e9, int(waited) / 1e9
    return seconds
