"""What is left of a fetch that was interrupted, killed, starved of disk or robbed of its files: everything that was verified,
and nothing wrong."""

import ctypes
import os
import random
import subprocess

import libtorrent
import pytest

from content import assert_same
from getter import Getter, get
from spillway import seed, spillway
from torrents import described

QUIET = ("--no-announce",)
FAST = (*QUIET, "--super-seed", "off")
# So slow that most of it is still to come when it is interrupted, however late that is.
SLOW = (*FAST, "--upload-limit", "4MB/s")
# Of these 67 MB.
SOME_BYTES = 5_000_000
# What a crash may cost, as the issue has it.
LOST_MS = 1000
CRASHES = 8
CLONE_NEWNS = 0x00020000


@pytest.fixture
def served(payloads, tmp_path):
    """A torrent of the image, and two seeds of it: the slow one is for what is interrupted."""
    target = tmp_path / "image.torrent"
    spillway("create", payloads["image"], "-o", target, "--piece-length", "256KiB")
    torrent, data = described(target), payloads["image"].parent
    with (
        seed(target, data=data, folder=tmp_path / "slow", options=SLOW) as slow,
        seed(target, data=data, folder=tmp_path / "fast", options=FAST) as fast,
    ):
        torrent.slow, torrent.fast = slow.address, fast.address
        yield torrent


def start(torrent, into, folder):
    return Getter(torrent.torrent_file, into, folder, *QUIET, peers=[torrent.slow])


def complete(torrent, into, folder):
    return get(torrent.torrent_file, into, folder, *QUIET, peers=[torrent.fast])


def test_an_interrupted_fetch_goes_on_where_it_was(served, payloads, tmp_path):
    into = tmp_path / "into"
    with start(served, into, tmp_path) as getter:
        getter.wait_until("some is there", lambda: getter.last().get("verified_bytes", 0) > SOME_BYTES)
        getter.signal(2)
        assert getter.wait() == 1
        stopped = getter.last()
    assert stopped["outcome"] == "interrupted" and "goes on" in stopped["error"]
    last = complete(served, into, tmp_path)
    # What was verified after the last line that told of it may be more.
    assert last["resumed_bytes"] >= stopped["verified_bytes"]
    assert_same(payloads["image"], into / served.name)


def recorded_pieces(folder, torrent):
    """How many pieces the record of a fetch knows."""
    for record in (folder / "state" / "fetching").glob(f"{torrent.info_hash_v1}-*"):
        return sum(map(int.bit_count, libtorrent.bdecode(record.read_bytes())[b"have"]))
    return 0


def test_a_crash_at_any_moment_costs_at_most_a_second_and_no_byte_is_wrong(served, payloads, tmp_path):
    seed_number = random.randrange(1 << 32)
    print(f"moments of this run: random.Random({seed_number})")
    moments = random.Random(seed_number)
    into = tmp_path / "into"
    safe_pieces, costs_little = 0, []
    for _ in range(CRASHES):
        with start(served, into, tmp_path) as getter:
            begun = getter.reach("fetching")
            assert begun["verified_pieces"] >= safe_pieces, f"verified work was lost: {begun}, recorded: {safe_pieces}"
            # It may look for pieces that the record does not know yet; what the record knows stands.
            assert "files that changed" not in getter.log(), getter.log()
            assert safe_pieces == 0 or "no record" not in getter.log(), getter.log()
            end_ms = begun["elapsed_ms"] + moments.uniform(200, 2500)
            getter.wait_until("its moment has come", lambda: getter.last()["elapsed_ms"] > end_ms)
            getter.signal(9)
            getter.wait()
            lines = getter.lines()
            assert lines[-1]["state"] == "fetching", "most is still to come"
            safe_pieces = recorded_pieces(tmp_path, served)
            older = [line["verified_pieces"] for line in lines if line["elapsed_ms"] <= lines[-1]["elapsed_ms"] - LOST_MS]
            if older and max(older) > begun["verified_pieces"]:
                costs_little.append(max(older) <= safe_pieces)
    # A machine that is busy is late to make it durable, but not every time.
    assert not costs_little or any(costs_little), "what was verified more than a second ago was never recorded"
    complete(served, into, tmp_path)
    assert_same(payloads["image"], into / served.name)


def test_what_another_program_left_is_checked_and_used(served, payloads, tmp_path):
    into = tmp_path / "into"
    into.mkdir()
    content = bytearray(payloads["image"].read_bytes())
    content[30_000_000:31_000_000] = bytes(1_000_000)
    (into / served.name).write_bytes(content)
    last = complete(served, into, tmp_path)
    assert 0 < last["received_bytes"] < 2_000_000
    assert_same(payloads["image"], into / served.name)


def truncated(path):
    os.truncate(path, 1_000_000)


def replaced(path):
    other = path.with_name("other")
    other.write_bytes(bytes(path.stat().st_size))
    other.replace(path)


def deleted(path):
    path.unlink()


@pytest.mark.parametrize("damage", (truncated, replaced, deleted), ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("when", ("under way", "between runs"))
def test_a_file_that_is_damaged_is_fetched_again(when, damage, served, payloads, tmp_path):
    into = tmp_path / "into"
    with start(served, into, tmp_path) as getter:
        getter.wait_until("some is there", lambda: getter.last().get("verified_bytes", 0) > SOME_BYTES)
        if when == "under way":
            damage(into / served.name)
            assert getter.wait() == 1
            assert served.name in getter.last()["error"], getter.last()
        else:
            getter.signal(2)
            assert getter.wait() == 1
            damage(into / served.name)
    complete(served, into, tmp_path)
    assert_same(payloads["image"], into / served.name)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 40 MB of our own, and a way to make it larger."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        pytest.skip(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "--make-rprivate", "/"], check=False)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40M", "tmpfs", place], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs: {mounted.stderr.decode().strip()}")

    def grow():
        subprocess.run(["mount", "-o", "remount,size=200M", place], check=True)

    yield place, grow
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(served, small_disk, tmp_path):
    place, _ = small_disk
    with start(served, place / "into", tmp_path) as getter:
        # It waits for room, as one does that runs out of it under way.
        paused = getter.reach("paused")
    assert str(place) in paused["reason"] and "space" in paused["reason"], paused
    assert getter.last()["received_bytes"] == 0


def test_a_full_disk_pauses_the_fetch_until_there_is_room(served, small_disk, payloads, tmp_path):
    place, grow = small_disk
    into = place / "into"
    with Getter(served.torrent_file, into, tmp_path, *QUIET, "--sparse", peers=[served.fast]) as getter:
        paused = getter.reach("paused")
        assert str(place) in paused["reason"], paused
        grow()
        getter.complete()
    assert_same(payloads["image"], into / served.name)
