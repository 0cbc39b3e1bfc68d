"""A network of our own: loopback only, with a few addresses more that are not loopback addresses.

Transmission refuses to dial 127.0.0.0/8 and ::1, and knows a peer by its address without the port. So the publishers that it
should reach live on the `NEARBY` addresses and Transmission itself on the `VISITOR` ones. They exist on the loopback device
of a fresh network namespace and nowhere else: nothing sent here can leave the machine.
"""

import ctypes
import os
import random
import socket
import subprocess
from typing import NamedTuple

LOOPBACK_V4 = "127.0.0.1"
LOOPBACK_V6 = "::1"
NEARBY_V4 = "10.77.0.1"
NEARBY_V6 = "fd77::1"
VISITOR_V4 = "10.77.0.2"
VISITOR_V6 = "fd77::2"



class Home(NamedTuple):
    """Where a client and the publishers that it can reach live; by IP version."""

    publisher: dict
    client: dict


LOOPBACK = Home({4: LOOPBACK_V4, 6: LOOPBACK_V6}, {4: LOOPBACK_V4, 6: LOOPBACK_V6})
OFF_LOOPBACK = Home({4: NEARBY_V4, 6: NEARBY_V6}, {4: VISITOR_V4, 6: VISITOR_V6})

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000


def enter():
    """Moves this process, and what it starts from now on, into the namespace. Raises OSError where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    flags = CLONE_NEWNET if user == 0 else CLONE_NEWNET | CLONE_NEWUSER
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")
    if user != 0:
        _map_to_root(user, group)
    _ip("link", "set", "lo", "up")
    for address in (NEARBY_V4, VISITOR_V4):
        _ip("address", "add", f"{address}/32", "dev", "lo")
    for address in (NEARBY_V6, VISITOR_V6):
        _ip("address", "add", f"{address}/128", "dev", "lo", "nodad")


# Below the ports that the kernel gives to those who ask for any, so that no connection takes one before it is used.
_PORTS = iter(random.SystemRandom().sample(range(12_000, 32_000), 20_000))


def free_port(address=LOOPBACK_V4):
    """A port that is free on `address` for TCP and UDP, and was not given out before. Ours alone: no one else is in the namespace."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in _PORTS:
        with socket.socket(family, socket.SOCK_STREAM) as tcp, socket.socket(family, socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind((address, port))
                udp.bind((address, port))
            except OSError:
                continue
            return port
    raise RuntimeError("all ports were given out")


def joined(address, port):
    """`address:port` as URLs and command lines write it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _map_to_root(user, group):
    for name, line in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(line)


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)
