"""Drivers for clients that no one here wrote. Each downloads one torrent, waits until the client says it is complete, and ends it.

All of them share a shape: `Client.download(source, into, address)`, where `source` is the path of a `.torrent` or a magnet
link, `into` the folder that receives the torrent under its own name, and `address` the one to listen on. What a client cannot
do by its own nature is said by its attributes: `format` (what it is given: some releases cannot read the hybrid's empty keys),
`takes_two_hashes` (in one magnet link), `home`, `makes_empty_files`.
"""

from .aria2 import Aria2
from .libtorrent_client import Libtorrent
from .rtorrent import Rtorrent
from .transmission import Transmission
from .webtorrent import Webtorrent

ALL = (Aria2, Libtorrent, Rtorrent, Transmission, Webtorrent)

__all__ = ["ALL", "Aria2", "Libtorrent", "Rtorrent", "Transmission", "Webtorrent"]
