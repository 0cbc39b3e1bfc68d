"""libtorrent sessions as every test wants them: on one address, silent but for trackers and peers."""

import libtorrent

from network import free_port, joined


def quiet_session(address):
    """A session on one address that finds peers by trackers and by dialling alone."""
    return libtorrent.session(
        {
            "listen_interfaces": joined(address, free_port(address)),
            # Else the kernel picks the address that others see, and peers that have it in common are one peer to rtorrent.
            "outgoing_interfaces": address,
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_incoming_utp": False,
            "enable_outgoing_utp": False,
            # Every peer here shares an address, and trackers on loopback would be refused as an attack.
            "allow_multiple_connections_per_ip": True,
            "ssrf_mitigation": False,
            "announce_to_all_trackers": True,
            "announce_to_all_tiers": True,
            "stop_tracker_timeout": 1,
            "alert_mask": libtorrent.alert.category_t.error_notification
            | libtorrent.alert.category_t.tracker_notification,
        }
    )


def parameters(source, into):
    """What to add to a session for a torrent file's path or a magnet link."""
    if str(source).startswith("magnet:"):
        added = libtorrent.parse_magnet_uri(str(source))
    else:
        added = libtorrent.load_torrent_file(str(source))
    added.save_path = str(into)
    return added
