"""A web server that remembers who asked for what: the other end of webhooks and subscriptions."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from network import LOOPBACK_V4


class Web:
    """A server on a thread; use as a context manager. `pages` holds `path -> body`; what is posted is in `posted`."""

    def __init__(self):
        self.pages = {}
        self.asked = []
        self.posted = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                web.asked.append(self.path)
                self._answer(web.pages.get(self.path))

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                web.posted.append((self.path, json.loads(body)))
                self._answer(b"")

            def _answer(self, body):
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer((LOOPBACK_V4, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def url(self):
        return f"http://{LOOPBACK_V4}:{self._server.server_port}"

    def told(self, path, event):
        """What was posted to a path of one event."""
        return [message for to, message in list(self.posted) if to == path and message["event"] == event]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
