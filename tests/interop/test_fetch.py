"""`spillway get` fetches from clients that no one here wrote, and from our own seed; the bytes are compared."""

import contextlib

import pytest

from clients import seeds
from content import assert_same, digests
from gathering import Gathering
from getter import Getter, get
from network import LOOPBACK_V4, LOOPBACK_V6, joined
from spillway import publish, seed, spillway
from torrents import described

FORMATS = ("v1", "v2", "hybrid")
QUIET = ("--no-announce",)
# For a seed that shall be seen at work.
SLOW = ("--super-seed", "off", "--upload-limit", "20MB/s")


def make(payload, folder, format_name):
    """A torrent of `payload` that announces nowhere."""
    target = folder / f"{payload.name} {format_name}.torrent"
    spillway("create", payload, "-o", target, "--format", format_name)
    return described(target)


def seeders():
    """Each client with each format that it reads."""
    for client in seeds.ALL:
        lacks = client is seeds.RqbitSeed and not seeds.RQBIT
        marks = pytest.mark.skip(reason="rqbit is not installed; RQBIT_BIN names one") if lacks else ()
        for format_name in client.formats:
            yield pytest.param(client, format_name, id=f"{client.name}-{format_name}", marks=marks)


@pytest.mark.parametrize("kind", ("image", "names"))
@pytest.mark.parametrize("client, format_name", list(seeders()))
def test_every_client_is_fetched_from(client, format_name, kind, payloads, tmp_path):
    torrent = make(payloads[kind], tmp_path, format_name)
    with client(torrent, payloads[kind].parent, tmp_path / "seed", client.home.client[4]) as other:
        listen = joined(client.home.publisher[4], 0)
        last = get(torrent.torrent_file, tmp_path / "into", tmp_path, *QUIET, peers=[other.peer], listen=listen)
    assert_same(payloads[kind], tmp_path / "into" / torrent.name)
    assert last["failed_pieces"] == 0


@pytest.mark.parametrize("by", ("torrent", "magnet"))
def test_all_clients_together_are_one_swarm(by, payloads, tmp_path):
    torrent = make(payloads["image"], tmp_path, "v1")
    data = payloads["image"].parent
    with contextlib.ExitStack() as running:
        peers = []
        for client in seeds.ALL:
            if client is seeds.RqbitSeed and not seeds.RQBIT:
                continue
            other = client(torrent, data, tmp_path / client.name, client.home.client[4])
            peers.append(running.enter_context(other).peer)
        ours = seed(torrent.torrent_file, data=data, folder=tmp_path / "ours", options=[*QUIET, *SLOW])
        peers.append(running.enter_context(ours).address)
        source = torrent.torrent_file if by == "torrent" else torrent.magnet
        # From everywhere, since not all of them are on loopback.
        get(source, tmp_path / "into", tmp_path, *QUIET, peers=peers, listen="0.0.0.0:0")
    assert_same(payloads["image"], tmp_path / "into" / torrent.name)


@pytest.mark.parametrize("kind", ("image", "tree", "names"))
@pytest.mark.parametrize("by", ("torrent", "magnet"))
@pytest.mark.parametrize("format_name", FORMATS)
def test_our_own_seed_gives_every_format(format_name, by, kind, payloads, tmp_path):
    torrent = make(payloads[kind], tmp_path, format_name)
    with seed(torrent.torrent_file, data=payloads[kind].parent, folder=tmp_path / "seed", options=QUIET) as server:
        source = torrent.torrent_file if by == "torrent" else torrent.magnet
        get(source, tmp_path / "into", tmp_path, *QUIET, peers=[server.address])
    assert_same(payloads[kind], tmp_path / "into" / torrent.name)


@pytest.mark.parametrize("half", ("v1", "v2"))
def test_either_half_of_a_hybrids_link_is_enough(half, payloads, tmp_path):
    torrent = make(payloads["names"], tmp_path, "hybrid")
    topic = f"urn:btih:{torrent.info_hash_v1}" if half == "v1" else f"urn:btmh:1220{torrent.info_hash_v2}"
    with seed(torrent.torrent_file, data=payloads["names"].parent, folder=tmp_path / "seed", options=QUIET) as server:
        link = f"magnet:?xt={topic}&x.pe={joined(*server.address)}"
        get(link, tmp_path / "into", tmp_path, *QUIET)
    assert_same(payloads["names"], tmp_path / "into" / torrent.name)


@pytest.mark.parametrize("by", ("torrent", "magnet"))
@pytest.mark.parametrize("address", (LOOPBACK_V4, LOOPBACK_V6))
def test_the_tracker_is_enough_to_find_peers(address, by, payloads, tmp_path):
    listen = joined(address, 0)
    with publish(payloads["names"], folder=tmp_path / "publish", listen=listen) as server:
        source = server.torrent.torrent_file if by == "torrent" else server.torrent.magnet
        get(source, tmp_path / "into", tmp_path, listen=listen)
    assert_same(payloads["names"], tmp_path / "into" / server.torrent.name)


def test_the_dht_is_enough_to_find_peers(payloads, tmp_path):
    torrent = make(payloads["names"], tmp_path, "hybrid")
    options = [*QUIET, "--dht", "--dht-node", f"{LOOPBACK_V4}:1"]
    with seed(torrent.torrent_file, data=payloads["names"].parent, folder=tmp_path / "seed", options=options) as server:
        into = tmp_path / "into"
        with Getter(torrent.magnet, into, tmp_path, *QUIET, "--dht-node", joined(*server.address), dht=True) as getter:
            getter.complete()
    assert_same(payloads["names"], into / torrent.name)


def test_parts_make_the_whole_and_nothing_else_is_fetched(payloads, tmp_path):
    root = payloads["tree"]
    torrent = make(root, tmp_path, "hybrid")
    wanted = digests(root)
    into = tmp_path / "into"
    with seed(torrent.torrent_file, data=root.parent, folder=tmp_path / "seed", options=QUIET) as server:
        parts = sorted({name.split("/")[0] for name in wanted})
        for number, part in enumerate(parts):
            last = get(torrent.torrent_file, into, tmp_path, *QUIET, "--files", part, peers=[server.address])
            assert last["total_pieces"] > last["wanted_pieces"] or len(parts) == 1
            found = digests(into / root.name)
            for name in wanted:
                if name.split("/")[0] in parts[: number + 1]:
                    assert found.get(name) == wanted[name], name
        last = get(torrent.torrent_file, into, tmp_path, *QUIET, peers=[server.address])
        assert last["total_pieces"] == last["wanted_pieces"]
    assert_same(root, into / root.name)


def test_pieces_come_in_order_if_they_are_wanted_so(payloads, tmp_path):
    """Whatever is there of it, at any moment, is the beginning: but for what is on its way."""
    torrent = make(payloads["image"], tmp_path, "v1")
    data, folder = payloads["image"].parent, tmp_path / "seed"
    content = payloads["image"].read_bytes()
    into = tmp_path / "into"
    with seed(torrent.torrent_file, data=data, folder=folder, options=[*QUIET, *SLOW]) as server:
        options = [*QUIET, "--sequential", "--sparse"]
        with Getter(torrent.torrent_file, into, tmp_path, *options, peers=[server.address]) as getter:
            getter.wait_until("a half is there", lambda: getter.last().get("verified_bytes", 0) > len(content) // 2)
            verified = getter.last()["verified_bytes"]
            with open(into / torrent.name, "rb") as file:
                assert file.read(verified // 2) == content[: verified // 2]
            getter.complete()
    assert_same(payloads["image"], into / torrent.name)


def test_who_has_fetched_becomes_a_seed_for_others(payloads, tmp_path):
    torrent = make(payloads["image"], tmp_path, "hybrid")
    with contextlib.ExitStack() as running:
        server = seed(torrent.torrent_file, data=payloads["image"].parent, folder=tmp_path / "seed", options=QUIET)
        running.enter_context(server)
        ready = tmp_path / "ready.json"
        options = [*QUIET, "--seed-for", "1.0", "--ready-file", ready]
        listen = f"{LOOPBACK_V4}:0"
        mirror = Getter(torrent.torrent_file, tmp_path / "mirror", tmp_path, *options, peers=[server.address], listen=listen)
        running.enter_context(mirror)
        mirror.reach("seeding")
        server.stop()
        get(torrent.torrent_file, tmp_path / "into", tmp_path / "second", *QUIET, peers=[mirror.address(ready)])
        last = mirror.complete()
        assert last["sent_bytes"] >= last["wanted_bytes"]
    assert_same(payloads["image"], tmp_path / "into" / torrent.name)


def test_those_who_come_together_give_each_other_what_they_have(payloads, tmp_path):
    """The seed gives much less than each of four would take from it alone."""
    image = payloads["image"]
    with contextlib.ExitStack() as running:
        server = running.enter_context(Gathering(tmp_path / "seed", image, "127.0.4.100"))

        def start(number):
            folder = tmp_path / str(number)
            # Each from an address of its own, as peers of a swarm have, and there for the others until all are done.
            options = ("--seed-for", "forever")
            return Getter(server.torrent.torrent_file, folder / "into", folder, *options, listen=f"127.0.4.{number}:0")

        getters = [running.enter_context(start(number)) for number in range(1, 5)]
        server.begin(len(getters), "unlimited")
        for getter in getters:
            getter.reach("seeding")
        copies = server.given_bytes() / image.stat().st_size
    for number in range(1, 5):
        assert_same(image, tmp_path / str(number) / "into" / image.name)
    assert copies < 2.5, f"the seed gave {copies:.2f} copies"
