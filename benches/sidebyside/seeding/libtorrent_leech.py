"""Downloads one torrent from one peer with libtorrent, and ends: TORRENT FOLDER PORT BYTES_PER_SECOND.

Prints what it has, in bytes, again and again.
"""

import sys
import time

import libtorrent as lt

# The load beside it holds the seeder's attention; it is not in a hurry.
DEADLINE_SECONDS = 170


def main():
    torrent, folder, port, rate = sys.argv[1:]
    session = lt.session(
        {
            "listen_interfaces": "127.0.200.2:0",
            "outgoing_interfaces": "127.0.200.2",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_incoming_utp": False,
            "enable_outgoing_utp": False,
            "download_rate_limit": int(rate),
            "alert_mask": 0,
        }
    )
    added = lt.load_torrent_file(torrent)
    added.save_path = folder
    handle = session.add_torrent(added)
    handle.connect_peer(("127.0.0.1", int(port)))
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (status := handle.status()).is_seeding:
        if time.monotonic() > deadline:
            sys.exit(f"{status.state} {status.progress:.3f} peers {status.num_peers}")
        print(status.total_done, flush=True)
        time.sleep(0.1)


if __name__ == "__main__":
    main()
