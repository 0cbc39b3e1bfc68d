"""Seeds one torrent with libtorrent until it is told to stop. Arguments: TORRENT FOLDER PORT."""

import signal
import sys

import libtorrent as lt

PEERS = 10_000


def main():
    torrent, folder, port = sys.argv[1:]
    # libtorrent's own preset for this very use, and what it leaves to the operator.
    settings = lt.high_performance_seed() | {
        "listen_interfaces": f"127.0.0.1:{port}",
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_incoming_utp": False,
        "enable_outgoing_utp": False,
        "in_enc_policy": 2,
        "out_enc_policy": 2,
        # Fixed slots, and no limit of them: everyone is served.
        "choking_algorithm": 0,
        "unchoke_slots_limit": -1,
        "connections_limit": PEERS,
        "allow_multiple_connections_per_ip": True,
        "seeding_outgoing_connections": False,
        "listen_queue_size": 4096,
        # Its load from page cache is copying; more threads cost more than they bring on one core.
        "aio_threads": 1,
        "hashing_threads": 1,
        "rate_limit_ip_overhead": False,
        "peer_timeout": 600,
        "inactivity_timeout": 600,
        "alert_mask": 0,
    }
    session = lt.session(settings)
    added = lt.load_torrent_file(torrent)
    added.save_path = folder
    added.max_connections = PEERS
    added.max_uploads = -1
    added.flags |= lt.torrent_flags.seed_mode
    added.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    session.add_torrent(added)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
