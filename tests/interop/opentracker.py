"""opentracker, the foreign tracker: an instance of our own on a free port, for the torrents that it is told of."""

import shutil
import socket
import tempfile
from pathlib import Path

from network import LOOPBACK_V4, free_port
from process import Process

# It looks the folder up again as nobody, so the folder cannot be one of pytest's, which only their owner may enter.
READABLE = 0o755


class Opentracker(Process):
    """Runs until stopped. `info_hashes` are the 40 hex digits of each swarm (a v2 hash truncated)."""

    def __init__(self, info_hashes, log_path):
        self._folder = Path(tempfile.mkdtemp(prefix="opentracker-"))
        self._folder.chmod(READABLE)
        allowed = self._folder / "allowed"
        allowed.write_text("".join(f"{info_hash}\n" for info_hash in info_hashes), encoding="ascii")
        self.port = free_port()
        port = str(self.port)
        super().__init__(
            ["opentracker", "-i", LOOPBACK_V4, "-p", port, "-P", port, "-d", self._folder, "-w", allowed.name], log_path
        )
        try:
            self.wait_until("it takes connections", self._answers)
        except BaseException:
            self.stop()
            raise

    def url(self, scheme):
        return f"{scheme}://{LOOPBACK_V4}:{self.port}/announce"

    def stop(self):
        code = super().stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        return code

    def _answers(self):
        try:
            socket.create_connection((LOOPBACK_V4, self.port), 1).close()
        except OSError:
            return False
        return True
