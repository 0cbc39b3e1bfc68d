"""Seeds one torrent with libtorrent until it is told to stop: TORRENT FOLDER ADDRESS PORT BYTES_PER_SECOND plain|super."""

import signal
import sys

import libtorrent as lt

from leeches import limit_all_peers, quiet


def main():
    torrent, folder, address, port, rate, kind = sys.argv[1:]
    session = lt.session(quiet(address, port) | {"upload_rate_limit": int(rate), "unchoke_slots_limit": -1})
    limit_all_peers(session)
    added = lt.load_torrent_file(torrent)
    added.save_path = folder
    added.flags |= lt.torrent_flags.seed_mode
    added.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if kind == "super":
        added.flags |= lt.torrent_flags.super_seeding
    session.add_torrent(added)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
