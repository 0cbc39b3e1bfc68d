"""libtorrent (PyPI), in this process."""

import libtorrent

from network import LOOPBACK, free_port, joined
from process import wait_until

DEADLINE_SECONDS = 15


def quiet_session(address, **settings):
    """A session on one address that finds peers by trackers and by dialling alone."""
    return libtorrent.session(
        {
            "listen_interfaces": joined(address, free_port(address)),
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
        | settings
    )


def parameters(source, into):
    """What to add to a session for a torrent file's path or a magnet link."""
    if str(source).startswith("magnet:"):
        added = libtorrent.parse_magnet_uri(str(source))
    else:
        added = libtorrent.load_torrent_file(str(source))
    added.save_path = str(into)
    return added


class Libtorrent:
    name = "libtorrent"
    format = "hybrid"
    home = LOOPBACK
    makes_empty_files = True

    @staticmethod
    def download(source, into, address):
        into.mkdir(parents=True, exist_ok=True)
        session = quiet_session(address)
        handle = session.add_torrent(parameters(source, into))
        try:
            wait_until("libtorrent has the whole torrent", lambda: handle.status().is_seeding, DEADLINE_SECONDS)
        except TimeoutError as late:
            said = "\n".join(f"{alert.what()}: {alert.message()}" for alert in session.pop_alerts())
            raise TimeoutError(f"{late}: {handle.status().state} {handle.status().progress:.3f}\n{said}") from None
        finally:
            session.remove_torrent(handle)
            del handle, session
