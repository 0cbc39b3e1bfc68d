"""aria2: one run per download; it ends by itself when the download is complete."""

from network import LOOPBACK, free_port
from process import DOWNLOAD_SECONDS, Process


class Aria2:
    name = "aria2"
    # 1.36 loses the empty keys of a v2 file tree and so knows a hybrid by a hash of its own (aria2 issue 1903); we answer to
    # that one too.
    format = "hybrid"
    takes_two_hashes = True
    home = LOOPBACK
    makes_empty_files = True

    @staticmethod
    def download(source, into, address):
        into.mkdir(parents=True, exist_ok=True)
        arguments = [
            "aria2c",
            f"--dir={into}",
            # What it listens on is every address; this is where it dials and announces from.
            f"--interface={address}",
            f"--listen-port={free_port(address)}",
            f"--disable-ipv6={'false' if ':' in address else 'true'}",
            "--no-conf",
            # aria2 speaks to UDP trackers by its DHT socket alone; it is told of no node, and there is none to find here.
            "--enable-dht=true",
            "--enable-dht6=false",
            f"--dht-listen-port={free_port(address)}",
            f"--dht-file-path={into.parent / 'aria2.dht'}",
            "--bt-enable-lpd=false",
            "--enable-peer-exchange=false",
            "--seed-time=0",
            "--file-allocation=none",
            "--check-integrity=false",
            "--summary-interval=0",
            "--console-log-level=info",
            "--show-console-readout=false",
            str(source),
        ]
        with Process(arguments, into.parent / "aria2.log") as aria2:
            code = aria2.wait(DOWNLOAD_SECONDS)
            assert code == 0, f"aria2 exited with {code}\n{aria2.log()[-20_000:]}"
