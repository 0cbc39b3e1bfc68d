"""Settings that change while the service runs: what can change live has its effect, the rest is named, mistakes change nothing."""

import contextlib
import json
import signal
import ssl
import subprocess
import time
import urllib.error

import pytest

from network import LOOPBACK_V4, NEARBY_V4, free_port, joined
from peer import Peer, is_seeding
from process import run
from recorder import Recorder
from service import Operator, Service
from spillway import BINARY, spillway
from torrents import described, tiny_hybrid
from web import Web

SECONDS = 60
PIECE_BYTES = 256 * 1024
PIECES = 8
# What is held to 100 kB/s takes longer than anybody waits for what comes at once if nothing holds it.
HELD_BYTES_PER_S = 100_000
# The bursts of all limits together.
BURST_BYTES = 500_000
FREE_BYTES = 2 * SECONDS * HELD_BYTES_PER_S
TREE = """
[[publish]]
name = "{name}"
root = "{root}"
output = "{root}-torrents"
settle = "1s"
"""


@pytest.fixture
def image(payloads, tmp_path):
    """A torrent of the image."""
    target = tmp_path / "image.torrent"
    spillway("create", payloads["image"], "-o", target, "--piece-length", "256KiB")
    torrent = described(target)
    torrent.folder = payloads["image"].parent
    return torrent


def serving(service, torrent, *options):
    service.ctl("add", torrent.torrent_file, "--folder", torrent.folder, *options)
    service.wait_until(
        "it is served", lambda: service.torrents()[torrent.name]["state"] in ("seeding", "resting"), SECONDS
    )


def is_held(service, torrent):
    """Whether a peer is sent no more than the limit allows."""
    began = time.monotonic()
    with Peer(service.address, torrent.info_hash_v1) as peer:
        total = peer.stream(PIECES, PIECE_BYTES, 1)[0]
    return total <= BURST_BYTES + HELD_BYTES_PER_S * (time.monotonic() - began)


def is_free(service, torrent):
    """Whether a peer is sent what it asks for."""
    began, total = time.monotonic(), 0
    with Peer(service.address, torrent.info_hash_v1) as peer:
        for size in peer.sizes(PIECES, PIECE_BYTES):
            total += size
            if total >= FREE_BYTES or time.monotonic() - began > SECONDS:
                return total >= FREE_BYTES


def test_limits_of_all_of_groups_and_by_the_clock_hold_as_soon_as_they_are_read(image, tmp_path):
    with Service(tmp_path / "service", '[limits]\nupload = "100kB"\n') as service:
        serving(service, image)
        assert is_held(service, image)
        service.configure("")
        assert service.reload()["applied"] == ["limits"]
        assert is_free(service, image)
        # A group that was not there before, and a torrent in it.
        group = '[limits.groups.slow]\nupload = "{rate}"\n'
        service.configure(group.format(rate="100kB"))
        service.reload()
        service.ctl("limit", image.name, "--group", "slow")
        assert is_held(service, image)
        service.configure(group.format(rate="unlimited"))
        service.reload()
        assert is_free(service, image)
        # The clock has the last word, also after something else was read again.
        always = '[[limits.schedule]]\nupload = "100kB"\ngroups = ["slow"]\n'
        service.configure(group.format(rate="unlimited") + always)
        service.reload()
        assert is_held(service, image)
        service.configure(group.format(rate="unlimited") + always + "[torrents]\nseed_ratio = 100000.0\n")
        assert service.reload()["applied"] == ["torrents"]
        assert is_held(service, image)
        service.configure(group.format(rate="unlimited") + '[torrents]\nupload = "100kB"\n')
        service.reload()
        assert is_held(service, image), "the limit of each torrent"
        service.end()


def test_slots_are_taken_and_given_live(image, tmp_path):
    slots = "slots = {count}\n"
    with Service(tmp_path / "service", "", peers_more=slots.format(count=1)) as service:
        serving(service, image)

        def served(count):
            return sum(not row["is_choked"] for row in service.ctl("peers", image.name)["peers"]) == count

        with contextlib.ExitStack() as peers:
            peers.enter_context(Peer(service.address, image.info_hash_v1))
            peers.enter_context(Peer(service.address, image.info_hash_v1, waits=False))
            service.wait_until("there are both", lambda: len(service.ctl("peers", image.name)["peers"]) == 2, SECONDS)
            assert served(1)
            service.configure("", peers_more=slots.format(count=2))
            assert service.reload()["applied"] == ["peers"]
            service.wait_until("both are served", lambda: served(2), SECONDS)
            service.configure("", peers_more=slots.format(count=1))
            service.reload()
            service.wait_until("one of them is", lambda: served(1), SECONDS)
        service.end()


def test_log_levels_follow_a_signal(tmp_path):
    with Service(tmp_path / "service", '[log]\nfilter = "error"\n') as service:
        assert "INFO" not in service.log()
        service.configure('[log]\nfilter = "info"\n')
        service.signal(signal.SIGHUP)
        service.wait_until("more is logged", lambda: 'applied="log.filter"' in service.log(), SECONDS)
        service.configure('[log]\nfilter = "error"\n')
        service.reload()
        silent = service.log()
        service.signal(signal.SIGHUP)
        service.end()
        assert service.log() == silent


def test_trees_feeds_webhooks_and_subscriptions_come_and_go(tmp_path):
    trees = {name: tmp_path / name for name in ("first", "second")}
    for root in trees.values():
        root.mkdir()
    one = TREE.format(name="first", root=trees["first"])
    other = TREE.format(name="second", root=trees["second"])
    with Web() as web, Service(tmp_path / "service", one) as service:
        hook = f'[[webhook]]\nurl = "{web.url}/hook"\nevents = ["published", "error"]\n'
        subscribe = f'[[subscribe]]\nname = "up"\nfeed = "{web.url}/up.rss"\noutput = "{tmp_path}/up"\ninterval = "1s"\n'
        feed = '[[feed]]\nname = "all"\n'
        # A file that is there before its tree is known.
        (trees["second"] / "b.iso").write_bytes(b"b" * 1000)
        service.configure(one + other + feed + hook + subscribe)
        assert sorted(service.reload()["applied"]) == ["feed", "publish", "subscribe", "webhook"]
        service.wait_until("it is told of", lambda: web.told("/hook", "published"), SECONDS)
        assert b"b.iso" in service.fetch("/feeds/all.rss")[0]
        service.wait_until("the feed is followed", lambda: "/up.rss" in web.asked, SECONDS)

        # What cannot be published, and a feed that is not there, are told, and shown.
        (trees["second"] / "c").mkdir()
        (trees["second"] / "c" / "pipe").write_bytes(b"c")
        run("mkfifo", trees["second"] / "c" / "fifo")
        service.wait_until("it is said what is wrong", lambda: service.releases().get("c", {}).get("error"), SECONDS)
        row = service.releases()["c"]
        assert (row["state"], row["publish"], row["id"]) == ("failed", "second", None) and "fifo" in row["error"], row
        lost, info_hash = tiny_hybrid(tmp_path / "added", "lost.bin", b"lost" * 100)
        service.ctl("add", lost, "--folder", tmp_path / "added")
        service.wait_until("it is served", lambda: is_seeding(service.address, info_hash), SECONDS)
        (tmp_path / "added" / "lost.bin").unlink()
        for what in ("up", "lost.bin"):
            service.wait_until(
                f"somebody was told of {what}",
                lambda what=what: f'"{what}"' in json.dumps(web.told("/hook", "error")),
                SECONDS,
            )

        # One changed, all others gone: what is published stays, and nothing new comes of them.
        service.configure(one + '[[feed]]\nname = "other"\n')
        service.reload()
        with pytest.raises(urllib.error.HTTPError):
            service.fetch("/feeds/all.rss")
        (trees["second"] / "d.iso").write_bytes(b"d" * 1000)
        (trees["first"] / "a.iso").write_bytes(b"a" * 1000)
        service.wait_until("the other tree goes on", lambda: b"a.iso" in service.fetch("/feeds/other.rss")[0], SECONDS)
        assert set(service.releases()) == {"a.iso", "b.iso"}
        assert not [message for message in web.told("/hook", "published") if "a.iso" in json.dumps(message)]
        # Links lead elsewhere.
        service.configure(one + '[[feed]]\nname = "other"\n[http]\nbase_url = "https://cdn.example/x/"\n')
        assert service.reload()["applied"] == ["http.base_url"]
        assert b"https://cdn.example/x/releases/" in service.fetch("/feeds/other.rss")[0]
        (trees["first"] / "e.iso").write_bytes(b"e" * 1000)
        service.wait_until("it is published", lambda: "e.iso" in service.releases(), SECONDS)
        service.wait_until("its files are", (tmp_path / "first-torrents" / "e.iso.meta4").exists, SECONDS)
        assert "https://cdn.example/x/releases/" in (tmp_path / "first-torrents" / "e.iso.meta4").read_text("utf-8")
        service.end()


def test_a_file_of_info_hashes_is_read_again_though_its_name_is_the_same(tmp_path):
    allow = tmp_path / "allow.txt"
    allow.write_text("", encoding="utf-8")
    with Service(tmp_path / "service", "", tracker_more=f'allow = "{allow}"\n') as service:
        url = next(url for url in service.ready["tracker"] if url.startswith("http:"))
        announce = f"{url}?info_hash={'%aa' * 20}&peer_id={'p' * 20}&port=7&uploaded=0&downloaded=0&left=1&compact=1"
        assert b"failure reason" in service.fetch(announce)[0]
        allow.write_text("aa" * 20 + "\n", encoding="utf-8")
        service.reload()
        assert b"interval" in service.fetch(announce)[0]
        allow.write_text("no info-hash\n", encoding="utf-8")
        (failed,) = service.reload()["failed"]
        assert failed.startswith("tracker.allow:") and str(allow) in failed, failed
        assert b"interval" in service.fetch(announce)[0], "what was there before is in force"
        service.end()


def test_trackers_are_asked_faster_at_once(tmp_path):
    """At the first pace it would take minutes longer than anybody waits here."""
    count = 150
    with Recorder() as tracker:
        pace = "[tracker.client]\nannounces_per_second = {count}\n"
        with Service(tmp_path / "service", pace.format(count=1)) as service:
            operator, folder, hashes = Operator(service.socket), tmp_path / "content", []
            for number in range(count):
                torrent, info_hash = tiny_hybrid(folder, f"{number}.bin", bytes([number]) * 100, [tracker.url])
                body = {"torrent_path": str(torrent), "folder": str(folder)}
                status, answer = operator.ask("POST", "/v1/torrents", body)
                assert status == 200, answer
                hashes.append(info_hash)
            # Each is two swarms.
            assert len(tracker.announces) < count
            service.configure(pace.format(count=1000))
            assert service.reload()["applied"] == ["tracker.client"]
            service.wait_until("all are announced", lambda: all(tracker.events(one) for one in hashes), SECONDS)
            service.kill()


def certificate(folder, name):
    """A certificate for `name`, signed by itself, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", f"/CN={name}", "-keyout", key, "-out", certificate,
    )  # fmt: skip
    return certificate, key


def test_certificates_are_changed_without_a_restart(tmp_path):
    first, second = (certificate(tmp_path, name) for name in ("first.example", "second.example"))
    port = free_port(LOOPBACK_V4)
    tls = '[http.tls]\nlisten = ["{address}"]\ncertificate = "{0}"\nkey = "{1}"\n'

    def settings(pair):
        return tls.format(*pair, address=joined(LOOPBACK_V4, port))

    def shown():
        return ssl.get_server_certificate((LOOPBACK_V4, port))

    with Service(tmp_path / "service", settings(first)) as service:
        assert shown().strip() == first[0].read_text("ascii").strip()
        service.configure(settings(second))
        assert service.reload()["applied"] == ["http.tls"]
        assert shown().strip() == second[0].read_text("ascii").strip()
        # Renewed in place: the settings are the same, the files are not.
        for old, new in zip(second, certificate(tmp_path, "third.example"), strict=True):
            new.replace(old)
        assert service.reload()["applied"] == []
        assert shown().strip() == second[0].read_text("ascii").strip()
        in_force = shown()
        second[1].write_text("no key\n", encoding="ascii")
        (failed,) = service.reload()["failed"]
        assert failed.startswith("http.tls:") and str(second[1]) in failed, failed
        assert shown() == in_force
        done = run(BINARY, "ctl", "--socket", service.socket, "reload", check=False)
        assert done.returncode == 1 and "not applied    http.tls:" in done.stdout
        service.end()


def test_what_needs_a_restart_is_named_and_mistakes_change_nothing(tmp_path):
    with Service(tmp_path / "service", '[limits]\nupload = "5MB"\n') as service:
        good = service.config.read_text(encoding="utf-8")
        other = good.replace("shards = 1", "shards = 2").replace(str(service.state), f"{service.state}-other")
        other = other.replace(f'[peers]\nlisten = ["{service.peers}"]', f'[peers]\nlisten = ["{joined(NEARBY_V4, 1)}"]')
        service.config.write_text(other.replace("5MB", "6MB"), encoding="utf-8")
        reloaded = service.reload()
        assert reloaded["needs_restart"] == ["peers.listen", "engine.shards", "engine.state_dir"]
        assert reloaded["applied"] == ["limits"]
        assert "a restart is needed for peers.listen, engine.shards, engine.state_dir" in service.log()
        assert service.ctl("stats")["upload_limit_bytes_per_s"] == 6_000_000

        service.config.write_text(good.replace("5MB", "7MB") + "\n[limits.groups.a]\nuplaod = '1MB'\n", encoding="utf-8")
        line = 1 + service.config.read_text(encoding="utf-8").splitlines().index("uplaod = '1MB'")
        refused = subprocess.run(
            [BINARY, "ctl", "--socket", service.socket, "reload"], capture_output=True, text=True, check=False
        )
        assert refused.returncode == 1, refused
        error = refused.stderr.strip()
        assert "\n" not in error and f"{service.config}:{line}" in error and "uplaod" in error, error
        assert service.ctl("stats")["upload_limit_bytes_per_s"] == 6_000_000, "also of what was right nothing holds"
        service.signal(signal.SIGHUP)
        service.wait_until("it is logged", lambda: "kept the old settings: " in service.log(), SECONDS)
        assert f"{service.config}:{line}" in service.log()
        service.end()
