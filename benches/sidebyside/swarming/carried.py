"""What a seed's connections have carried, as the kernel knows it."""

import subprocess


class Carried:
    """The bytes that the seed's peers have acknowledged, over all its connections, also those that ended."""

    def __init__(self, port):
        self._port = port
        self._by_peer = {}

    def total(self):
        sockets = subprocess.run(["ss", "-tinH", "state", "established", f"sport = :{self._port}"], check=True,
                                 capture_output=True, text=True).stdout
        peer = None
        for line in sockets.splitlines():
            if not line[:1].isspace():
                peer = line.split()[3]
            elif "bytes_acked:" in line:
                self._by_peer[peer] = int(line.split("bytes_acked:")[1].split()[0])
        return sum(self._by_peer.values())
