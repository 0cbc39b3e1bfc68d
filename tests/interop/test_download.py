"""Clients that no one here wrote download what we publish, and the bytes are compared."""

import pytest

import clients
from content import assert_same
from network import LOOPBACK_V4
from torrents import magnet_with_trackers, with_trackers

KINDS = ("image", "tree", "names")
FORMATS = ("v1", "v2", "hybrid")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client", clients.ALL, ids=lambda client: client.name)
def test_a_torrent_file_downloads(client, kind, payloads, publishers, tmp_path):
    torrent = publishers(client.home.publisher[4], client.format).torrents[payloads[kind].name]
    client.download(torrent.torrent_file, tmp_path / "into", client.home.client[4])
    assert_same(payloads[kind], tmp_path / "into" / torrent.name, client.makes_empty_files)


@pytest.mark.parametrize("client", clients.ALL, ids=lambda client: client.name)
def test_a_magnet_downloads(client, payloads, publishers, tmp_path):
    torrent = publishers(client.home.publisher[4], client.format).torrents[payloads["image"].name]
    client.download(torrent.magnet, tmp_path / "into", client.home.client[4])
    assert_same(payloads["image"], tmp_path / "into" / torrent.name)


@pytest.mark.parametrize("kind", ("image", "tree"))
@pytest.mark.parametrize("by", ("torrent", "magnet"))
@pytest.mark.parametrize("format_name", FORMATS)
def test_every_format_downloads_with_libtorrent(format_name, by, kind, payloads, publishers, tmp_path):
    torrent = publishers(LOOPBACK_V4, format_name).torrents[payloads[kind].name]
    assert (torrent.info_hash_v1 is not None) == (format_name != "v2")
    assert (torrent.info_hash_v2 is not None) == (format_name != "v1")
    source = torrent.torrent_file if by == "torrent" else torrent.magnet
    clients.Libtorrent.download(source, tmp_path / "into", LOOPBACK_V4)
    assert_same(payloads[kind], tmp_path / "into" / torrent.name)


@pytest.mark.parametrize("half", ("v1", "v2"))
def test_either_half_of_a_hybrid_is_enough_for_a_magnet(half, payloads, publishers, tmp_path):
    server = publishers(LOOPBACK_V4, "hybrid")
    torrent = server.torrents[payloads["names"].name]
    topic = f"urn:btih:{torrent.info_hash_v1}" if half == "v1" else f"urn:btmh:1220{torrent.info_hash_v2}"
    clients.Libtorrent.download(f"magnet:?xt={topic}&tr={server.ready['tracker'][0]}", tmp_path / "into", LOOPBACK_V4)
    assert_same(payloads["names"], tmp_path / "into" / torrent.name)


@pytest.mark.parametrize("scheme", ("http", "udp"))
@pytest.mark.parametrize("client", clients.ALL, ids=lambda client: client.name)
def test_either_scheme_of_our_tracker_is_enough(client, scheme, payloads, publishers, tmp_path):
    server = publishers(client.home.publisher[4], client.format)
    torrent = server.torrents[payloads["names"].name]
    (tracker,) = [url for url in server.ready["tracker"] if url.startswith(f"{scheme}:")]
    source = with_trackers(torrent.torrent_file, [tracker], tmp_path / "one-tracker.torrent")
    client.download(source, tmp_path / "into", client.home.client[4])
    assert_same(payloads["names"], tmp_path / "into" / torrent.name)


@pytest.mark.parametrize("by", ("torrent", "magnet"))
@pytest.mark.parametrize("client", clients.ALL, ids=lambda client: client.name)
def test_ipv6_alone_is_enough(client, by, payloads, publishers, tmp_path):
    torrent = publishers(client.home.publisher[6], client.format).torrents[payloads["names"].name]
    source = torrent.torrent_file if by == "torrent" else torrent.magnet
    client.download(source, tmp_path / "into", client.home.client[6])
    assert_same(payloads["names"], tmp_path / "into" / torrent.name)


@pytest.mark.parametrize("scheme", ("http", "udp"))
def test_a_magnet_finds_us_by_either_scheme(scheme, payloads, publishers, tmp_path):
    server = publishers(LOOPBACK_V4, "hybrid")
    torrent = server.torrents[payloads["tree"].name]
    trackers = [url for url in server.ready["tracker"] if url.startswith(f"{scheme}:")]
    clients.Libtorrent.download(magnet_with_trackers(torrent, trackers), tmp_path / "into", LOOPBACK_V4)
    assert_same(payloads["tree"], tmp_path / "into" / torrent.name)
