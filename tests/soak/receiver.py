"""Somebody who is told of what happens, by webhook, and is not always well: what came to him has to be what happened, signed, and
nothing that he took may come again, whenever the service ends."""

import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from network import LOOPBACK_V4

SECRET = "a-secret-of-the-soak"
EVENTS = ("published", "first_full_copy", "withdrawn")
# So many things told are known by their ids at most (`IDS_MAX` in the service); what lies further back may be told again after
# an end, which is its stated limit. Messages come in the order in which they were told, so this counts as the service does.
KNOWN_IDS = 150
# A message is signed when it is sent.
MAX_AGE_SECONDS = 60
# How often he asks for another moment.
BUSY_SHARE = 0.12

SETTINGS = """
[[webhook]]
url = "{url}"
secret = "{secret}"
events = [{events}]
"""


class Receiver:
    """A server on a thread. Of each message that it took it knows the id for ever."""

    def __init__(self, findings, random):
        self._findings = findings
        self._random = random
        self._lock = threading.Lock()
        self._fails_next = False
        self._count = 0
        # By id: the how manieth message taken it was, at the last time.
        self._taken = {}
        self._last = None
        # The one whose taking the service may not have heard of before it ended.
        self._may_come_again = None
        self._is_up = True
        # By the torrent's number: its v1 info-hash.
        self._published = {}
        self._withdrawn = set()
        # By name: a time before which nobody may hear of it.
        self._embargoes = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver._answer(self.headers, body)
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                if status == 503:
                    self.send_header("Retry-After", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer((LOOPBACK_V4, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def settings(self):
        """What the service is told of it."""
        url = f"http://{LOOPBACK_V4}:{self._server.server_port}/events"
        return SETTINGS.format(url=url, secret=SECRET, events=", ".join(f'"{event}"' for event in EVENTS))

    def stop(self):
        """Ends it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fail_next(self):
        """Hangs up on the next message: all wait for it for ten seconds, kills and restarts among them."""
        with self._lock:
            self._fails_next = True

    def service_ended(self):
        """Nothing more comes from a run of the service, which may not have read or kept the last answer."""
        with self._lock:
            self._may_come_again, self._is_up = self._last, False

    def service_starts(self):
        """From now on each answer is read."""
        with self._lock:
            self._is_up = True

    def embargo(self, name, opens_at_s):
        """Of this release nobody may hear before that time."""
        with self._lock:
            self._embargoes[name] = opens_at_s

    def wrong(self, numbers, info_hashes):
        """What differs from these: the numbers of all that is published, and the info-hashes of all that the feed ever had."""
        with self._lock:
            standing = self._published.keys() - self._withdrawn
            unheard = set(info_hashes) - set(self._published.values())
        if standing != set(numbers):
            return f"told of as published are {sorted(standing - set(numbers))}, which are not; not told of {sorted(set(numbers) - standing)}"
        return f"the feed had {sorted(unheard)}, which nobody was told of" if unheard else None

    # One message.

    def _answer(self, headers, body):
        """The status; nothing if it hangs up."""
        now_s = time.time()
        with self._lock:
            if self._fails_next:
                self._fails_next = False
                return None
            if self._random.random() < BUSY_SHARE:
                self._findings.count("webhooks put off")
                return 503
            try:
                self._check_signature(headers, body, now_s)
                self._take(headers, json.loads(body), now_s)
            except (KeyError, TypeError, ValueError) as error:
                self._findings.violation(f"a webhook that cannot be read: {error!r}: {body[:500]}")
            return 200

    def _check_signature(self, headers, body, now_s):
        sent_at = headers["X-Spillway-Timestamp"]
        wanted = hmac.new(SECRET.encode(), f"{sent_at}.".encode() + body, hashlib.sha256).hexdigest()
        if headers["X-Spillway-Signature"] != f"sha256={wanted}":
            self._findings.violation(f"a webhook is signed wrongly: {body[:200]}")
        if abs(now_s - int(sent_at)) > MAX_AGE_SECONDS:
            self._findings.violation(f"a webhook was signed {now_s - int(sent_at):.0f} s ago")

    def _take(self, headers, message, now_s):
        event, identity = message["event"], message["id"]
        if event not in EVENTS or headers["X-Spillway-Event"] != event:
            self._findings.violation(f"a webhook that nobody wanted: {message}")
        self._count += 1
        if identity in self._taken:
            self._judge_repeated(identity, message)
        else:
            self._findings.count(f"webhooks taken: {event}")
        self._taken[identity] = self._count
        # What was sent before an end may be read here behind it.
        self._last, self._may_come_again = identity, None if self._is_up else identity
        number, opens_at_s = message["number"], self._embargoes.get(message["name"], 0)
        if event == "published":
            self._published[number] = message["info_hash_v1"]
            if now_s < opens_at_s:
                self._findings.violation(f"told of {message['name']} {opens_at_s - now_s:.1f} s before its time")
        if event == "withdrawn":
            self._withdrawn.add(number)

    def _judge_repeated(self, identity, message):
        if identity == self._may_come_again:
            self._findings.count("webhooks taken again after an end")
        elif self._count - self._taken[identity] >= KNOWN_IDS:
            self._findings.count("webhooks taken again, long after")
        else:
            self._findings.violation(f"a webhook that was taken came again, {self._count - self._taken[identity]} later: {message}")
