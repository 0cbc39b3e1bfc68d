"""A libtorrent session that seeds one torrent until it is ended: `libtorrent_seed.py TORRENT DATA HOST PORT`."""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from libtorrent_session import parameters, quiet_session  # noqa: E402


def main():
    torrent, data, host, port = sys.argv[1:]
    session = quiet_session(host)
    session.apply_settings({"listen_interfaces": f"{host}:{port}"})
    session.add_torrent(parameters(torrent, data))
    signal.pause()


if __name__ == "__main__":
    main()
