"""How a running seed behaves: signals, restarts, files that change under it, limits."""

import json
import os
import shutil
import signal
import threading
import time

import pytest

import clients
from content import assert_same
from network import LOOPBACK_V4
from peer import BLOCK_BYTES, Peer
from process import wait_until
from recorder import Recorder
from spillway import publish, seed, spillway

PIECE_BYTES = 256 * 1024
# For peers of ours, which ask for what they like without having been told of it.
PLAIN = ["--super-seed", "off"]
# The watch over files looks every few seconds; the rest is for a busy machine.
NOTICE_SECONDS = 60
# What the rate is measured over: long enough that the bucket's first fill is little of it.
WINDOW_SECONDS = 3


@pytest.fixture
def image(payloads, tmp_path):
    """A copy of the image that a test may damage."""
    copy = tmp_path / "data" / "image.bin"
    copy.parent.mkdir()
    shutil.copyfile(payloads["image"], copy)
    return copy


@pytest.fixture
def torrent(image, tmp_path):
    """A v1 torrent of it that announces nowhere."""
    target = tmp_path / "image.torrent"
    spillway("create", image, "-o", target, "--format", "v1", "--piece-length", str(PIECE_BYTES))
    return target


def test_the_ready_file_tells_what_a_script_needs(payloads, tmp_path):
    with publish(payloads["names"], folder=tmp_path / "publish") as server:
        ready = server.ready
        assert set(ready) >= {"pid", "listen", "tracker", "torrents"}
        assert ready["pid"] == server.pid
        assert all(not address.endswith(":0") for address in ready["listen"])
        assert sorted(url.split(":")[0] for url in ready["tracker"]) == ["http", "udp"]
        (torrent,) = ready["torrents"]
        assert set(torrent) >= {"name", "torrent_file", "magnet", "info_hash_v1", "info_hash_v2"}
        shown = json.loads(spillway("show", torrent["torrent_file"], "--json").stdout)
        assert shown["info_hash_v1"] == torrent["info_hash_v1"]
        assert shown["info_hash_v2"] == torrent["info_hash_v2"]
        announced = {url for tier in shown["trackers"] for url in tier}
        assert announced == set(ready["tracker"])
        assert spillway("magnet", torrent["torrent_file"]).stdout.strip() == torrent["magnet"]


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT), ids=lambda number: number.name)
def test_a_signal_ends_it_in_order_and_tells_the_tracker(number, payloads, tmp_path):
    with Recorder() as tracker:
        torrent = tmp_path / "names.torrent"
        spillway("create", payloads["names"], "-o", torrent, "--announce", tracker.url)
        shown = json.loads(spillway("show", torrent, "--json").stdout)
        swarms = [shown["info_hash_v1"], shown["info_hash_v2"][:40]]
        with seed(torrent, data=payloads["names"].parent, folder=tmp_path / "seed") as server:
            for swarm in swarms:
                server.wait_until("it has announced", lambda swarm=swarm: "started" in tracker.events(swarm))
            server.signal(number)
            assert server.wait() == 0, server.log()
        for swarm in swarms:
            assert tracker.events(swarm)[-1] == "stopped"
            assert tracker.events(swarm).count("stopped") == 1
        assert all(int(announce["left"]) == 0 for announce in tracker.announces)


def test_a_download_that_runs_at_the_stop_ends_with_whole_blocks(image, torrent, tmp_path):
    content = image.read_bytes()
    with seed(torrent, data=image.parent, folder=tmp_path / "seed", options=["--no-announce", *PLAIN]) as server:
        info_hash = server.torrent.info_hash_v1
        with Peer(server.address, info_hash) as peer:
            for begin in range(0, PIECE_BYTES, BLOCK_BYTES):
                peer.ask(0, begin)
            piece, begin, block = peer.block()
            assert block == content[piece * PIECE_BYTES + begin :][:BLOCK_BYTES]
            server.signal(signal.SIGTERM)
            assert server.wait() == 0, server.log()


def test_a_signal_shows_what_was_measured_and_stops_nothing(image, torrent, tmp_path):
    with seed(torrent, data=image.parent, folder=tmp_path / "seed", options=["--no-announce", *PLAIN]) as server:
        with Peer(server.address, server.torrent.info_hash_v1) as peer:
            peer.ask(0, 0)
            peer.block()
            server.signal(signal.SIGUSR1)
            server.wait_until("it shows what was measured", lambda: "batch size in blocks: p50 1" in server.log())
            assert "block service time in us: p50" in server.log()
            assert "executor stall in us: p50" in server.log()
            peer.ask(0, BLOCK_BYTES)
            peer.block()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0, server.log()
        assert server.log().count("batch size in blocks") == 2, "and once more at the end"


def test_a_restart_does_not_hash_again(image, tmp_path):
    """Bytes that change under a size and a time that do not would give another info-hash, if anybody looked at them."""
    folder = tmp_path / "publish"
    with publish(image, folder=folder) as first:
        hashes = first.torrent.info_hash_v1, first.torrent.info_hash_v2
    genuine = overwrite_unseen(image, b"another beginning")
    with publish(image, folder=folder) as second:
        assert (second.torrent.info_hash_v1, second.torrent.info_hash_v2) == hashes
    overwrite_unseen(image, genuine)
    with publish(image, folder=folder) as third:
        clients.Libtorrent.download(third.torrent.torrent_file, tmp_path / "into", LOOPBACK_V4)
    assert_same(image, tmp_path / "into" / image.name)


def overwrite_unseen(path, beginning):
    """Writes over the beginning of a file, gives it back the time that it had, and gives back what was there."""
    status = path.stat()
    with open(path, "r+b") as file:
        before = file.read(len(beginning))
        file.seek(0)
        file.write(beginning)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return before


def test_a_restart_hashes_what_has_changed(image, tmp_path):
    folder = tmp_path / "publish"
    with publish(image, folder=folder) as first:
        before = first.torrent.info_hash_v1
    with open(image, "r+b") as file:
        file.write(b"another beginning")
    with publish(image, folder=folder) as second:
        assert second.torrent.info_hash_v1 != before


def test_content_that_does_not_match_is_refused_before_it_is_served(image, torrent, tmp_path):
    with open(image, "r+b") as file:
        file.seek(1_000_000)
        file.write(b"not what was hashed")
    done = spillway(
        "seed", torrent, "--data", image.parent, "--listen", f"{LOOPBACK_V4}:0", "--no-announce", check=False
    )
    assert done.returncode == 1
    assert image.name in _error_line(done) and "1 of 257 pieces" in _error_line(done)


def truncated(path):
    os.truncate(path, 1_000_000)


def replaced(path):
    other = path.with_name("other")
    other.write_bytes(bytes(path.stat().st_size))
    other.replace(path)


def deleted(path):
    path.unlink()


def overwritten(path):
    with open(path, "r+b") as file:
        file.write(bytes(1_000_000))


@pytest.mark.parametrize("damage", (truncated, replaced, deleted, overwritten), ids=lambda damage: damage.__name__)
def test_a_file_that_changes_is_an_error_that_names_it(damage, image, torrent, tmp_path):
    content = image.read_bytes()
    with seed(torrent, data=image.parent, folder=tmp_path / "seed", options=["--no-announce", *PLAIN]) as server:
        said_before = server.log()
        assert "ERROR" not in said_before
        with Peer(server.address, server.torrent.info_hash_v1) as peer:
            damage(image)
            # Whatever still comes is what was published; most likely the seed ends the connection.
            wrong = threading.Event()
            reader = threading.Thread(target=_read_until_the_end, args=(peer, content, wrong))
            reader.start()
            server.wait_until(
                "it says which file changed",
                lambda: any(image.name in line for line in server.log().removeprefix(said_before).splitlines()),
                NOTICE_SECONDS,
            )
            peer.close()
            reader.join()
        # What is written into the very file that we serve may reach a peer before anyone can know; its hash check finds it.
        assert damage is overwritten or not wrong.is_set(), "bytes came that were never published"
        assert server.exit_code is None, f"it crashed\n{server.log()}"
        assert server.stop() == 0


def _read_until_the_end(peer, content, wrong):
    """Asks for block after block of the whole file and compares what comes."""
    try:
        for offset in range(0, len(content) - BLOCK_BYTES, BLOCK_BYTES):
            peer.ask(*divmod(offset, PIECE_BYTES))
            piece, begin, block = peer.block()
            if block != content[piece * PIECE_BYTES + begin :][: len(block)]:
                wrong.set()
    except (OSError, ValueError):
        pass


def test_the_upload_limit_holds(payloads, tmp_path):
    """Four peers share it. A busy machine sends less, but not every time; it never sends more."""
    limit = 20_000_000
    options = ["--format", "v1", "--piece-length", str(PIECE_BYTES), "--upload-limit", "20MB/s", *PLAIN]
    with publish(payloads["image"], folder=tmp_path / "publish", options=options) as server:
        received = [0] * 4
        enough = threading.Event()

        def download(number):
            with Peer(server.address, server.torrent.info_hash_v1) as peer:
                for size in peer.sizes(200, PIECE_BYTES):
                    received[number] += size
                    if enough.is_set():
                        break

        threads = [threading.Thread(target=download, args=(number,)) for number in range(4)]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            wait_until("they are given what the limit allows", lambda: _is_all_of(limit, received, begun))
        finally:
            enough.set()
            for thread in threads:
                thread.join()
    assert all(received)


def _is_all_of(limit, received, begun):
    """Whether so much came in some seconds as the limit allows. Fails if there was ever more."""
    since, before = time.monotonic(), sum(received)
    time.sleep(WINDOW_SECONDS)
    total, now = sum(received), time.monotonic()
    # Of all the time, since what was sent before may be read now.
    assert total <= 1.05 * limit * (now - begun), f"{total} bytes in {now - begun:.1f} s, of {limit} B/s"
    return total - before >= 0.95 * limit * (now - since)


def test_publish_names_what_is_not_there(tmp_path):
    done = spillway("publish", tmp_path / "nothing here", "--listen", f"{LOOPBACK_V4}:0", check=False)
    assert done.returncode == 1
    assert "nothing here" in _error_line(done)


def test_a_port_that_is_taken_is_an_error_that_names_it(payloads, tmp_path):
    with publish(payloads["names"], folder=tmp_path / "first") as server:
        taken = server.ready["tracker"][0].split("/")[2]
        done = spillway(
            "tracker", "--listen", taken, "--open", "--ready-file", tmp_path / "ready.json", check=False
        )
        assert done.returncode == 1
        assert taken in _error_line(done)
        assert not (tmp_path / "ready.json").exists()


@pytest.mark.parametrize("verb", ("publish", "seed", "create", "show", "verify", "magnet", "tracker"))
def test_every_verb_explains_itself(verb):
    assert "Usage" in spillway(verb, "--help").stdout
    assert spillway(verb, "--no-such-option", check=False).returncode == 2


def _error_line(done):
    """The one line that starts with `error:`; log lines may come before it."""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    return line
