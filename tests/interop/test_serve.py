"""The daemon as a whole, with real processes: what it knows again after a kill, after its database was damaged, and how it ends."""

import contextlib
import ctypes
import http.client
import os
import random
import sqlite3
import threading

import pytest

from content import assert_same
from libtorrent_session import parameters, quiet_session
from network import VISITOR_V4
from peer import Peer, is_seeding
from process import run
from service import Operator, Service
from spillway import BINARY, spillway
from torrents import described, tiny_hybrid

SECONDS = 60
KILLS = 8
OPERATORS = 3
CLONE_NEWNS = 0x00020000
# Totals are kept this often; the rest is for a busy machine.
TOTALS_SECONDS = 30 + SECONDS


class Careless:
    """An operator who changes torrents of his own, one after the other, until the service is gone, and remembers what was
    acknowledged. What was asked last and not answered may have happened or not."""

    def __init__(self, socket_path, folder, prefix, source):
        self._socket, self._folder, self._prefix, self._source = socket_path, folder, prefix, source
        self._count = 0
        # name -> (is stopped, upload limit)
        self.known = {}
        self.pending = None
        self._thread = None

    def begin(self):
        self.pending = None
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def end(self):
        self._thread.join()

    def _work(self):
        operator = Operator(self._socket)
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                method, path, body, (name, after) = self._next()
                self.pending = (name, after)
                status, answer = operator.ask(method, path, body)
                if status == 200 and after is None:
                    self.known.pop(name)
                elif status == 200:
                    self.known[name] = after
                else:
                    # What is refused changes nothing: it was busy, or is being checked.
                    assert status in (409, 503), (status, answer)
                self.pending = None

    def _next(self):
        """A request, and what will be known of a torrent once it is answered."""
        names = sorted(self.known)
        what = self._source.choice(("add", "add", "remove", "limit", "stop", "start") if names else ("add",))
        if what == "add":
            self._count += 1
            name = f"{self._prefix}-{self._count}.bin"
            torrent, _ = tiny_hybrid(self._folder, name, name.encode() * 10)
            stopped = self._source.random() < 0.3
            body = {"torrent_path": str(torrent), "folder": str(self._folder), "stopped": stopped}
            return "POST", "/v1/torrents", body, (name, (stopped, None))
        name = self._source.choice(names)
        stopped, limit = self.known[name]
        if what == "remove":
            return "DELETE", f"/v1/torrents/{name}", None, (name, None)
        if what == "limit":
            limit = self._source.choice((None, self._source.randrange(1, 1 << 30)))
            return "POST", f"/v1/torrents/{name}/limit", {"upload_bytes_per_s": limit}, (name, (stopped, limit))
        return "POST", f"/v1/torrents/{name}/{what}", None, (name, (what == "stop", limit))

    def compare(self, found):
        """Fails unless the service knows what was acknowledged, and of the last request all or nothing."""
        found = {name: state for name, state in found.items() if name.startswith(f"{self._prefix}-")}
        if self.pending:
            name, after = self.pending
            before = self.known.get(name)
            assert found.get(name) in (before, after), f"{name} is half changed: {before}, {after}, {found.get(name)}"
            if found.get(name) is None:
                self.known.pop(name, None)
            else:
                self.known[name] = found[name]
        assert found == self.known


def states(service):
    """`name -> (is stopped, upload limit)` of all torrents."""
    found = {}
    operator = Operator(service.socket)
    for name, row in service.torrents().items():
        assert row["state"] != "failed", row
        status, shown = operator.ask("GET", f"/v1/torrents/{row['id']}")
        assert status == 200 and shown["file_count"] == 1 and shown["piece_count"] == 1, shown
        found[name] = (row["state"] == "stopped", shown["upload_limit_bytes_per_s"])
    return found


def test_what_was_acknowledged_survives_kills_and_nothing_is_half_there(tmp_path):
    seed_number = random.randrange(1 << 32)
    print(f"this run: random.Random({seed_number})")
    source = random.Random(seed_number)
    folder = tmp_path / "service"
    operators = [
        Careless(folder / "control.sock", tmp_path / "content", f"o{number}", random.Random(source.random()))
        for number in range(OPERATORS)
    ]
    for _ in range(KILLS):
        with Service(folder, "") as service:
            found = states(service)
            for operator in operators:
                operator.compare(found)
                operator.begin()
            # Not a time but a number of changes: a slow machine is killed in the middle of as many.
            enough = source.randrange(1, 80)
            before = service.ctl("list")["torrents"]
            last = max((row["id"] for row in before), default=0)
            service.wait_until(
                "some were added",
                lambda last=last, enough=enough: max(
                    (row["id"] for row in service.ctl("list")["torrents"]), default=0
                ) >= last + enough,
                SECONDS,
            )  # fmt: skip
            service.kill()
            for operator in operators:
                operator.end()
    with Service(folder, "") as service:
        found = states(service)
        for operator in operators:
            operator.compare(found)
        running = {row["name"]: row for row in service.torrents().values() if row["state"] != "stopped"}
        assert running
        for row in running.values():
            service.wait_until(
                f"{row['name']} is served",
                lambda row=row: is_seeding(service.address, row["info_hash_v1"]),
                SECONDS,
            )
        service.end()


@pytest.fixture
def image(payloads, tmp_path):
    """A torrent of the image."""
    target = tmp_path / "image.torrent"
    spillway("create", payloads["image"], "-o", target, "--piece-length", "256KiB")
    torrent = described(target)
    torrent.folder = payloads["image"].parent
    return torrent


def test_totals_survive_a_kill_but_for_the_last_moments_and_limits_go_by_them(image, tmp_path):
    content = tmp_path / "content"
    by_ratio, by_time = (tiny_hybrid(content, f"{name}.bin", name.encode() * 100) for name in ("ratio", "time"))
    with Service(tmp_path / "service", "") as service:
        def served(torrent, info_hash, *options):
            service.ctl("add", torrent, *options)
            service.wait_until("it is served", lambda: is_seeding(service.address, info_hash), SECONDS)

        # This one first: it is stopped when totals are looked at next.
        served(*by_time, "--folder", content, "--seed-time", "1s")
        served(image.torrent_file, image.info_hash_v1, "--folder", image.folder)
        served(*by_ratio, "--folder", content, "--ratio", "3")
        with Peer(service.address, image.info_hash_v1) as peer:
            peer.stream(4, 256 * 1024, 0.2)
        with Peer(service.address, by_ratio[1]) as peer:
            for _ in range(3):
                peer.ask(0, 0, 500)
                peer.block()

        def kept_bytes():
            query = f"SELECT uploaded_bytes FROM torrent WHERE name = '{image.name}'"
            return rows(service.state / "catalogue.sqlite", query)[0][0]

        service.wait_until("they are kept", kept_bytes, TOTALS_SECONDS)
        kept = kept_bytes()

        def stopped(name):
            row = service.torrents()[name]
            return row["state"] == "stopped" and row["error"]

        for name, reason in (("ratio.bin", "its ratio is reached"), ("time.bin", "its time of seeding is over")):
            service.wait_until(f"{name} was seeded enough", lambda one=name: stopped(one), TOTALS_SECONDS)
            assert stopped(name) == reason
        assert not is_seeding(service.address, by_ratio[1])
        service.kill()
    with Service(tmp_path / "service", "") as service:
        assert service.torrents()["ratio.bin"]["uploaded_bytes"] == 1500
        assert stopped("ratio.bin") and stopped("time.bin")
        row = service.torrents()[image.name]
        assert row["uploaded_bytes"] >= kept, row
        with Peer(service.address, image.info_hash_v1) as peer:
            sent = peer.stream(4, 256 * 1024, 0.2)[0]
        service.end()
    with Service(tmp_path / "service", "") as service:
        assert service.torrents()[image.name]["uploaded_bytes"] >= row["uploaded_bytes"] + sent, "an orderly end keeps all"


def test_a_fetch_goes_on_where_it_was_after_a_kill(image, payloads, tmp_path):
    into = tmp_path / "into"
    session = quiet_session(VISITOR_V4)
    other = session.add_torrent(parameters(image.torrent_file, image.folder))
    # So slow that most is still to come, however late we look.
    other.set_upload_limit(4_000_000)
    with Service(tmp_path / "service", "") as service:
        service.ctl("add", image.torrent_file, "--folder", into)

        def verified():
            # It comes to us: of peers that we were told of once, a kill leaves nothing.
            other.connect_peer(service.address)
            return service.torrents()[image.name]["verified_bytes"]

        service.wait_until("some is there", lambda: verified() > 4_000_000, SECONDS)
        # What is verified is recorded within a second, and at this rate more comes meanwhile.
        safe_bytes = verified()
        service.wait_until("more is there", lambda: verified() > safe_bytes + 10_000_000, SECONDS)
        service.kill()
    before = other.status().total_payload_upload
    other.set_upload_limit(0)
    with Service(tmp_path / "service", "") as service:
        service.wait_until("it knows what it has", lambda: verified() >= safe_bytes, SECONDS)
        served = ("seeding", "resting")
        service.wait_until("it has the rest", lambda: service.torrents()[image.name]["state"] in served, SECONDS)
        assert_same(payloads["image"], into / image.name)
        # But for what is asked of several at the end.
        lacking = payloads["image"].stat().st_size - safe_bytes
        assert other.status().total_payload_upload - before <= lacking + 4_000_000
        service.end()


@pytest.fixture
def read_only(tmp_path):
    """A folder, and a way to have it mounted so that nobody can write there."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        pytest.skip(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
    run("mount", "--make-rprivate", "/", check=False)
    folder = tmp_path / "read-only"
    folder.mkdir()

    def seal():
        for options in (("--bind",), ("-o", "remount,ro,bind")):
            mounted = run("mount", *options, folder, folder, check=False)
            if mounted.returncode != 0:
                pytest.skip(f"no mount: {mounted.stderr.strip()}")

    yield folder, seal
    run("umount", folder, check=False)


def test_what_is_there_is_served_though_nobody_may_write_it(read_only, tmp_path):
    content, seal = read_only
    torrent, info_hash = tiny_hybrid(content, "a.bin", b"a" * 3000)
    seal()
    with Service(tmp_path / "service", "") as service:
        service.ctl("add", torrent, "--folder", content)
        service.wait_until("it is served", lambda: is_seeding(service.address, info_hash), SECONDS)
        service.end()
    with Service(tmp_path / "service", "") as service:
        assert is_seeding(service.address, info_hash)
        service.ctl("recheck", "a.bin")
        service.wait_until("it is served again", lambda: is_seeding(service.address, info_hash), SECONDS)
        assert service.torrents()["a.bin"]["error"] is None
        service.end()


DAMAGES = {}


def damage(function):
    DAMAGES[function.__name__] = function
    return function


@damage
def garbage_in_the_middle(database):
    size = database.stat().st_size
    with open(database, "r+b") as file:
        for at in range(size // 4, size * 3 // 4, 512):
            file.seek(at)
            file.write(random.Random(at).randbytes(64))


@damage
def truncated(database):
    with open(database, "r+b") as file:
        file.truncate(database.stat().st_size // 2)


@damage
def zero_length(database):
    database.write_bytes(b"")


@damage
def garbage_all_over(database):
    database.write_bytes(random.Random(1).randbytes(100_000))


@damage
def garbage_in_its_log(database):
    log = log_of(database)
    assert log.stat().st_size > 0
    log.write_bytes(random.Random(2).randbytes(50_000))


@damage
def log_gone(database):
    log_of(database).unlink()


def log_of(database):
    return database.with_name(f"{database.name}-wal")


def rows(database, query):
    """What any other program reads in the database."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def ended_with_torrents(folder, content, end):
    """A service of a few torrents, the first of them stopped, that has ended. Gives their names with their info-hashes."""
    hashes = {}
    with Service(folder, "") as service:
        for number in range(12):
            name = f"{number}.bin"
            torrent, hashes[name] = tiny_hybrid(content, name, name.encode() * 50)
            service.ctl("add", torrent, "--folder", content)
        for name, info_hash in hashes.items():
            service.wait_until(f"{name} is served", lambda one=info_hash: is_seeding(service.address, one), SECONDS)
        service.ctl("stop", "0.bin")
        database = service.state / "catalogue.sqlite"
        service.wait_until("second copies are written", lambda: not rows(database, "SELECT * FROM unkept"), SECONDS)
        end(service)
    return hashes


@pytest.mark.parametrize("harm", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_database_is_set_aside_and_made_anew(harm, tmp_path):
    folder = tmp_path / "service"
    # What a killed service knew is in the log: that would heal the database.
    end = Service.kill if harm in (garbage_in_its_log, log_gone) else Service.end
    hashes = ended_with_torrents(folder, tmp_path / "content", end)
    harm(folder / "state" / "catalogue.sqlite")
    with Service(folder, "") as service:
        (said,) = [line for line in service.log().splitlines() if "ERROR" in line]
        assert "a new one holds the 12 torrents" in said, said
        aside = list(service.state.glob("catalogue.sqlite.damaged-*"))
        # Of nothing there is nothing to keep.
        assert any(str(path) in said for path in aside) != (harm is zero_length), (said, aside)
        assert service.torrents()["0.bin"]["state"] == "stopped"
        for name, info_hash in hashes.items():
            if name != "0.bin":
                service.wait_until(f"{name} is served", lambda one=info_hash: is_seeding(service.address, one), SECONDS)
        service.ctl("remove", "1.bin")
        service.end()
    with Service(folder, "") as service:
        assert "ERROR" not in service.log()
        assert len(service.torrents()) == 11
        service.end()


def test_a_database_of_a_newer_version_is_refused_with_one_line(tmp_path):
    folder = tmp_path / "service"
    with Service(folder, "") as service:
        service.end()
    database = folder / "state" / "catalogue.sqlite"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = database.read_bytes()
    refused = run(BINARY, "serve", "--config", service.config, check=False)
    assert refused.returncode == 1
    (error,) = [line for line in refused.stderr.splitlines() if line.startswith("error")]
    assert "newer" in error and str(database) in error, error
    assert database.read_bytes() == before
