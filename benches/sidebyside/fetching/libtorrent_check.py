"""Checks the content of a torrent with libtorrent, or loads many torrents with what it remembers of them, and ends:
check TORRENT FOLDER | remember FOLDER TORRENTS | load FOLDER TORRENTS. Prints the seconds of the work alone."""

import pathlib
import sys
import time

import libtorrent as lt

SETTINGS = {
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "aio_threads": 2,
    "hashing_threads": 2,
    "active_checking": 2_000,
    "active_limit": 20_000,
    "active_seeds": 20_000,
    "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.storage_notification,
}


def main():
    verb, *rest = sys.argv[1:]
    session = lt.session(SETTINGS)
    if verb == "check":
        torrent, folder = rest
        begun = time.monotonic()
        seed(session, [added(torrent, folder)])
    else:
        folder, torrents = rest[0], sorted(pathlib.Path(rest[1]).glob("*.torrent"))
        if verb == "remember":
            remember(session, seed(session, [added(torrent, folder) for torrent in torrents]), torrents)
            return
        begun = time.monotonic()
        kept = [lt.read_resume_data(torrent.with_suffix(".resume").read_bytes()) for torrent in torrents]
        seed(session, kept)
    print(time.monotonic() - begun, flush=True)


def added(torrent, folder):
    params = lt.load_torrent_file(str(torrent))
    params.save_path = folder
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    return params


def seed(session, torrents):
    """Adds them and waits until all are whole."""
    handles = [session.add_torrent(params) for params in torrents]
    while not all(handle.status().is_seeding for handle in handles):
        session.wait_for_alert(50)
        session.pop_alerts()
    return handles


def remember(session, handles, torrents):
    by_handle = dict(zip((str(handle.info_hashes().get_best()) for handle in handles), torrents))
    for handle in handles:
        handle.save_resume_data(lt.torrent_handle.save_info_dict)
    left = len(handles)
    while left:
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.save_resume_data_alert):
                name = by_handle[str(alert.handle.info_hashes().get_best())].with_suffix(".resume")
                name.write_bytes(lt.write_resume_data_buf(alert.params))
                left -= 1


if __name__ == "__main__":
    main()
