"""Metalinks and checksum files that `spillway create` writes, used by the programs that they are for."""

import contextlib
import functools
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from content import assert_same
from network import LOOPBACK_V4
from process import run
from spillway import spillway

# What aria2 says when all sources gave bytes with another checksum (aria2c(1), "EXIT STATUS").
CHECKSUM_EXIT_CODE = 32
# How aria2 1.36 calls a file with an ampersand in its name, whichever way the Metalink escapes it: libxml2 hands attributes
# to it with that one reference still in them.
AMPERSAND_BY_ARIA2 = "&#38;"

OTHER_LOOPBACK_V4 = "127.0.0.2"


class Ranges(SimpleHTTPRequestHandler):
    """Serves a folder, and of a file what is asked for: the module's own handler always sends all of it."""

    def do_GET(self):
        asked = self.headers.get("Range", "")
        path = Path(self.translate_path(self.path))
        size = path.stat().st_size if path.is_file() else 0
        first, _, last = asked.removeprefix("bytes=").partition("-")
        begin, end = int(first or 0), min(int(last or size - 1), size - 1) + 1
        if not asked.startswith("bytes=") or begin >= end:
            super().do_GET()
            return
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        with open(path, "rb") as file:
            file.seek(begin)
            self.wfile.write(file.read(end - begin))

    def log_message(self, *_):
        pass


class Mirror(ThreadingHTTPServer):
    """A web server that says nothing of clients that have had enough."""

    def handle_error(self, *_):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*_)


@contextlib.contextmanager
def mirror(folder, address=LOOPBACK_V4):
    """The URL of a web server that serves `folder`."""
    with Mirror((address, 0), functools.partial(Ranges, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://{address}:{server.server_port}/"
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
    copy = tmp_path / "copy" / source.name
    for path in [path for path in copy.rglob("*") if AMPERSAND_BY_ARIA2 in path.name]:
        path.rename(path.with_name(path.name.replace(AMPERSAND_BY_ARIA2, "&")))
    assert_same(source, copy)


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
    # aria2 gives up a host, not a URL.
    with mirror(wrong) as bad, mirror(source.parent, OTHER_LOOPBACK_V4) as good:
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
