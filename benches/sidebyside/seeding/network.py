"""A network namespace of our own with nothing but loopback, so that no setting of the machine is changed.

It goes when its last process goes: there is nothing to remove, also not after Ctrl-C.
"""

import ctypes
import os
import pathlib
import socket
import subprocess
import sys

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
LOOPBACK_MTU = 65_536
ETHERNET_MTU = 1_500
# Every connection of one load has an address of its own: Transmission takes one connection an address, and real peers do too.
SOURCES = "127.1.0.0/18"

# bbr, the default of some kernels, paces even on loopback. A namespace may not choose a congestion control that its
# machine restricts; a route may name one.
CONGESTION_CONTROL = "cubic"
SETTINGS = {
    # Thousands connect at once; nobody shall fail for the kernel's defaults.
    "net/core/somaxconn": "16384",
    "net/ipv4/tcp_max_syn_backlog": "16384",
    "net/ipv4/ip_local_port_range": "10000 65000",
}


def enter():
    """Moves this process, and what it starts from now on, into a new namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    flags = CLONE_NEWNET if user == 0 else CLONE_NEWNET | CLONE_NEWUSER
    if libc.unshare(flags) != 0:
        sys.exit(f"error: unshare: {os.strerror(ctypes.get_errno())}; run it as root or allow user namespaces")
    if user != 0:
        for name, line in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            pathlib.Path(f"/proc/self/{name}").write_text(line, encoding="ascii")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for prefix in ("127.0.0.0/8", "127.0.0.1"):
        _route(prefix, "127.0.0.1")
    for name, value in SETTINGS.items():
        (pathlib.Path("/proc/sys") / name).write_text(value, encoding="ascii")


def add_address(address):
    """One more address of our own, that is none of loopback's."""
    subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    _route(address, address)


def _route(prefix, source):
    route = ["local", prefix, "dev", "lo", "table", "local", "proto", "kernel", "scope", "host", "src", source]
    subprocess.run(["ip", "route", "replace", *route, "congctl", CONGESTION_CONTROL], check=True)


def set_mtu(mtu):
    subprocess.run(["ip", "link", "set", "lo", "mtu", str(mtu)], check=True)


def free_port():
    """A port that is free for TCP and UDP. No one else is in the namespace."""
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
