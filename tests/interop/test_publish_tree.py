"""A tree that publishes itself, from a real rsync to a mirror that follows the feed: the service end to end."""

import contextlib
import hashlib
import urllib.error

import feedparser
import pytest

import clients
from content import assert_same
from getter import get
from network import NEARBY_V4, VISITOR_V4
from process import run
from service import Service

SECONDS = 180
# The classic tree is for Transmission 3, which cannot read hybrid torrents. It is written in place, where nothing but quiet tells
# that a file is whole: a busy machine may not write for a second.
PUBLISH = """
[[publish]]
name = "images"
root = "{root}/images"
output = "{root}/torrents"
settle = "1s"
grace = "2s"
max_withdraw_percent = 100

[[publish]]
name = "classic"
root = "{root}/classic"
format = "v1"
settle = "5s"
grace = "2s"
max_withdraw_percent = 100

[[feed]]
name = "releases"
"""
SUBSCRIBE = """
[[subscribe]]
name = "upstream"
feed = "{feed}"
output = "{output}"
interval = "{interval}"
"""


@pytest.fixture
def tree(tmp_path):
    """A root with two empty trees in it."""
    root = tmp_path / "srv"
    for name in ("images", "classic"):
        (root / name).mkdir(parents=True)
    return root


def rsync(source, target, *options):
    """One transfer by the real rsync."""
    run("rsync", "--archive", *options, source, f"{target}/")


def entries(service, kind="rss"):
    """`title -> entry` of the feed as a feed reader sees it."""
    body, headers = service.fetch(f"/feeds/releases.{kind}")
    # Without Last-Modified as long as a second change could fall into the same second (RFC 9110, 8.8.2.1).
    assert headers["ETag"]
    feed = feedparser.parse(body)
    assert not feed.bozo, feed.bozo_exception
    return {entry.title: entry for entry in feed.entries}


def torrent_of(entry):
    """The URL of an item's torrent, and the length that the feed says it has."""
    (enclosure,) = [link for link in entry.links if link.get("type") == "application/x-bittorrent"]
    return enclosure.href, int(enclosure.length)


def published(service, *names):
    """Waits until the feed has just these, by both kinds of feed."""

    def there():
        return set(entries(service)) == set(names) and set(entries(service, "atom")) == set(names)

    service.wait_until(f"the feed has {names}", there, SECONDS)
    return entries(service)


def fetched_torrent(service, entry, folder):
    """The torrent file that an item names, kept in a file."""
    url, length = torrent_of(entry)
    body, headers = service.fetch(url)
    assert len(body) == length, "the enclosure's length is the torrent file's"
    assert headers["Content-Type"] == "application/x-bittorrent"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.torrent"
    target.write_bytes(body)
    return target


def test_what_rsync_brings_is_published_and_every_client_fetches_it(tree, payloads, tmp_path):
    image, names = payloads["image"], payloads["names"]
    with Service(tmp_path / "first", PUBLISH.format(root=tree)) as service:
        rsync(image, tree / "images")
        rsync(names, tree / "images", "--delay-updates")
        rsync(image, tree / "classic", "--inplace")
        # One item is the classic tree's: the same name, another torrent.
        service.wait_until("all is published", lambda: len(feedparser.parse(service.fetch("/feeds/releases.rss")[0]).entries) == 3, SECONDS)
        items = feedparser.parse(service.fetch("/feeds/releases.rss")[0]).entries
        assert sorted(item.title for item in items) == sorted([image.name, image.name, names.name])
        assert len({item.id for item in items}) == 3
        for item in items:
            fetched_torrent(service, item, tmp_path / "torrents")

        hybrid = tree / "torrents" / f"{image.name}.torrent"
        classic = tree / "classic" / f"{image.name}.torrent"
        assert hybrid.read_bytes() in [path.read_bytes() for path in (tmp_path / "torrents").iterdir()]
        for client, torrent in ((clients.Aria2, hybrid), (clients.Libtorrent, hybrid), (clients.Transmission, classic)):
            into = tmp_path / client.name / "into"
            client.download(torrent, into, VISITOR_V4)
            assert_same(image, into / image.name)
        # The checksum file and the Metalink beside it are of use to others.
        sums = (tree / "torrents" / f"{image.name}.sha256").read_text(encoding="utf-8")
        assert hashlib.sha256(image.read_bytes()).hexdigest() in sums
        into = tmp_path / "metalink"
        into.mkdir()
        run(
            "aria2c", f"--dir={into}", f"--interface={VISITOR_V4}", "--no-conf", "--seed-time=0", "--enable-dht=false",
            "--bt-enable-lpd=false", f"--metalink-file={tree / 'torrents' / f'{image.name}.meta4'}",
        )  # fmt: skip
        assert_same(image, into / image.name)
        states = {row["state"] for row in service.ctl("releases")["releases"]}
        assert states == {"published"}
        service.end()


def test_a_second_service_follows_the_feed_and_becomes_a_mirror_that_outlives_the_first(tree, payloads, tmp_path):
    image, names = payloads["image"], payloads["names"]
    settings = PUBLISH.format(root=tree)
    with contextlib.ExitStack() as running:
        first = running.enter_context(Service(tmp_path / "first", settings))
        rsync(image, tree / "images")
        item = published(first, image.name)[image.name]
        torrent = fetched_torrent(first, item, tmp_path)

        copies = tmp_path / "mirror"
        subscribe = SUBSCRIBE.format(feed=f"{first.ready['http']}/feeds/releases.rss", output=copies, interval="1s")
        mirror = running.enter_context(Service(tmp_path / "second", subscribe, address=VISITOR_V4))

        def has(name):
            row = mirror.torrents().get(name)
            return row and row["state"] in ("seeding", "resting")

        mirror.wait_until("the mirror has the first release", lambda: has(image.name), SECONDS)
        assert_same(image, copies / image.name)

        first.kill()
        get(torrent, tmp_path / "by-mirror", tmp_path / "getter", "--no-announce", peers=[mirror.address], listen=f"{VISITOR_V4}:0")
        assert_same(image, tmp_path / "by-mirror" / image.name)

        # While it was down another release came; what it had published is published again without a change.
        rsync(names, tree / "images")
        again = running.enter_context(Service(tmp_path / "first", settings, ports=first.ports))
        items = published(again, image.name, names.name)
        assert items[image.name].id == item.id and torrent_of(items[image.name]) == torrent_of(item)
        mirror.wait_until("the mirror has the second release", lambda: has(names.name), SECONDS)
        assert_same(names, copies / names.name)
        clients.Libtorrent.download(torrent, tmp_path / "libtorrent" / "into", VISITOR_V4)
        assert_same(image, tmp_path / "libtorrent" / "into" / image.name)

        # What goes from the tree is withdrawn: from the feed, the tracker, the torrents and the disk.
        (tree / "images" / image.name).unlink()
        published(again, names.name)
        again.wait_until("it is served no longer", lambda: image.name not in again.torrents(), SECONDS)
        assert not list((tree / "torrents").glob(f"{image.name}.*")), "its files are gone as well"
        with pytest.raises(urllib.error.HTTPError):
            again.fetch(torrent_of(item)[0])
        assert has(image.name), "the mirror keeps what it has"
        again.end()
        mirror.end()


def test_a_mirror_gives_up_the_old_content_of_a_name_and_not_the_new(tree, tmp_path):
    nightly, copies = tree / "images" / "nightly.iso", tmp_path / "mirror"

    def publish(content):
        fresh = nightly.with_name(".nightly.iso.Ab12Cd")
        fresh.write_bytes(content)
        fresh.rename(nightly)

    with Service(tmp_path / "first", PUBLISH.format(root=tree)) as service:
        feed = f"{service.ready['http']}/feeds/releases.rss"
        subscribe = SUBSCRIBE.format(feed=feed, output=copies, interval="1s") + "keep = false\n"

        def mirror():
            return Service(tmp_path / "second", subscribe, address=VISITOR_V4)

        def rows(running):
            rows = [row for row in running.ctl("list")["torrents"] if row["state"] in ("seeding", "resting")]
            return {row["info_hash_v1"] for row in rows}

        publish(b"an old night" * 10_000)
        before = published(service, nightly.name)[nightly.name].id
        with mirror() as running:
            running.wait_until("it has the old version", lambda: len(rows(running)) == 1, SECONDS)
            (old,) = rows(running)
            running.end()
        # The mirror hears of both at once: that the old version is gone, and that there is a new one.
        publish(b"a new night" * 10_000)

        def is_new():
            items = entries(service)
            return nightly.name in items and items[nightly.name].id != before

        service.wait_until("the new version is published", is_new, SECONDS)
        with mirror() as running:
            running.wait_until("it has the new version alone", lambda: rows(running) - {old} == rows(running) != set(), SECONDS)
            assert_same(nightly, copies / nightly.name)
            running.end()
        service.end()


def test_what_an_operator_stops_leaves_the_feed_and_is_back_with_its_start(tree, tmp_path):
    (tree / "images" / "a.iso").write_bytes(b"a" * 100_000)
    with Service(tmp_path / "service", PUBLISH.format(root=tree)) as service:
        item = published(service, "a.iso")["a.iso"]
        service.ctl("stop", "a.iso")
        published(service)
        service.ctl("start", "a.iso")
        assert published(service, "a.iso")["a.iso"].id == item.id
        service.end()


def test_a_restart_hashes_nothing_again_and_a_changed_release_is_another_one(tree, payloads, tmp_path):
    image = payloads["image"]
    settings = PUBLISH.format(root=tree)
    with Service(tmp_path / "service", settings) as service:
        rsync(image, tree / "images")
        before = published(service, image.name)[image.name].id
        service.end()
    with Service(tmp_path / "service", settings, ports=service.ports) as service:
        assert published(service, image.name)[image.name].id == before
        changed = tree / "images" / image.name
        # In one step: a file that is half copied for a second would be a release as well.
        with open(changed, "r+b") as file:
            file.write(b"another beginning")

        def is_new():
            items = entries(service)
            return image.name in items and items[image.name].id != before

        service.wait_until("the changed release is published", is_new, SECONDS)
        torrent = fetched_torrent(service, entries(service)[image.name], tmp_path)
        clients.Libtorrent.download(torrent, tmp_path / "into", VISITOR_V4)
        assert_same(changed, tmp_path / "into" / image.name)
        service.end()


def test_nobody_has_a_release_before_its_time_but_who_may(tree, payloads, tmp_path):
    image = payloads["image"]
    settings = PUBLISH.format(root=tree).replace(
        'name = "images"', f'name = "images"\nearly_networks = ["{NEARBY_V4}/32"]', 1
    )
    beside = tree / "images" / f"{image.name}.release-at"
    beside.write_text("2100-01-01T00:00:00Z\n", encoding="utf-8")
    with Service(tmp_path / "service", settings) as service:
        rsync(image, tree / "images")
        service.wait_until(
            "it is ready and under embargo",
            lambda: service.releases().get(image.name, {}).get("state") == "embargoed",
            SECONDS,
        )
        assert entries(service) == {}, "no feed tells of it"
        torrent = tree / "torrents" / f"{image.name}.torrent"
        # A mirror on the list has it; a stranger hears nothing.
        get(torrent, tmp_path / "early", tmp_path / "early-get", peers=[service.address], listen=f"{NEARBY_V4}:0")
        assert_same(image, tmp_path / "early" / image.name)
        stranger = run(
            "aria2c", f"--dir={tmp_path}", f"--interface={VISITOR_V4}", "--no-conf", "--enable-dht=false", "--bt-stop-timeout=4",
            "--bt-enable-lpd=false", str(torrent), check=False,
        )  # fmt: skip
        assert stranger.returncode != 0
        # Whoever takes the file away opens it at once, for everybody.
        beside.unlink()
        published(service, image.name)
        clients.Libtorrent.download(torrent, tmp_path / "libtorrent" / "into", VISITOR_V4)
        assert_same(image, tmp_path / "libtorrent" / "into" / image.name)
        service.end()
