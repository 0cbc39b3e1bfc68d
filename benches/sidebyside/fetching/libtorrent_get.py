"""Fetches one torrent with libtorrent, as an expert would set it up, and ends once all is verified and handed to the kernel:
TORRENT FOLDER ADDRESS."""

import sys

import libtorrent as lt


def main():
    torrent, folder, address = sys.argv[1:]
    settings = lt.high_performance_seed()
    settings.update(
        {
            "listen_interfaces": f"{address}:0",
            "outgoing_interfaces": address,
            # All that were fetched with before had this address too, and the tracker still knows them.
            "allow_multiple_connections_per_ip": True,
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_incoming_utp": False,
            "enable_outgoing_utp": False,
            "in_enc_policy": 2,
            "out_enc_policy": 2,
            "aio_threads": 2,
            "hashing_threads": 2,
            "max_out_request_queue": 2000,
            "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.storage_notification,
        }
    )
    session = lt.session(settings)
    added = lt.load_torrent_file(torrent)
    added.save_path = folder
    added.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    handle = session.add_torrent(added)
    while not handle.status().is_seeding:
        session.wait_for_alert(50)
        session.pop_alerts()
    # What the kernel was not given yet, if the alert is not one of those that were dropped.
    handle.flush_cache()
    for _ in range(20):
        session.wait_for_alert(50)
        if any(isinstance(alert, lt.cache_flushed_alert) for alert in session.pop_alerts()):
            return


if __name__ == "__main__":
    main()
