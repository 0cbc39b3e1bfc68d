"""rtorrent as a daemon, steered by XML-RPC over its SCGI socket."""

import socket
import xmlrpc.client

from network import LOOPBACK, free_port
from process import DOWNLOAD_SECONDS, PATIENCE_SECONDS, Process


class Rtorrent:
    name = "rtorrent"
    format = "hybrid"
    # 0.9.8 refuses a magnet link of two hashes; the v1 half of a hybrid's is enough for it.
    takes_two_hashes = False
    home = LOOPBACK
    makes_empty_files = True

    @staticmethod
    def download(source, into, address):
        into.mkdir(parents=True, exist_ok=True)
        folder = into.parent / "rtorrent"
        (folder / "session").mkdir(parents=True)
        port = free_port(address)
        settings = folder / "settings.rc"
        settings.write_text(_settings(folder, into, address, port), encoding="utf-8")
        command = ["rtorrent", "-n", "-o", f"import={settings}"]
        with Process(command, into.parent / "rtorrent.log", env={"HOME": str(folder), "TERM": "dumb"}) as rtorrent:
            rpc = Rpc(folder / "rpc.socket")
            rtorrent.wait_until("its socket answers", rpc.alive)
            rpc.call("load.start", "", str(source))

            def complete():
                rows = rpc.call("d.multicall2", "", "main", "d.complete=", "d.is_meta=", "d.message=")
                return len(rows) == 1 and rows[0][0] == 1 and rows[0][1] == 0

            rtorrent.wait_until("it has the whole torrent", complete, DOWNLOAD_SECONDS)
            rpc.call("system.shutdown.quick")
            rtorrent.wait()


class Rpc:
    """XML-RPC in an SCGI envelope over a unix socket."""

    def __init__(self, path):
        self._path = str(path)

    def alive(self):
        try:
            return self.call("system.pid")
        except OSError:
            return None

    def call(self, method, *arguments):
        body = xmlrpc.client.dumps(arguments, method, encoding="utf-8").encode()
        headers = b"CONTENT_LENGTH\0%d\0SCGI\x001\0" % len(body)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_SECONDS)
            connection.connect(self._path)
            connection.sendall(b"%d:%s,%s" % (len(headers), headers, body))
            reply = b"".join(iter(lambda: connection.recv(65_536), b""))
        return xmlrpc.client.loads(reply.split(b"\r\n\r\n", 1)[1])[0][0]


def _settings(folder, into, address, port):
    # 0.9.8 binds to IPv4 addresses only; unbound it dials either version.
    bound = "" if ":" in address else f"network.bind_address.set = {address}\nnetwork.local_address.set = {address}"
    return f"""
{bound}
system.daemon.set = true
directory.default.set = "{into}"
session.path.set = "{folder}/session"
network.scgi.open_local = "{folder}/rpc.socket"
network.port_range.set = {port}-{port}
network.port_random.set = no
dht.mode.set = disable
protocol.pex.set = no
trackers.use_udp.set = yes
protocol.encryption.set = allow_incoming,try_outgoing,enable_retry
pieces.hash.on_completion.set = yes
"""
