"""What is asked of the seeders: how many peers, over what network, how fast, on which cores."""

from dataclasses import dataclass

from . import network

SEEDER_CORE = (0,)
LOAD_CORE = (1,)
BOTH_CORES = (0, 1)

FAST_RIVALS = ("rtorrent", "libtorrent", "rqbit")
# aria2 serves some twenty peers whatever it is told, and Transmission is far behind: they are asked less often.
RIVALS = (*FAST_RIVALS, "aria2", "transmission")
EVERYBODY = ("spillway", "client", *RIVALS, "floor")
THE_FAST = ("spillway", "client", *FAST_RIVALS, "floor")


@dataclass(frozen=True)
class Scenario:
    """`seeders` are names: those of rivals, `spillway`, `client` (spillway with a real client at the same time),
    `shards-1`, `shards-2`, `floor` (the bare gathered write), `iperf3`, `iperf3-parallel`."""

    name: str
    title: str
    mtu: int
    connections: int
    seeders: tuple = EVERYBODY
    options: tuple = ()
    # What an open loop asks for; nothing in a closed one.
    offered_gbit_s: float = 0.0
    # Busy connections that are served already when `connections` more come.
    busy: int = 0
    seeder_cores: tuple = SEEDER_CORE
    load_cores: tuple = LOAD_CORE


ALL = (
    Scenario("loopback-50", "50 peers, loopback", network.LOOPBACK_MTU, 50),
    Scenario(
        "loopback-500", "500 peers, loopback", network.LOOPBACK_MTU, 500, EVERYBODY + ("iperf3", "iperf3-parallel")
    ),
    Scenario("loopback-2000", "2,000 peers, loopback", network.LOOPBACK_MTU, 2_000, THE_FAST),
    Scenario(
        "mtu1500-500", "500 peers, MTU 1500", network.ETHERNET_MTU, 500, EVERYBODY + ("iperf3", "iperf3-parallel")
    ),
    Scenario(
        "offered-500",
        "500 peers, MTU 1500, 2 Gbit/s offered",
        network.ETHERNET_MTU,
        500,
        THE_FAST,
        ("--rate", "2Gbit/s"),
        offered_gbit_s=2.0,
    ),
    Scenario(
        "unpinned-500",
        "500 peers, loopback, nobody pinned",
        network.LOOPBACK_MTU,
        500,
        ("spillway", *FAST_RIVALS),
        seeder_cores=BOTH_CORES,
        load_cores=BOTH_CORES,
    ),
    # Nobody asks for much: what is measured is how soon everybody is served.
    Scenario(
        "accept-5000",
        "5,000 peers more while 500 are busy",
        network.LOOPBACK_MTU,
        5_000,
        ("spillway", "client"),
        options=("--depth", "1"),
        busy=500,
    ),
    Scenario(
        "accept-10000",
        "10,000 peers more while 500 are busy",
        network.LOOPBACK_MTU,
        10_000,
        ("spillway",),
        options=("--depth", "1"),
        busy=500,
    ),
    Scenario(
        "shards",
        "500 peers, one shard or two, load on both cores",
        network.LOOPBACK_MTU,
        500,
        ("shards-1", "shards-2"),
        seeder_cores=BOTH_CORES,
        load_cores=BOTH_CORES,
    ),
)
BY_NAME = {scenario.name: scenario for scenario in ALL}
