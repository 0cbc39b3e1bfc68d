"""Runs the service under strace through all that it does: `traced.py BINARY FOLDER TRACE`. Loopback only, free ports."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_SECONDS = 180

SETTINGS = """
[peers]
listen = ["127.0.0.1:0"]
dht = false
[tracker]
listen = ["127.0.0.1:0"]
[torrents]
rest_after = "1s"
[engine]
shards = 1
state_dir = "{folder}/state"
[control]
socket = "{folder}/control.sock"
[[publish]]
name = "tree"
root = "{folder}/tree"
settle = "1s"
"""


def wait_until(what, happened):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline, f"it never happened that {what}"
        time.sleep(0.1)


def main(binary, folder, trace):
    (folder / "tree").mkdir()
    (folder / "state").mkdir(mode=0o700)
    settings, ready = folder / "spillway.toml", folder / "ready.json"
    settings.write_text(SETTINGS.format(folder=folder), encoding="utf-8")
    command = ["strace", "-f", "-qq", "-o", trace, binary, "serve", "--config", settings, "--ready-file", ready]
    with open(folder / "service.log", "wb") as log:
        service = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "RUST_BACKTRACE": "1"})
    try:
        wait_until("it was ready", lambda: ready.exists() or service.poll() is not None)
        assert service.poll() is None, (folder / "service.log").read_text()
        peer = json.loads(ready.read_text())["listen"][0]
        added(binary, folder, peer)
        released(binary, folder, peer)
        ctl(binary, folder, "stats")
        ctl(binary, folder, "list")
        ctl(binary, folder, "reload")
        service_pid = json.loads(ready.read_text())["pid"]
        os.kill(service_pid, signal.SIGHUP)
        os.kill(service_pid, signal.SIGTERM)
        assert service.wait(PATIENCE_SECONDS) == 0, (folder / "service.log").read_text()
    finally:
        if service.poll() is None:
            service.kill()


def released(binary, folder, peer):
    """A file appears, becomes a release, and is fetched."""
    image = folder / "tree/image.bin"
    image.write_bytes(os.urandom(3_000_000))
    torrent = folder / "tree/image.bin.torrent"
    wait_until("a release appeared", torrent.exists)
    fetch(binary, folder, torrent, peer)
    assert (folder / "fetched/image.bin").read_bytes() == image.read_bytes()


def added(binary, folder, peer):
    """An operator adds a torrent whose content is there."""
    content = folder / "content/data.bin"
    content.parent.mkdir()
    content.write_bytes(os.urandom(2_000_000))
    torrent = folder / "data.torrent"
    subprocess.run([binary, "create", content, "-o", torrent], check=True, timeout=PATIENCE_SECONDS)
    ctl(binary, folder, "add", torrent, "--folder", content.parent)
    fetch(binary, folder, torrent, peer)
    assert (folder / "fetched/data.bin").read_bytes() == content.read_bytes()


def fetch(binary, folder, torrent, peer):
    command = [binary, "get", torrent, "--output", folder / "fetched", "--peer", peer, "--listen", "127.0.0.1:0"]
    options = ["--no-dht", "--no-lsd", "--state", folder / "fetch-state"]
    subprocess.run([*command, *options], check=True, timeout=PATIENCE_SECONDS, stdout=subprocess.DEVNULL)


def ctl(binary, folder, *verb):
    command = [binary, "ctl", "--socket", folder / "control.sock", *verb]
    subprocess.run(command, check=True, timeout=PATIENCE_SECONDS, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
