"""What a soak finds and counts: violations, from whichever thread, what was done last, and sums for the table at the end."""

import collections
import threading
import time

# Enough to see what led to a failure.
KEPT_OPERATIONS = 60


class Violation(AssertionError):
    """Something that must never be."""


class Findings:
    """Shared by the driver and all that runs beside it."""

    def __init__(self):
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._operations = collections.deque(maxlen=KEPT_OPERATIONS)
        self._violations = []
        self.counts = collections.Counter()

    def count(self, what, number=1):
        """Adds to a row of the table."""
        with self._lock:
            self.counts[what] += number

    def most(self, what, number):
        """Keeps the largest in a row of the table."""
        with self._lock:
            self.counts[what] = max(self.counts[what], number)

    def operation(self, text):
        """Notes what is about to be done."""
        with self._lock:
            self._operations.append(f"{time.monotonic() - self._start:8.2f} s  {text}")

    def violation(self, text):
        """Notes what must not be; the driver ends the run at its next step."""
        with self._lock:
            self._violations.append(text)

    def check(self):
        """Raises the first violation that somebody has noted."""
        with self._lock:
            if self._violations:
                raise Violation(self._violations[0])

    def last_operations(self):
        """The last operations, the youngest at the end."""
        with self._lock:
            return list(self._operations)

    @property
    def elapsed_s(self):
        """Seconds since the start."""
        return time.monotonic() - self._start
