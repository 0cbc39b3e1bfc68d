"""libtorrent (PyPI): one process per download, since sessions of one process share what they know of trackers."""

import sys
from pathlib import Path

from libtorrent_session import parameters, quiet_session
from network import LOOPBACK
from process import DOWNLOAD_SECONDS, Process, wait_until


class Libtorrent:
    name = "libtorrent"
    format = "hybrid"
    takes_two_hashes = True
    home = LOOPBACK
    makes_empty_files = True

    @staticmethod
    def download(source, into, address):
        into.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "clients.libtorrent_client", source, into, address]
        with Process(command, into.parent / "libtorrent.log", cwd=Path(__file__).parents[1]) as libtorrent:
            code = libtorrent.wait(DOWNLOAD_SECONDS + 10)
            assert code == 0, f"libtorrent exited with {code}\n{libtorrent.log()}"


def main():
    source, into, address = sys.argv[1:]
    session = quiet_session(address)
    handle = session.add_torrent(parameters(source, into))
    try:
        wait_until("libtorrent has the whole torrent", lambda: handle.status().is_seeding, DOWNLOAD_SECONDS)
    except TimeoutError as late:
        status = handle.status()
        print(f"{late}: {status.state} {status.progress:.3f}")
        for alert in session.pop_alerts():
            print(f"{alert.what()}: {alert.message()}")
        sys.exit(1)


if __name__ == "__main__":
    main()
