"""What the service tells the manager that runs it (sd_notify(3)) and the journal that keeps its lines, and how it ends."""

import json
import re
import signal
import socket
import time

import pytest

from network import NEARBY_V4
from peer import Peer, is_seeding
from service import Operator, Service
from systemd import Stopped, Systemd
from spillway import seed, spillway
from torrents import described, tiny_hybrid

SECONDS = 60
WATCHDOG_SECONDS = 1.5


def test_readiness_reload_status_and_stop_are_told(tmp_path):
    folder, content = tmp_path / "service", tmp_path / "content"
    hashes = []
    with Service(folder, "") as service:
        for number in range(30):
            name = f"{number}.bin"
            torrent, info_hash = tiny_hybrid(content, name, name.encode() * 50)
            service.ctl("add", torrent, "--folder", content)
            hashes.append(info_hash)
        for info_hash in hashes:
            service.wait_until("it is served", lambda one=info_hash: is_seeding(service.address, one), SECONDS)
        service.end()
    told = []

    def at_once(message):
        """What is so when it says that it is ready."""
        if "READY" in message and not told:
            shown = Operator(folder / "control.sock").ask("GET", "/v1/torrents")
            told.append((shown, len(hashes)))

    with Systemd(tmp_path / "notify", hears=at_once) as systemd:
        with Service(folder, "", env=systemd.env) as service:
            service.wait_until("it is ready", lambda: systemd.told("READY"), SECONDS)
            first = systemd.told("READY")[0]
            assert first["READY"] == "1" and first["STATUS"].startswith("30 torrents, 0 peers"), first
            ((status, shown), count) = told[0]
            assert status == 200 and len(shown["torrents"]) == count, "operators and torrents are there by then"
            assert all(is_seeding(service.address, info_hash) for info_hash in hashes)

            before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            service.configure('[limits]\nupload = "1MB"\n')
            service.signal(signal.SIGHUP)
            service.wait_until("it is ready again", lambda: len(systemd.told("READY")) == 2, SECONDS)
            (reloading,) = systemd.told("RELOADING")
            after_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            # In the same message: else the manager takes the reload for failed.
            assert before_us <= int(reloading["MONOTONIC_USEC"]) <= after_us

            service.end()
        (stopping,) = systemd.told("STOPPING")
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 0
        states = [next(iter(message)) for message in systemd.messages]
        # How it is comes in between, whenever that has changed.
        assert [state for state in states if state != "STATUS"] == ["READY", "RELOADING", "READY", "STOPPING"]


def test_signs_of_life_come_while_every_shard_answers_and_only_then(tmp_path):
    with Systemd(tmp_path / "notify", watchdog_seconds=WATCHDOG_SECONDS) as systemd:
        with Service(tmp_path / "service", "", env=systemd.env) as service:
            service.wait_until("there are signs of life", lambda: len(systemd.told("WATCHDOG")) >= 3, SECONDS)
            silent = "no sign of life for the watchdog"
            try:
                stuck = Stopped(service.pid, "shard-0")
            except OSError as error:
                pytest.skip(f"no thread can be stopped here: {error}")
            with stuck:
                # A busy machine is missed now and then. The first that is missed may have answered before it was stopped.
                before = service.log().count(silent)
                service.wait_until("it is missed", lambda: service.log().count(silent) >= before + 2, SECONDS)
                count = len(systemd.told("WATCHDOG"))
                service.wait_until("it is missed still", lambda: service.log().count(silent) >= before + 6, SECONDS)
                assert len(systemd.told("WATCHDOG")) == count, "the manager is left to draw its conclusion"
                assert "shards are stuck" in service.log() or "no answer within" in service.log()
            service.wait_until("it is back", lambda: len(systemd.told("WATCHDOG")) > count + 2, SECONDS)
            service.end()


def test_the_journal_gets_priorities_and_no_times(tmp_path):
    log = tmp_path / "service" / "serve-0.log"
    log.parent.mkdir()
    log.touch()
    stream = log.stat()
    with Service(tmp_path / "service", "", env={"JOURNAL_STREAM": f"{stream.st_dev}:{stream.st_ino}"}) as service:
        (tmp_path / "service" / "spillway.toml").write_text("nonsense", encoding="utf-8")
        service.signal(signal.SIGHUP)
        service.wait_until("it says so", lambda: "kept the old settings" in service.log(), SECONDS)
        service.end()
        lines = service.log().splitlines()
    assert lines and all(re.match(r"<[3467]>[a-z_:]+: ", line) for line in lines), lines
    assert any(line.startswith("<3>") and "kept the old settings" in line for line in lines)
    with Service(tmp_path / "service", "", env={"JOURNAL_STREAM": f"{stream.st_dev}:1"}) as service:
        service.end()
        assert re.match(r"\d{4}-\d\d-\d\dT", service.log()), "what is redirected is not the journal"


def test_json_lines_are_one_object_each(tmp_path):
    with Service(tmp_path / "service", '[log]\nformat = "json"\n') as service:
        service.reload()
        service.end()
        lines = [json.loads(line) for line in service.log().splitlines()]
    assert lines and all({"level", "timestamp", "message"} <= set(line) for line in lines), lines


def busy(service, image, folder, payloads):
    """Peers that are served, a fetch under way, and a request that is never finished."""
    service.ctl("add", image.torrent_file, "--folder", payloads["image"].parent)
    service.wait_until("it is served", lambda: is_seeding(service.address, image.info_hash_v1), SECONDS)
    peers = [Peer(service.address, image.info_hash_v1) for _ in range(5)]
    for peer in peers:
        # More than a socket takes, and nobody reads it.
        for piece in range(64):
            for begin in range(0, 256 * 1024, 16 * 1024):
                peer.ask(piece, begin)
    half = socket.create_connection((NEARBY_V4, service.ports[1]))
    half.sendall(b"GET /feeds/releases.rss HTTP/1.1\r\nHost: a")
    other = folder / "tree.torrent"
    spillway("create", payloads["tree"], "-o", other)
    slow = ("--no-announce", "--super-seed", "off", "--upload-limit", "200kB/s")
    server = seed(other, data=payloads["tree"].parent, folder=folder / "seed", options=slow)
    service.ctl("add", other, "--folder", folder / "into", "--peer", ":".join(map(str, server.address)))
    name = described(other).name
    service.wait_until("it is fetched", lambda: service.torrents()[name]["verified_bytes"] > 0, SECONDS)
    return server, [*peers, half]


def test_a_stop_ends_within_its_bound_whatever_is_under_way_and_the_same_ports_are_free(payloads, tmp_path):
    target = tmp_path / "image.torrent"
    spillway("create", payloads["image"], "-o", target, "--piece-length", "256KiB")
    image = described(target)
    with Systemd(tmp_path / "notify") as systemd:
        with Service(tmp_path / "service", "", env=systemd.env) as service:
            server, open_ends = busy(service, image, tmp_path, payloads)
            with server:
                service.signal(signal.SIGTERM)
                service.wait_until("it says how long it takes", lambda: systemd.told("STOPPING"), SECONDS)
                bound = int(systemd.told("STOPPING")[0]["EXTEND_TIMEOUT_USEC"]) / 1e6
                assert service.wait(bound) == 0, service.log()
                # Right after it, while the others' ends of the old connections are still open.
                with Service(tmp_path / "service", "", ports=service.ports) as again:
                    again.wait_until("it is served", lambda: is_seeding(again.address, image.info_hash_v1), SECONDS)
                    with Peer(again.address, image.info_hash_v1) as peer:
                        for piece in range(64):
                            for begin in range(0, 256 * 1024, 16 * 1024):
                                peer.ask(piece, begin)
                        # Of what is sent now most is never read, and a stop waits for it.
                        peer.block()
                        again.signal(signal.SIGTERM)
                        again.wait_until("it is stopping", lambda: "stopping" in again.log(), SECONDS)
                        again.signal(signal.SIGTERM)
                        assert again.wait(SECONDS) == -signal.SIGTERM, "a second one does not wait for sends"
            for end in open_ends:
                end.close()
