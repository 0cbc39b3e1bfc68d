"""Transmission's daemon in the foreground, steered over its RPC."""

import json
import urllib.error
import urllib.request

from network import LOOPBACK_V4, OFF_LOOPBACK, free_port
from process import DOWNLOAD_SECONDS, PATIENCE_SECONDS, Process, run

FIELDS = ["percentDone", "metadataPercentComplete", "leftUntilDone", "errorString", "status", "trackerStats"]


class Transmission:
    name = "transmission"
    # 3.00 takes the empty keys of a v2 file tree for corruption (Transmission issue 3386).
    format = "v1"
    takes_two_hashes = True
    # It takes loopback addresses from a tracker for an attack (isMartianAddr in its net.c).
    home = OFF_LOOPBACK
    # It writes a file when its first bytes come, and so never an empty one.
    makes_empty_files = False

    @staticmethod
    def download(source, into, address):
        into.mkdir(parents=True, exist_ok=True)
        folder = into.parent / "transmission"
        folder.mkdir()
        rpc_port = free_port(LOOPBACK_V4)
        (folder / "settings.json").write_text(json.dumps(_settings(into, address, rpc_port)), encoding="utf-8")
        command = ["transmission-daemon", "--foreground", "--log-debug", "--config-dir", folder]
        with Process(command, into.parent / "transmission.log") as daemon:
            rpc = _Rpc(f"http://{LOOPBACK_V4}:{rpc_port}/transmission/rpc")
            daemon.wait_until("its RPC answers", rpc.alive)
            added = rpc.call("torrent-add", {"filename": str(source), "download-dir": str(into)})
            number = added["torrent-added"]["id"]

            def complete():
                torrent = rpc.call("torrent-get", {"ids": [number], "fields": FIELDS})["torrents"][0]
                assert not torrent["errorString"] or "tracker" in torrent["errorString"].lower(), torrent
                return torrent["metadataPercentComplete"] == 1 and torrent["percentDone"] == 1

            daemon.wait_until("it has the whole torrent", complete, DOWNLOAD_SECONDS)


def show(torrent):
    """What `transmission-show` says of a torrent file; it exits with an error for one that it cannot read."""
    return run("transmission-show", torrent).stdout


class _Rpc:
    """Transmission's JSON RPC; the first answer is 409 with the session id to use."""

    def __init__(self, url):
        self._url = url
        self._session = ""

    def alive(self):
        try:
            return self.call("session-get", {"fields": ["version"]})
        except OSError:
            return None

    def call(self, method, arguments):
        body = json.dumps({"method": method, "arguments": arguments}).encode()
        for _ in range(2):
            request = urllib.request.Request(self._url, body, {"X-Transmission-Session-Id": self._session})
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as reply:
                    answer = json.load(reply)
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise
                self._session = error.headers["X-Transmission-Session-Id"]
                continue
            assert answer["result"] == "success", answer
            return answer["arguments"]
        raise OSError("the session id was refused twice")


def _settings(into, address, rpc_port):
    v6 = ":" in address
    return {
        # Its HTTP requests leave from this address too, whatever version the tracker has, unless it is the wildcard.
        "bind-address-ipv4": "0.0.0.0" if v6 else address,
        "bind-address-ipv6": address if v6 else "::1",
        "peer-port": free_port(address),
        "dht-enabled": False,
        "lpd-enabled": False,
        "pex-enabled": False,
        "utp-enabled": False,
        "port-forwarding-enabled": False,
        "encryption": 0,
        "download-dir": str(into),
        "incomplete-dir-enabled": False,
        "rpc-bind-address": LOOPBACK_V4,
        "rpc-port": rpc_port,
        "rpc-whitelist-enabled": False,
        "rpc-host-whitelist-enabled": False,
        "speed-limit-down-enabled": False,
        "preallocation": 0,
    }
