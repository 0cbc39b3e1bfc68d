"""Ten libtorrent clients as leeches, each on an address and with limits of its own, all connected with each other."""

import pathlib

import libtorrent as lt

ADDRESS = "127.0.200.{}"


class Swarm:
    """The leeches of one measurement."""

    def __init__(self, torrent, folder, count, upload, download, seed):
        self._sessions, self._handles = [], []
        for number in range(count):
            session = lt.session(settings(number, upload, download))
            limit_all_peers(session)
            added = lt.load_torrent_file(str(torrent))
            added.save_path = str(pathlib.Path(folder) / f"leech-{number}")
            added.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
            self._sessions.append(session)
            self._handles.append(session.add_torrent(added))
        for number, handle in enumerate(self._handles):
            handle.connect_peer(seed)
            for other in range(number):
                handle.connect_peer((ADDRESS.format(other + 1), self._sessions[other].listen_port()))

    def look(self):
        """How many pieces some leech has, and how many leeches have all of them."""
        known, complete, piece_count = 0, 0, 0
        for handle in self._handles:
            status = handle.status(lt.torrent_handle.query_pieces)
            pieces = status.pieces
            piece_count = len(pieces) or piece_count
            bits = sum(1 << index for index, has in enumerate(pieces) if has)
            known |= bits
            complete += status.is_seeding
        return known.bit_count(), complete, piece_count

    def close(self):
        for session, handle in zip(self._sessions, self._handles):
            session.remove_torrent(handle)
        self._handles.clear()
        self._sessions.clear()


def settings(number, upload, download):
    return quiet(ADDRESS.format(number + 1), 0) | {
        "upload_rate_limit": upload,
        "download_rate_limit": download,
        # A piece counts as there when it is checked.
        "aio_threads": 1,
        "hashing_threads": 1,
    }


def quiet(address, port):
    """What every libtorrent here has: one address, TCP alone, nobody found but those it is told of."""
    return {
        "listen_interfaces": f"{address}:{port}",
        "outgoing_interfaces": address,
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_incoming_utp": False,
        "enable_outgoing_utp": False,
        "in_enc_policy": 2,
        "out_enc_policy": 2,
        "alert_mask": 0,
    }


def limit_all_peers(session):
    """By default peers on loopback are of a class that no limit holds for."""
    everybody = lt.ip_filter()
    everybody.add_rule("0.0.0.0", "255.255.255.255", 1 << lt.session.global_peer_class_id)
    session.set_peer_class_filter(everybody)
