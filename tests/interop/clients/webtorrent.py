"""webtorrent (npm), by a small script beside this file; it ends by itself when the download is complete."""

from pathlib import Path

from network import LOOPBACK, free_port
from process import DOWNLOAD_SECONDS, Process

SCRIPT = Path(__file__).with_name("webtorrent.js")


class Webtorrent:
    name = "webtorrent"
    format = "hybrid"
    takes_two_hashes = True
    home = LOOPBACK
    # It writes a file when its first bytes come, and so never an empty one.
    makes_empty_files = False

    @staticmethod
    def download(source, into, address):
        into.mkdir(parents=True, exist_ok=True)
        command = ["node", SCRIPT, source, into, str(free_port(address))]
        with Process(command, into.parent / "webtorrent.log") as webtorrent:
            code = webtorrent.wait(DOWNLOAD_SECONDS)
            assert code == 0, f"webtorrent exited with {code}\n{webtorrent.log()}"
