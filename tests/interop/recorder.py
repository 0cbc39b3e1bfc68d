"""A tracker that remembers what it was told: every announce, with its event, in order."""

import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import libtorrent

from network import LOOPBACK_V4

INTERVAL_SECONDS = 1800


class Recorder:
    """An HTTP tracker on a thread; use as a context manager."""

    def __init__(self):
        self.announces = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                query = urllib.parse.urlsplit(self.path).query
                fields = urllib.parse.parse_qsl(query, keep_blank_values=True, encoding="latin-1")
                recorder.announces.append(dict(fields))
                body = libtorrent.bencode({"interval": INTERVAL_SECONDS, "peers": b""})
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer((LOOPBACK_V4, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def url(self):
        return f"http://{LOOPBACK_V4}:{self._server.server_port}/announce"

    def events(self, info_hash):
        """The events that were announced for one swarm (40 hex digits), "" for a plain announce."""
        wanted = bytes.fromhex(info_hash).decode("latin-1")
        return [announce.get("event", "") for announce in self.announces if announce.get("info_hash") == wanted]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
