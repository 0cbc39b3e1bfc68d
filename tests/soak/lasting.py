"""A service that is killed, stopped and started again at the same addresses, over the same state."""

import re
import signal
import time

from process import run
from service import Service
from spillway import BINARY

# What a stop takes at most: the parts 5 s, the desk 5 s, the engine 5 s of grace and 10 s to end (`stop_limit` in the service).
STOP_SECONDS = 25
POLL_SECONDS = 0.1

# One heap for all threads. With one for each, what a process keeps depends on which threads happened to free what, and creeps up
# for twenty minutes (14 to 34 MB was seen): a leak as large could hide in that. With one it is flat: 16 MB after five minutes of
# storms in one process, 15 MB after thirteen.
ENV = {"MALLOC_ARENA_MAX": "1"}

# Errors that a soak provokes, each with why it must be said.
EXPECTED_ERRORS = [
    # Settings that cannot be used are put before it on purpose.
    r"kept the old settings: ",
    # Content is changed and taken away while it is served, or about to be: that has to be said.
    r"(while in use|changed|is [0-9]+ bytes, the torrent says|no such file)",
    # The same, found by `ctl recheck` before the tree has settled.
    r"pieces (have wrong bytes|are not there)",
]
# The same of warnings.
EXPECTED_WARNINGS = [
    # The feed's server is killed, and withdraws all that it has for a moment.
    r"cannot read the feed",
    r"the feed is empty",
    # A release went between its item and its torrent.
    r"cannot be taken from the feed",
    # Who is told by webhook hangs up at times, or asks for another moment.
    r"webhook: not taken",
]
EXPECTED = {"ERROR": EXPECTED_ERRORS, "WARN": EXPECTED_WARNINGS}
# Whatever a log line says of itself, these are never right.
NEVER = ("panicked", "BrokeOff", "broke off")


class Lasting:
    """One place where a service runs, and the run that is there now."""

    def __init__(self, findings, name, folder, address, env=None):
        self.name = name
        self.folder = folder
        self.settings = ""
        self._findings = findings
        self._address = address
        self._env = ENV | (env or {})
        self._ports = (0, 0)
        self.service = None
        # A kill is under way: what fails from now on is nobody's fault.
        self.is_dying = False

    def start(self):
        """Starts it, where it was if it ran before."""
        started = time.monotonic()
        self.service = Service(self.folder, self.settings, address=self._address, ports=self._ports, env=self._env)
        self._ports = self.service.ports
        self.is_dying = False
        self._findings.count(f"{self.name}: starts")
        self._slowest("start", started)

    def kill(self):
        """As a power failure ends it."""
        self.is_dying = True
        self.service.kill()
        self._findings.count(f"{self.name}: killed")
        self._look_at_log()

    def end(self):
        """In good order, within the time that a stop may take."""
        started = time.monotonic()
        self.service.end()
        took = time.monotonic() - started
        if took > STOP_SECONDS:
            self._findings.violation(f"{self.name} took {took:.1f} s to stop")
        self._findings.count(f"{self.name}: stopped in good order")
        self._slowest("stop", started)
        self._look_at_log()

    def stop_at_once(self):
        """For the end of a run that has failed."""
        if self.service:
            self.service.stop()

    def configure(self, settings):
        """Writes other settings; they hold from the next reload or start."""
        self.settings = settings
        self.service.configure(settings)

    def hang_up(self):
        """Has it read its settings again, as `systemctl reload` does."""
        self.service.signal(signal.SIGHUP)

    def ctl(self, *arguments):
        """`(exit code, output, error)` of `spillway ctl --json`, for what may be refused."""
        done = run(BINARY, "ctl", "--socket", self.service.socket, "--json", *arguments, check=False)
        return done.returncode, done.stdout, done.stderr.strip()

    def rows(self):
        """All torrents."""
        return self.service.ctl("list")["torrents"]

    def until(self, what, condition, seconds=60):
        """Polls for an answer that is no longer a complaint: `condition()` gives what is wrong, or nothing."""
        started = time.monotonic()
        deadline = started + seconds
        while True:
            self.check()
            wrong = condition()
            if not wrong:
                return self._slowest(what, started)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}, not within {seconds} s: {what}: {wrong}")
            time.sleep(POLL_SECONDS)

    def check(self):
        """It has to be running."""
        code = self.service.exit_code
        if code is not None:
            raise AssertionError(f"{self.name} ended by itself with {code}\n{self.service.log()[-5_000:]}")
        self._findings.check()

    def _slowest(self, what, started):
        took_ms = round((time.monotonic() - started) * 1000)
        self._findings.most(f"{self.name}: slowest, ms: {what}", took_ms)

    def _look_at_log(self):
        for line in self.service.log().splitlines():
            if any(word in line for word in NEVER):
                self._findings.violation(f"{self.name} logged: {line}")
            level = re.search(r"\b(ERROR|WARN)\b", line[:80])
            if level is None:
                continue
            self._findings.count(f"{self.name}: lines at {level[1]}")
            if not any(re.search(expected, line) for expected in EXPECTED[level[1]]):
                self._findings.violation(f"{self.name} logged what is not expected: {line}")
