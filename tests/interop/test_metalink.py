"""Metalinks and checksum files that `spillway create` writes, used by the programs that they are for."""

import contextlib
import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from content import assert_same
from network import LOOPBACK_V4
from process import run
from spillway import spillway

# What aria2 says when all sources gave bytes with another checksum (aria2c(1), "EXIT STATUS").
CHECKSUM_EXIT_CODE = 32


@contextlib.contextmanager
def mirror(folder):
    """The URL of a web server that serves `folder`."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer((LOOPBACK_V4, 0), functools.partial(Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{LOOPBACK_V4}:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def aria2(metalink, into):
    into.mkdir()
    options = ("--no-conf", "--file-allocation=none", "--summary-interval=0", "--console-log-level=warn", "--max-tries=2")
    return run("aria2c", f"--dir={into}", *options, f"--metalink-file={metalink}", check=False)


@pytest.mark.parametrize("kind", ("image", "names"))
@pytest.mark.parametrize("format_name", ("hybrid", "v1", "v2"))
def test_aria2_downloads_what_a_metalink_names(kind, format_name, payloads, tmp_path):
    source, metalink = payloads[kind], tmp_path / "release.meta4"
    with mirror(source.parent) as url:
        options = ("--format", format_name, "--metalink", metalink, "--mirror", url)
        spillway("create", source, "-o", tmp_path / "release.torrent", *options)
        done = aria2(metalink, tmp_path / "copy")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same(source, tmp_path / "copy" / source.name)


def test_aria2_finds_out_that_a_mirror_has_other_bytes(payloads, tmp_path):
    source, metalink = payloads["image"], tmp_path / "release.meta4"
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / source.name).write_bytes(bytes(source.stat().st_size))
    with mirror(wrong) as url:
        options = ("--format", "v2", "--metalink", metalink, "--mirror", url)
        spillway("create", source, "-o", tmp_path / "release.torrent", *options)
        done = aria2(metalink, tmp_path / "copy")
    assert done.returncode == CHECKSUM_EXIT_CODE, done.stdout + done.stderr


def test_aria2_mends_from_another_mirror_what_one_gave_wrong(payloads, tmp_path):
    source, metalink = payloads["image"], tmp_path / "release.meta4"
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    content = bytearray(source.read_bytes())
    content[1_000_000:1_000_100] = bytes(100)
    (wrong / source.name).write_bytes(content)
    with mirror(wrong) as bad, mirror(source.parent) as good:
        options = ("--metalink", metalink, "--mirror", bad, "--mirror", good)
        spillway("create", source, "-o", tmp_path / "release.torrent", *options)
        done = aria2(metalink, tmp_path / "copy")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same(source, tmp_path / "copy" / source.name)


@pytest.mark.parametrize("kind", ("image", "tree", "names"))
def test_sha256sum_checks_what_we_summed(kind, payloads, tmp_path):
    source, sums = payloads[kind], tmp_path / "release.sha256"
    spillway("create", source, "-o", tmp_path / "release.torrent", "--sha256sums", sums)
    run("sha256sum", "--check", "--strict", "--quiet", sums, cwd=source.parent)
