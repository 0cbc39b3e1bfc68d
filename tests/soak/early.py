"""Those who come before the time of a release under embargo: strangers find nothing of it anywhere, whoever is on the list or has
the key is served."""

import contextlib
import http.client
import threading
import time
import urllib.parse
from typing import NamedTuple

from peer import Peer
from torrent import Torrent
from web_client import fetch, items, take

LISTED_V4 = "127.0.0.9"
KEYED_V4 = "127.0.0.10"
KEY = "a-key-of-the-soak"
SETTINGS = f"""early_networks = ["{LISTED_V4}/32"]
early_key = "{KEY}"
"""
RETRY_SECONDS = 0.25


class Embargo(NamedTuple):
    """A release that opens by itself."""

    title: str
    # Where the service puts its torrent, for the operator and those whom he gives it.
    torrent_file: object
    opens_at_s: int


class Early:
    """Visits of those who are early. Each visit is one attempt of one kind."""

    def __init__(self, findings, feed_url, tracker_url, peers_address):
        self._findings = findings
        self._feed_url = feed_url
        self._tracker_url = tracker_url
        self._peers_address = peers_address
        self._lock = threading.Lock()
        self._embargoes = []

    def expect(self, embargo):
        """One more release that is not for everybody yet."""
        with self._lock:
            self._embargoes = [each for each in self._embargoes if _is_shut(each)] + [embargo]

    def visit(self, source, is_current):
        """Tries one thing with one release. What fails because the service is away is nobody's fault."""
        with self._lock:
            waiting = [embargo for embargo in self._embargoes if _is_shut(embargo)]
        if not waiting:
            return
        embargo = source.choice(waiting)
        if not embargo.torrent_file.exists():
            return
        torrent = Torrent(embargo.torrent_file.read_bytes())
        strangers = {"feed": self._is_fed, "file": self._is_handed_out, "tracker": self._is_announced, "peer": self._is_greeted}
        early = {"list": (LISTED_V4, lambda: None), "key": (KEYED_V4, lambda: self._show_key(torrent))}
        way = source.choice([*strangers, *early])
        if way in early:
            self._insist(source, embargo, torrent, way, *early[way], is_current)
            return
        with contextlib.suppress(OSError, http.client.HTTPException):
            is_open = strangers[way](embargo, torrent)
            # The clock is that of the service: what was open was so before this is asked.
            if is_open and _is_shut(embargo):
                self._findings.violation(f"{embargo.title} is open by {way} {embargo.opens_at_s - time.time():.1f} s before its time")
            elif not is_open:
                self._findings.count(f"early: strangers turned away by {way}")

    # Strangers. Each says whether it is open.

    def _is_fed(self, embargo, _):
        status, _, body = fetch(self._feed_url, {})
        return status == 200 and embargo.title in items(body)

    def _is_handed_out(self, embargo, torrent):
        base = urllib.parse.urljoin(self._feed_url, f"/releases/{torrent.info_hash}/")
        status, _, _ = fetch(f"{base}{urllib.parse.quote(embargo.title)}.torrent", {})
        return status == 200

    def _is_announced(self, _, torrent):
        return self._announce(self._tracker_url, torrent, None)

    def _is_greeted(self, _, torrent):
        try:
            Peer(self._peers_address, torrent.info_hash, waits=False).close()
        except OSError:
            return False
        return True

    # Those who may.

    def _show_key(self, torrent):
        url = self._tracker_url.replace("/announce", f"/{KEY}/announce")
        if not self._announce(url, torrent, KEYED_V4):
            raise ConnectionError("the tracker refuses the key")

    def _insist(self, source, embargo, torrent, way, address, prepare, is_current):
        """The torrent's file lies there a moment before it is served, so they try again."""
        index = source.randrange(len(torrent.pieces))
        while is_current() and _is_shut(embargo):
            try:
                prepare()
                with Peer(self._peers_address, torrent.info_hash, source=address) as peer:
                    payload = take(peer, index, torrent.piece_size(index))
            except (OSError, http.client.HTTPException):
                time.sleep(RETRY_SECONDS)
                continue
            if not torrent.is_piece(index, payload):
                self._findings.violation(f"piece {index} of {torrent.name} ({torrent.info_hash}) is wrong")
            self._findings.count(f"early: served by {way}")
            return

    def _announce(self, url, torrent, address):
        query = "info_hash=" + urllib.parse.quote(bytes.fromhex(torrent.info_hash), safe="")
        query += "&peer_id=-SK0002-000000000000&port=1&uploaded=0&downloaded=0&left=1&compact=1&numwant=0"
        status, _, body = fetch(f"{url}?{query}", {}, source=address)
        return status == 200 and b"failure reason" not in body


def _is_shut(embargo):
    return time.time() < embargo.opens_at_s
