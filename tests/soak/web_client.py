"""What those who come from outside ask with: one request on a connection of its own, the items of a feed, a piece from a peer."""

import http.client
import ssl
import urllib.parse
from xml.etree import ElementTree

HTTP_SECONDS = 10
BLOCK_BYTES = 16 * 1024
_tls = ssl.create_default_context()


def believe(root):
    """Certificates that go back to the one in this file are good from now on."""
    _tls.load_verify_locations(cafile=str(root))


def fetch(url, headers, source=None):
    """`(status, headers, body)` of one request, from the address `source`."""
    parts = urllib.parse.urlsplit(url)
    bound = (source, 0) if source else None
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.netloc, timeout=HTTP_SECONDS, source_address=bound, context=_tls)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=HTTP_SECONDS, source_address=bound)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def items(body):
    """`title -> (URL of the torrent, its length)` of an RSS feed. Titles are unique in a soak."""
    found = {}
    for item in ElementTree.fromstring(body).iter("item"):
        enclosure = item.find("enclosure")
        found[item.findtext("title")] = (enclosure.get("url"), int(enclosure.get("length")))
    return found


def take(peer, index, size):
    """A whole piece."""
    offsets = range(0, size, BLOCK_BYTES)
    for offset in offsets:
        peer.ask(index, offset, min(BLOCK_BYTES, size - offset))
    blocks = {}
    while len(blocks) < len(offsets):
        got, offset, payload = peer.block()
        if got == index:
            blocks[offset] = payload
    return b"".join(blocks[offset] for offset in offsets)
