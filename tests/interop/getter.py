"""`spillway get`, driven as a program drives it: by its JSON lines, its exit code and signals."""

import json

from network import LOOPBACK_V4, joined
from process import DOWNLOAD_SECONDS, Process
from spillway import BINARY

# Nothing of these tests may ask the world for peers.
ALONE = ("--no-dht", "--no-lsd")


class Getter(Process):
    """One run of `spillway get`. Its log holds the JSON lines and what it says on stderr."""

    def __init__(self, source, into, folder, *options, peers=(), listen=f"{LOOPBACK_V4}:0", dht=False, lsd=False):
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob("get-*.log")))
        command = [BINARY, "get", source, "--output", into, "--listen", listen, "--state", folder / "state", "--json"]
        for host, port in peers:
            command += ["--peer", joined(host, port)]
        wanted = {"--no-dht": dht, "--no-lsd": lsd}
        alone = [option for option in ALONE if not wanted[option]]
        super().__init__([*command, *alone, *options], folder / f"get-{number}.log")

    def lines(self):
        """What it said so far, as dictionaries."""
        # The last line may be half written.
        whole = self.log().rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in whole if line.startswith("{")]

    def last(self):
        """The latest of it, or nothing yet."""
        lines = self.lines()
        return lines[-1] if lines else {}

    def reach(self, state):
        """Waits until it is in a state and gives the line that says so."""

        def reached():
            return next((line for line in self.lines() if line["state"] == state), None)

        return self.wait_until(f"it is {state}", reached, DOWNLOAD_SECONDS)

    def address(self, ready_file):
        """`(host, port)` where it listens, as it says in its ready file."""
        self.wait_until("it is ready", ready_file.exists)
        host, port = json.loads(ready_file.read_text(encoding="utf-8"))["listen"][0].rsplit(":", 1)
        return host.strip("[]"), int(port)

    def complete(self):
        """Waits for its good end and gives its last words."""
        code = self.wait(DOWNLOAD_SECONDS)
        assert code == 0, f"spillway get exited with {code}\n{self.log()[-20_000:]}"
        last = self.last()
        assert (last["state"], last["outcome"], last["left_bytes"]) == ("ended", "complete", 0), last
        assert last["verified_pieces"] == last["wanted_pieces"], last
        return last


def get(source, into, folder, *options, peers=(), listen=f"{LOOPBACK_V4}:0"):
    """Fetches to the end and gives its last words."""
    with Getter(source, into, folder, *options, peers=peers, listen=listen) as getter:
        return getter.complete()
