"""Clients that no one here wrote download what we publish, and the bytes are compared."""

from concurrent.futures import ThreadPoolExecutor

import pytest

import clients
from content import assert_same
from network import LOOPBACK_V4, LOOPBACK_V6
from spillway import publish
from torrents import magnet_for, with_trackers

KINDS = ("image", "tree", "names")
FORMATS = ("v1", "v2", "hybrid")

every_client = pytest.mark.parametrize("client", clients.ALL, ids=lambda client: client.name)


@pytest.mark.parametrize("kind", KINDS)
@every_client
def test_a_torrent_file_downloads(client, kind, payloads, publisher, tmp_path):
    torrent = publisher(payloads[kind], client.home.publisher[4], client.format).torrent
    client.download(torrent.torrent_file, tmp_path / "into", client.home.client[4])
    assert_same(payloads[kind], tmp_path / "into" / torrent.name, client.makes_empty_files)


@pytest.mark.parametrize("when", ("auto", "on"))
def test_clients_that_come_together_are_super_seeded_and_finish(when, payloads, tmp_path):
    """Told of pieces one by one, they get all of them, from us and from each other."""
    together = (clients.Libtorrent, clients.Aria2, clients.Rtorrent, clients.Libtorrent)
    options = ["--format", "v1", "--super-seed", when]
    with publish(payloads["image"], folder=tmp_path / "publish", options=options) as server:
        torrent = server.torrent
        with ThreadPoolExecutor() as pool:
            downloads = [
                # Each from an address of its own, as peers of a swarm have: of those that share one, rtorrent dials
                # but one, and not always us.
                pool.submit(client.download, torrent.torrent_file, tmp_path / str(n) / "into", f"127.0.3.{n + 1}")
                for n, client in enumerate(together)
            ]
        for n, download in enumerate(downloads):
            download.result()
            assert_same(payloads["image"], tmp_path / str(n) / "into" / torrent.name)


@every_client
def test_a_magnet_downloads(client, payloads, publisher, tmp_path):
    torrent = publisher(payloads["image"], client.home.publisher[4], client.format).torrent
    client.download(magnet_for(client, torrent), tmp_path / "into", client.home.client[4])
    assert_same(payloads["image"], tmp_path / "into" / torrent.name)


@pytest.mark.parametrize("kind", ("image", "tree"))
@pytest.mark.parametrize("by", ("torrent", "magnet"))
@pytest.mark.parametrize("format_name", FORMATS)
def test_every_format_downloads_with_libtorrent(format_name, by, kind, payloads, publisher, tmp_path):
    torrent = publisher(payloads[kind], LOOPBACK_V4, format_name).torrent
    assert (torrent.info_hash_v1 is not None) == (format_name != "v2")
    assert (torrent.info_hash_v2 is not None) == (format_name != "v1")
    source = torrent.torrent_file if by == "torrent" else torrent.magnet
    clients.Libtorrent.download(source, tmp_path / "into", LOOPBACK_V4)
    assert_same(payloads[kind], tmp_path / "into" / torrent.name)


@pytest.mark.parametrize("half", ("v1", "v2"))
def test_either_half_of_a_hybrid_is_enough_for_a_magnet(half, payloads, publisher, tmp_path):
    server = publisher(payloads["names"], LOOPBACK_V4, "hybrid")
    torrent = server.torrent
    topic = f"urn:btih:{torrent.info_hash_v1}" if half == "v1" else f"urn:btmh:1220{torrent.info_hash_v2}"
    link = f"magnet:?xt={topic}&tr={server.ready['tracker'][0]}"
    clients.Libtorrent.download(link, tmp_path / "into", LOOPBACK_V4)
    assert_same(payloads["names"], tmp_path / "into" / torrent.name)


@pytest.mark.parametrize("scheme", ("http", "udp"))
@every_client
def test_either_scheme_of_our_tracker_is_enough(client, scheme, payloads, publisher, tmp_path):
    server = publisher(payloads["names"], client.home.publisher[4], client.format)
    source = with_trackers(server.torrent.torrent_file, server.trackers(scheme), tmp_path / "one-tracker.torrent")
    client.download(source, tmp_path / "into", client.home.client[4])
    assert_same(payloads["names"], tmp_path / "into" / server.torrent.name)


@pytest.mark.parametrize("scheme", ("http", "udp"))
def test_a_magnet_finds_us_by_either_scheme(scheme, payloads, publisher, tmp_path):
    server = publisher(payloads["tree"], LOOPBACK_V4, "hybrid")
    link = magnet_for(clients.Libtorrent, server.torrent, server.trackers(scheme))
    clients.Libtorrent.download(link, tmp_path / "into", LOOPBACK_V4)
    assert_same(payloads["tree"], tmp_path / "into" / server.torrent.name)


@pytest.mark.parametrize("by", ("torrent", "magnet"))
@every_client
def test_ipv6_alone_is_enough(client, by, payloads, publisher, tmp_path):
    """By HTTP: Transmission 3.00 cannot read an IPv6 address in a UDP tracker's URL."""
    server = publisher(payloads["names"], client.home.publisher[6], client.format)
    trackers = server.trackers("http")
    if by == "torrent":
        source = with_trackers(server.torrent.torrent_file, trackers, tmp_path / "one-tracker.torrent")
    else:
        source = magnet_for(client, server.torrent, trackers)
    client.download(source, tmp_path / "into", client.home.client[6])
    assert_same(payloads["names"], tmp_path / "into" / server.torrent.name)


def test_our_udp_tracker_speaks_ipv6(payloads, publisher, tmp_path):
    server = publisher(payloads["names"], LOOPBACK_V6, "hybrid")
    link = magnet_for(clients.Libtorrent, server.torrent, server.trackers("udp"))
    clients.Libtorrent.download(link, tmp_path / "into", LOOPBACK_V6)
    assert_same(payloads["names"], tmp_path / "into" / server.torrent.name)


def test_several_paths_are_as_many_torrents(payloads, tmp_path):
    with publish(*payloads.values(), folder=tmp_path / "publish") as server:
        assert set(server.torrents) == {path.name for path in payloads.values()}
        for path in payloads.values():
            clients.Libtorrent.download(server.torrents[path.name].magnet, tmp_path / "into", LOOPBACK_V4)
            assert_same(path, tmp_path / "into" / path.name)
