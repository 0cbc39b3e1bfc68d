"""Our node of the DHT beside libtorrent's: each finds what the other announces, in both families."""

import contextlib
import os
from pathlib import Path

import libtorrent
import pytest

from network import LOOPBACK_V4, LOOPBACK_V6, free_port, joined
from process import Process

TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or Path(__file__).parents[2] / "target")
# `cargo test` has built it.
NODE = TARGET / "debug/examples/dht_node"
INFO_HASH = "0123456789abcdef" * 2 + "01234567"
OTHER_SWARM = "f" * 40
OUR_PORT, THEIR_PORT = 7777, 8888


def found_peers(node):
    return {line.removeprefix("peer ") for line in node.log().splitlines() if line.startswith("peer ")}


class Node(Process):
    """One of our nodes, listening once constructed."""

    def __init__(self, folder, name, address, bootstrap, info_hash, port):
        super().__init__([NODE, joined(address, 0), bootstrap, info_hash, port], folder / f"{name}.log")
        lines = self.wait_until("it listens", lambda: [x for x in self.log().splitlines() if x.startswith("listen ")])
        self.address = lines[0].removeprefix("listen ")


def libtorrent_node(address, bootstrap):
    """A session that takes part in the DHT of one loopback address, where all nodes are one host and none has an id of it."""
    return libtorrent.session(
        {
            "listen_interfaces": joined(address, free_port(address)),
            "enable_dht": True,
            "dht_bootstrap_nodes": bootstrap,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "dht_restrict_routing_ips": False,
            "dht_restrict_search_ips": False,
            "dht_ignore_dark_internet": False,
            "dht_block_ratelimit": 1000,
            "alert_mask": libtorrent.alert.category_t.all_categories,
        }
    )


@pytest.mark.parametrize("address", (LOOPBACK_V4, LOOPBACK_V6))
def test_libtorrent_and_our_nodes_find_what_the_other_announces(address, tmp_path):
    with contextlib.ExitStack() as running:

        def node(name, bootstrap, info_hash, port):
            return running.enter_context(Node(tmp_path, name, address, bootstrap, info_hash, port))

        # An announce is kept by others, so there is one node more that announces nothing of that swarm.
        first = node("first", "-", OTHER_SWARM, 0)
        ours = node("ours", first.address, INFO_HASH, OUR_PORT)
        session = libtorrent_node(address, first.address)
        swarm = libtorrent.sha1_hash(bytes.fromhex(INFO_HASH))
        theirs = set()

        def both_found():
            session.dht_get_peers(swarm)
            session.dht_announce(swarm, THEIR_PORT, 0)
            for alert in session.pop_alerts():
                if isinstance(alert, libtorrent.dht_get_peers_reply_alert):
                    theirs.update(port for _, port in alert.peers())
            return OUR_PORT in theirs and joined(address, THEIR_PORT) in found_peers(ours)

        ours.wait_until("both have found the other", both_found, seconds=60)
        del session
