"""A seed that waits for its swarm: how much of a release it has to give depends on who is there from the start, and a busy machine
starts programs one after the other."""

from process import PATIENCE_SECONDS
from service import Service
from spillway import spillway
from torrents import described

# So little that nobody has much of a release before all have come.
HELD = '[limits]\nupload = "32kB"\n'
# Each has but a part of the peers.
SHARDS = 2


class Gathering(Service):
    """A service that super-seeds one v1 torrent, named by its tracker, and gives hardly anything of it until `begin`."""

    def __init__(self, folder, path, address, *options):
        super().__init__(folder, HELD, address=address, shards=SHARDS)
        target = folder / "release.torrent"
        announce = [word for url in self.ready["tracker"] for word in ("--announce", url)]
        spillway("create", path, "-o", target, "--format", "v1", *announce, *options)
        self.torrent = described(target)
        self.ctl("add", target, "--folder", path.parent, "--super-seed", "on")
        self.wait_until("it is served", lambda: self.torrents()[path.name]["state"] in ("seeding", "resting"))

    def begin(self, peers, upload):
        """Waits for so many peers, and gives them what the limit allows from now on."""
        self.wait_until("all are there", lambda: self.ctl("stats")["peer_count"] >= peers, 2 * PATIENCE_SECONDS)
        self.configure(f'[limits]\nupload = "{upload}"\n')
        assert self.reload()["applied"] == ["limits"]

    def given_bytes(self):
        """What it has sent of it, in all."""
        return self.ctl("stats")["uploaded_bytes"]
