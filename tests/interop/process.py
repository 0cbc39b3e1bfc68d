"""Child processes: started with a log of their own, waited for by event, stopped by their own pid and always reaped."""

import os
import signal
import subprocess
import time

# A poll this often finds an event soon and costs nothing beside the programs under test.
POLL_SECONDS = 0.02
# What anything takes at most that takes moments: all the rest is for a busy machine.
PATIENCE_SECONDS = 60
# What a download of the largest payload takes at most, as patiently.
DOWNLOAD_SECONDS = 120
# What a program gets to end on its own after SIGTERM. What is killed has hung.
STOP_SECONDS = 60


class Process:
    """One running program. Use as a context manager, so that it never outlives its test."""

    def __init__(self, argv, log_path, env=None, cwd=None):
        self.argv = [str(argument) for argument in argv]
        self.log_path = log_path
        with open(log_path, "wb") as log:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment() | (env or {}),
                cwd=cwd,
            )

    @property
    def pid(self):
        return self._popen.pid

    @property
    def exit_code(self):
        """None while it runs; negative if a signal ended it."""
        return self._popen.poll()

    def log(self):
        """What it wrote to stdout and stderr so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def wait_until(self, what, condition, seconds=PATIENCE_SECONDS):
        """Waits for `condition()` to be true; fails at once if the program ends first. Gives the condition's value."""

        def check():
            # Asked first: what it said at its end counts.
            exit_code = self.exit_code
            value = condition()
            if not value and exit_code is not None:
                raise AssertionError(f"{self.argv[0]} ended with {exit_code} before {what}\n{self.log()}")
            return value

        try:
            return wait_until(what, check, seconds)
        except TimeoutError as late:
            raise TimeoutError(f"{late}\n--- log of {self.argv[0]}\n{self.log()}") from None

    def wait(self, seconds=PATIENCE_SECONDS):
        """Waits for it to end by itself and gives its exit code."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.argv[0]} did not end in {seconds} s\n{self.log()}") from None

    def signal(self, number):
        self._popen.send_signal(number)

    def stop(self):
        """Asks it to end, then insists. Gives the exit code."""
        if self.exit_code is None:
            self.signal(signal.SIGTERM)
            try:
                self._popen.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._popen.kill()
        return self._popen.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def environment():
    """Our environment without what would send clients elsewhere, and with a locale that can spell every name."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return kept | {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}


def wait_until(what, condition, seconds=PATIENCE_SECONDS):
    """Waits for `condition()` to be true and gives its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(POLL_SECONDS)


def run(*argv, check=True, cwd=None):
    """Runs a short program to its end and gives the CompletedProcess with text output."""
    done = subprocess.run(
        [str(argument) for argument in argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment(),
        cwd=cwd,
        timeout=120,
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{argv[0]} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done
