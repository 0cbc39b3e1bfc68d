"""`spillway serve`, driven as an operator drives it: a settings file, the control socket, signals, and what it serves over HTTP."""

import http.client
import json
import signal
import socket
import urllib.request

from network import NEARBY_V4, joined
from process import PATIENCE_SECONDS, STOP_SECONDS, Process, run
from spillway import BINARY, READY_SECONDS

# Nothing of these tests may ask the world for peers, and nobody should wait for long.
BASE = """
[peers]
listen = ["{peers}"]
{peers_more}dht = false
lsd = false
super_seed = "off"

[engine]
shards = {shards}
state_dir = "{state}"

[tracker]
listen = ["{tracker}"]
{tracker_more}
[control]
socket = "{socket}"
"""
ANSWER_SECONDS = 60


class Operator(http.client.HTTPConnection):
    """The operator's API over its socket, for what would be thousands of runs of `spillway ctl`."""

    def __init__(self, path):
        super().__init__("spillway", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))

    def ask(self, method, path, body=None):
        """`(status, answer)` of one request."""
        text = None if body is None else json.dumps(body)
        self.request(method, path, body=text, headers={} if text is None else {"Content-Type": "application/json"})
        reply = self.getresponse()
        return reply.status, json.loads(reply.read())


class Service(Process):
    """One run of the service over a folder that outlives it. Ready for peers, subscribers and operators once constructed."""

    def __init__(self, folder, settings, address=NEARBY_V4, ports=(0, 0), peers_more="", tracker_more="", env=None, shards=1):
        folder.mkdir(parents=True, exist_ok=True)
        self.socket = folder / "control.sock"
        self.config = folder / "spillway.toml"
        self.peers, self._tracker = (joined(address, port) for port in ports)
        self.state = folder / "state"
        self._shards = shards
        self.configure(settings, peers_more, tracker_more)
        number = len(list(folder.glob("serve-*.ready.json")))
        ready_file = folder / f"serve-{number}.ready.json"
        command = [BINARY, "serve", "--config", self.config, "--ready-file", ready_file]
        super().__init__(command, folder / f"serve-{number}.log", env=env)
        try:
            self.wait_until("it is ready", ready_file.exists, READY_SECONDS)
        except BaseException:
            self.stop()
            raise
        self.ready = json.loads(ready_file.read_text(encoding="utf-8"))

    def configure(self, settings, peers_more="", tracker_more=""):
        """Writes the settings file anew; a running service reads it at the next reload. `*_more` are lines of sections that
        are there already."""
        base = BASE.format(
            peers=self.peers,
            peers_more=peers_more,
            shards=self._shards,
            tracker=self._tracker,
            tracker_more=tracker_more,
            state=self.state,
            socket=self.socket,
        )
        # In one step: half of a file is settings as well.
        fresh = self.config.with_suffix(".new")
        fresh.write_text(base + settings, encoding="utf-8")
        fresh.rename(self.config)

    @property
    def address(self):
        """`(host, port)` where it takes peers."""
        host, port = self.ready["listen"][0].rsplit(":", 1)
        return host.strip("[]"), int(port)

    @property
    def ports(self):
        """Those of peers and of the tracker, so that another run can have the same."""
        tracker = next(url for url in self.ready["tracker"] if url.startswith("http:"))
        return self.address[1], int(tracker.rsplit(":", 1)[1].split("/")[0])

    def ctl(self, *arguments, check=True):
        """What `spillway ctl --json` says."""
        answer = run(BINARY, "ctl", "--socket", self.socket, "--json", *arguments, check=check)
        return json.loads(answer.stdout) if answer.stdout.strip() else {}

    def reload(self):
        """What `spillway ctl reload` says; it fails if not all could be applied."""
        return self.ctl("reload", check=False)

    def torrents(self):
        """`name -> row` of all torrents."""
        return {row["name"]: row for row in self.ctl("list")["torrents"]}

    def releases(self):
        """`path -> row` of all releases that are not withdrawn."""
        return {row["path"]: row for row in self.ctl("releases")["releases"] if row["state"] != "withdrawn"}

    def fetch(self, path):
        """A body from its HTTP server, by path or whole URL, and its headers."""
        url = path if path.startswith("http:") else self.ready["http"].rstrip("/") + path
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as reply:
            return reply.read(), reply.headers

    def kill(self):
        """Ends it as a power failure would."""
        self.signal(signal.SIGKILL)
        self.wait(STOP_SECONDS)

    def end(self):
        """Ends it in good order."""
        self.signal(signal.SIGTERM)
        code = self.wait(STOP_SECONDS)
        assert code == 0, f"spillway serve exited with {code}\n{self.log()[-20_000:]}"
