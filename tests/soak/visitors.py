"""Those who come to a service from outside, on threads beside the driver: feed readers that ask by conditional requests, and
peers that handshake, take a piece, check it, and go; some of them badly. They hold the service to what it says: what is in the
feed has to be there."""

import contextlib
import http.client
import random
import socket
import threading
import time

from peer import Peer
from torrent import Torrent
from web_client import HTTP_SECONDS, fetch, items, take

# How long something that the feed names may be not there: what has changed on disk is noticed, refused and then withdrawn, and a
# busy machine takes its time for that.
PATIENCE_SECONDS = 20
RETRY_SECONDS = 0.25
# Between two visits of one visitor.
PAUSE_SECONDS = 0.15
EARLY_VISITORS = 2


class Visitors:
    """Threads that visit a service until stopped. The service may be killed and come back at the same addresses meanwhile."""

    def __init__(self, findings, feed_urls, peers_address, early, seed, peer_count):
        self._findings = findings
        # The same feed, by TLS and plain.
        self._feed_urls = feed_urls
        self._early = early
        self._peers_address = peers_address
        self._ended = threading.Event()
        # Set while the service is up and visits count.
        self._open = threading.Event()
        self._generation = 0
        self._items = {}
        self._busy = 0
        self._changed = threading.Condition()
        work = [(self._read_feed, random.Random(f"{seed} reader"))]
        work += [(self._visit_as_peer, random.Random(f"{seed} peer {index}")) for index in range(peer_count)]
        work += [(self._visit_early, random.Random(f"{seed} early {index}")) for index in range(EARLY_VISITORS)]
        self._threads = [threading.Thread(target=self._repeat, args=each, daemon=True) for each in work]
        for thread in self._threads:
            thread.start()

    def open(self):
        """Lets them in: the service is up."""
        self._open.set()

    def close(self):
        """Lets nobody in any more; what fails from now on is nobody's fault. Returns at once."""
        self._open.clear()
        self._generation += 1

    def wait_for_nobody(self, seconds=60):
        """Returns when the last visitor that was in has gone."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._busy == 0, seconds):
                raise TimeoutError("visitors stay longer than they should")

    def stop(self):
        """Ends the threads."""
        self._ended.set()
        self._open.set()
        for thread in self._threads:
            thread.join(2 * HTTP_SECONDS + PATIENCE_SECONDS)

    # Threads.

    def _repeat(self, visit, source):
        while True:
            self._open.wait()
            if self._ended.is_set():
                return
            with self._changed:
                self._busy += 1
            try:
                if self._open.is_set():
                    visit(source, self._generation)
            except Exception as error:  # a bug of the soak itself must not pass for silence
                self._findings.violation(f"a visitor broke off: {error!r}")
            finally:
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()
            time.sleep(source.uniform(0, 2 * PAUSE_SECONDS))

    def _is_current(self, generation):
        return generation == self._generation and self._open.is_set()

    # Reading the feed.

    def _read_feed(self, source, generation):
        etag, url = None, source.choice(self._feed_urls)
        for _ in range(8):
            if not self._is_current(generation):
                return
            try:
                status, headers, body = fetch(url, {"If-None-Match": etag} if etag else {})
            except OSError as error:
                if self._is_current(generation):
                    self._findings.violation(f"{url} cannot be read: {error!r}")
                return
            self._findings.count(f"feed requests answered with {status}")
            if status == 304:
                if body:
                    self._findings.violation("304 with a body")
            elif status == 200:
                etag = headers["ETag"]
                self._items = items(body)
            else:
                self._findings.violation(f"the feed answered {status}")
            time.sleep(PAUSE_SECONDS)

    def _named_now(self, url):
        """Whether the feed as it is now names a torrent."""
        status, _, body = fetch(self._feed_urls[0], {})
        return status == 200 and url in {item[0] for item in items(body).values()}

    # Those who come too early.

    def _visit_early(self, source, generation):
        self._early.visit(source, lambda: self._is_current(generation))

    # Peers.

    def _visit_as_peer(self, source, generation):
        if source.random() < 0.15:
            return self._misbehave(source)
        known = sorted(self._items.values())
        if not known:
            return
        url, size = source.choice(known)
        self._insist(generation, url, lambda: self._take_a_piece(source, url, size))

    def _insist(self, generation, url, attempt):
        """What the feed names has to be there: if not now, then within moments, unless the feed names it no longer."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return attempt()
            except (OSError, http.client.HTTPException) as error:
                reason = repr(error)
            with contextlib.suppress(OSError, http.client.HTTPException):
                if not self._is_current(generation) or not self._named_now(url):
                    return
                if time.monotonic() > deadline:
                    self._findings.violation(f"the feed has named {url} for {PATIENCE_SECONDS} s, but: {reason}")
                    return
            if not self._is_current(generation):
                return
            self._findings.count("visits tried again")
            time.sleep(RETRY_SECONDS)

    def _take_a_piece(self, source, url, size):
        status, _, body = fetch(url, {})
        if status != 200:
            raise ConnectionError(f"HTTP {status}")
        if len(body) != size:
            self._findings.violation(f"{url} has {len(body)} bytes, its enclosure says {size}")
        torrent = Torrent(body)
        if torrent.info_hash not in url:
            self._findings.violation(f"{url} is another torrent: {torrent.info_hash}")
        index = source.randrange(len(torrent.pieces))
        with Peer(self._peers_address, torrent.info_hash) as peer:
            payload = take(peer, index, torrent.piece_size(index))
        if not torrent.is_piece(index, payload):
            self._findings.violation(f"piece {index} of {torrent.name} ({torrent.info_hash}) is wrong")
        self._findings.count("pieces taken and right")
        self._findings.count("bytes taken by light peers", len(payload))

    def _misbehave(self, source):
        """Connections that come to nothing."""
        self._findings.count("rude visits")
        with contextlib.suppress(OSError), socket.create_connection(self._peers_address, HTTP_SECONDS) as connection:
            manner = source.randrange(4)
            if manner == 0:
                connection.sendall(source.randbytes(200))
            elif manner == 1:
                connection.sendall(b"\x13BitTorrent protocol"[: source.randrange(20)])
            elif manner == 2:
                # A torrent that is not here.
                connection.sendall(b"\x13BitTorrent protocol" + bytes(8) + source.randbytes(20) + source.randbytes(20))
                connection.recv(1)
