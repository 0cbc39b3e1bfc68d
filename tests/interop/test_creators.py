"""Torrents that others make are verified by us, and ours by others."""

import libtorrent
import pytest

from clients import transmission
from libtorrent_session import parameters, quiet_session
from network import LOOPBACK_V4
from process import run, wait_until
from spillway import spillway

KINDS = ("image", "tree", "names")
ANNOUNCE = f"http://{LOOPBACK_V4}:1/announce"


def by_transmission(source, target):
    run("transmission-create", "-o", target, "-t", ANNOUNCE, source)


def by_mktorrent(source, target):
    run("mktorrent", "-o", target, "-a", ANNOUNCE, "-l", "18", source)


def by_libtorrent(flags):
    def create(source, target):
        files = libtorrent.list_files(str(source))
        creator = libtorrent.create_torrent(files, 0, flags)
        creator.add_tracker(ANNOUNCE)
        libtorrent.set_piece_hashes(creator, str(source.parent))
        target.write_bytes(libtorrent.bencode(creator.generate()))

    return create


CREATORS = {
    "transmission": by_transmission,
    "mktorrent": by_mktorrent,
    "libtorrent-v1": by_libtorrent(libtorrent.create_torrent.v1_only),
    "libtorrent-v2": by_libtorrent(libtorrent.create_torrent.v2_only),
    "libtorrent-hybrid": by_libtorrent(0),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("creator", CREATORS)
def test_a_torrent_of_another_creator_verifies(creator, kind, payloads, tmp_path):
    torrent = tmp_path / "theirs.torrent"
    CREATORS[creator](payloads[kind], torrent)
    spillway("verify", torrent, payloads[kind])
    spillway("verify", torrent, payloads[kind].parent)


@pytest.mark.parametrize("creator", CREATORS)
def test_a_wrong_byte_is_found_and_its_file_named(creator, payloads, tmp_path):
    source = payloads["image"]
    torrent = tmp_path / "theirs.torrent"
    CREATORS[creator](source, torrent)
    copy = tmp_path / source.name
    copy.write_bytes(source.read_bytes())
    with open(copy, "r+b") as file:
        file.seek(12_345_678)
        byte = file.read(1)[0]
        file.seek(12_345_678)
        file.write(bytes([byte ^ 1]))
    done = spillway("verify", torrent, copy, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and source.name in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("format_name", ("v1", "v2", "hybrid"))
def test_libtorrent_finds_our_torrent_complete(format_name, kind, payloads, tmp_path):
    source = payloads[kind]
    torrent = tmp_path / "ours.torrent"
    spillway("create", source, "-o", torrent, "--format", format_name)
    session = quiet_session(LOOPBACK_V4)
    handle = session.add_torrent(parameters(torrent, source.parent))
    checking = libtorrent.torrent_status.checking_files, libtorrent.torrent_status.checking_resume_data
    wait_until("libtorrent has hashed the files", lambda: handle.status().state not in checking)
    status = handle.status()
    assert status.is_seeding, f"{status.state} {status.progress} {status.errc.message()}"


@pytest.mark.parametrize("kind", KINDS)
def test_transmission_and_aria2_read_our_torrent(kind, payloads, tmp_path):
    source = payloads[kind]
    torrent = tmp_path / "ours.torrent"
    spillway("create", source, "-o", torrent, "--format", "v1", "--announce", ANNOUNCE, "--comment", "a note")
    info_hash = str(libtorrent.load_torrent_file(str(torrent)).info_hashes.v1)
    shown = transmission.show(torrent)
    assert info_hash in shown and source.name in shown and ANNOUNCE in shown and "a note" in shown
    assert info_hash in run("aria2c", "--show-files", torrent).stdout


def test_the_same_content_gives_the_same_torrent(payloads, tmp_path):
    made = []
    for name in ("first.torrent", "second.torrent"):
        spillway("create", payloads["tree"], "-o", tmp_path / name, "--creation-date", "1700000000")
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]


def test_v1_pieces_of_every_creator_are_ours(payloads, tmp_path):
    """Same file, same piece length: the same info-hash up to what creators add, and the same piece hashes."""
    pieces = set()
    for name, create in (("theirs", by_mktorrent), ("ours", _by_us)):
        torrent = tmp_path / f"{name}.torrent"
        create(payloads["image"], torrent)
        pieces.add(libtorrent.bdecode(torrent.read_bytes())[b"info"][b"pieces"])
    assert len(pieces) == 1


def _by_us(source, target):
    spillway("create", source, "-o", target, "--format", "v1", "--piece-length", "256KiB")
