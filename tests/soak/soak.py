"""A soak: rounds of a storm and of quiet. In a storm everything happens at once, kills included; in the quiet after it everything
has to agree, and the processes have to cost what they cost before."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from certificates import Certificates
from content import assert_same
from early import SETTINGS as EARLY_SETTINGS
from early import Early, Embargo
from errands import Errands
from findings import Findings, Violation
from footprint import complaints, footprint, least
from getter import get
from lasting import Lasting
from network import NEARBY_V4, VISITOR_V4, free_port
from quiet import Quiet
from receiver import Receiver
from tree import Tree
from visitors import Visitors
from web_client import believe

# Of each tree, whenever things are compared.
LEVEL_COUNTS = {"images": 10, "classic": 6}
OWN_TORRENTS = 5
PEERS = 6
# Something happens this often, on average.
PACE_SECONDS = 0.25
STORM_SECONDS = 20
# In each part of a storm the publisher ends once, at some step.
FATAL_STEPS = [range(8, 35), range(45, 75)]
# At these steps, so many seconds ahead, a release of each tree comes that opens by itself.
EMBARGO_STEPS = {3: "images", 36: "classic"}
EMBARGO_SECONDS = (7, 11)
# Who is told by webhook hangs up once, and the certificate is renewed.
HANG_UP_STEP, RENEWAL_STEP = 1, 30
# By the environment, as a container has it.
PUBLISHER_ENV = {"SPILLWAY_ENGINE__SHARDS": "2"}
# Behind this part of the time nothing is killed any more, so that one process is seen to stay as it is.
KILLING_SHARE = 0.55
# In quiet times each process is looked at so often; blocking pools let go of threads meanwhile.
LOOKS, LOOK_SECONDS = 4, 0.5
GET_SECONDS = 240

SETTINGS = """
[limits]
upload = "{upload}"

[limits.groups.fast]
upload = "{fast}"

[limits.groups.slow]
upload = "{slow}"

[http]
listen = ["{http}"]

[torrents]
rest_after = "2s"
upload = "{torrent_upload}"

[log]
filter = "{filter}"

[[publish]]
name = "images"
root = "{root}/images"
output = "{root}/torrents"
releases = {rules}
settle = "1s"
grace = "2s"
max_withdraw_percent = 100
group = "fast"
{early}
[[publish]]
name = "classic"
root = "{root}/classic"
releases = {rules}
format = "v1"
settle = "1s"
grace = "{grace}"
max_withdraw_percent = 100
group = "slow"
{early}
[[feed]]
name = "all"
title = "{title}"
"""
MIRROR_SETTINGS = """
[torrents]
rest_after = "2s"

[[subscribe]]
name = "upstream"
feed = "{feed}"
ca_file = "{root}"
output = "{output}"
interval = "1s"
keep = false
"""
USUAL = {
    "upload": "unlimited", "fast": "unlimited", "slow": "unlimited", "torrent_upload": "unlimited", "filter": "info",
    "grace": "2s", "title": "All releases",
}  # fmt: skip
OTHERS = {
    "upload": ["unlimited", "50MB"], "fast": ["unlimited", "30MB"], "slow": ["20MB", "40MB"], "torrent_upload": ["unlimited", "20MB"],
    "filter": ["info", "debug", "warn"], "grace": ["2s", "3s"], "title": ["All releases", "Everything & more"],
}  # fmt: skip


class Soak:
    """One run. `run()` raises what is wrong; `table()` tells what was done."""

    def __init__(self, folder, seed, seconds):
        self.findings = Findings()
        self._seconds = seconds
        self._random = random.Random(seed)
        root = folder / "srv"
        self._root = root
        self._trees = [Tree(root / name, name, self._random, root / f"aside-{name}") for name in LEVEL_COUNTS]
        self.publisher = Lasting(self.findings, "publisher", folder / "publisher", NEARBY_V4, PUBLISHER_ENV)
        self.mirror = Lasting(self.findings, "mirror", folder / "mirror", VISITOR_V4)
        self._copies = folder / "copies"
        self._errands = Errands(self.findings, self.publisher, self._random, folder / "own", OWN_TORRENTS)
        self._outputs = {self._trees[0]: root / "torrents", self._trees[1]: root / "classic"}
        self._receiver = Receiver(self.findings, random.Random(f"{seed} receiver"))
        self._quiet = Quiet(
            self.findings, self.publisher, self.mirror, self._trees, self._errands, self._receiver, self._outputs, self._copies
        )
        self._http_port, self._tls_port = free_port(NEARBY_V4), free_port(NEARBY_V4)
        self._certificates = Certificates(folder / "tls", NEARBY_V4)
        believe(self._certificates.root)
        self._early = None
        self._folder = folder
        self._seed = seed
        self._visitors = None
        # By process: the looks at it in quiet times.
        self._looks = {}

    def run(self):
        """All of it."""
        try:
            self._begin()
            while self.findings.elapsed_s < self._seconds:
                self._storm()
                self._settle()
            self._get_everything()
            self._end()
        finally:
            for lasting in (self.publisher, self.mirror):
                lasting.stop_at_once()
            if self._visitors:
                self._visitors.close()
                self._visitors.stop()
            self._receiver.stop()

    def _begin(self):
        self.publisher.settings = self._settings(USUAL)
        self.publisher.start()
        by_tls, plain = self._quiet.feed_url(), f"http://{NEARBY_V4}:{self._http_port}/feeds/all.rss"
        address = self.publisher.service.address
        self.mirror.settings = MIRROR_SETTINGS.format(feed=by_tls, root=self._certificates.root, output=self._copies)
        self.mirror.start()
        self._early = Early(self.findings, by_tls, self._quiet.tracker_url(), address)
        self._visitors = Visitors(self.findings, [by_tls, plain], address, self._early, self._seed, PEERS)
        self._settle()

    # The storm.

    def _storm(self):
        is_killing = self.findings.elapsed_s < KILLING_SHARE * self._seconds
        # Drawn whether it comes to it or not, so that the order of things depends on the seed alone.
        endings = {
            self._random.choice(steps): self._random.choice([self._kill, self._kill, self._restart]) for steps in FATAL_STEPS
        }
        mirror_ending = self._random.choice([self._kill_mirror, None, None])
        self._visitors.open()
        steps = round(STORM_SECONDS / PACE_SECONDS)
        for step in range(steps):
            if is_killing and step in endings:
                endings[step]()
            if is_killing and step == 5 and mirror_ending:
                mirror_ending()
            self._happen(step)
            self._step()
            self.publisher.check()
            self.mirror.check()
            time.sleep(self._random.uniform(0, 2 * PACE_SECONDS))

    def _happen(self, step):
        """What happens once in each storm."""
        if step == HANG_UP_STEP:
            self._receiver.fail_next()
        if step == RENEWAL_STEP:
            self.findings.operation(self._certificates.renew())
        for tree in self._trees:
            if tree.label == EMBARGO_STEPS.get(step):
                path, opens_at_s = tree.embargo_until(self._random.randint(*EMBARGO_SECONDS))
                embargo = Embargo(path.rsplit("/", 1)[-1], self._outputs[tree] / f"{path}.torrent", opens_at_s)
                self._receiver.embargo(embargo.title, opens_at_s)
                self._early.expect(embargo)
                self.findings.operation(f"{tree.label}: {path} opens at {time.strftime('%H:%M:%SZ', time.gmtime(opens_at_s))}")

    def _step(self):
        kind = self._random.choices(["tree", "errand", "reload"], [60, 30, 10])[0]
        if kind == "tree":
            tree = self._random.choice(self._trees)
            text = tree.step()
        elif kind == "errand":
            releases = [release.rsplit("/", 1)[-1] for tree in self._trees for release in tree.open_files()]
            text = self._errands.step(releases)
        else:
            text = self._reload()
        self.findings.operation(text)
        self.findings.count(f"steps: {kind}")

    def _reload(self):
        """Other settings, by signal or by ctl; sometimes such as cannot be used, which must change nothing."""
        chosen = {key: self._random.choice(values) for key, values in OTHERS.items()}
        by_signal, is_broken = self._random.random() < 0.5, self._random.random() < 0.2
        before, refusal_count = self.publisher.settings, self._refusal_count()
        self.publisher.configure("unknown_key = 1\n" if is_broken else self._settings(chosen))
        self.findings.count("reloads")
        if by_signal:
            self.publisher.hang_up()
        else:
            code, output, error = self.publisher.ctl("reload")
            if is_broken == (code == 0):
                self.findings.violation(f"reload of {'unusable ' if is_broken else ''}settings: {output}{error}")
            if not is_broken and '"needs_restart":[]' not in output.replace(" ", "").replace("\n", ""):
                self.findings.violation(f"all of this can change live: {output}")
        if is_broken:
            # What it is started with after a kill has to be usable.
            self._await_refusal(by_signal, refusal_count)
            self.publisher.configure(before)
        return f"reload {'by signal' if by_signal else 'by ctl'}: {'unusable' if is_broken else chosen}"

    def _await_refusal(self, by_signal, count_before):
        """The signal is answered in the log alone."""
        if by_signal:
            self.publisher.until(
                "unusable settings are refused", lambda: None if self._refusal_count() > count_before else "not yet", 30
            )

    def _refusal_count(self):
        return self.publisher.service.log().count("unknown_key")

    # Endings.

    def _kill(self):
        """At any moment of an errand."""
        self._visitors.close()
        killer = threading.Timer(self._random.uniform(0, 0.08), self.publisher.kill)
        self.findings.operation("kill -9 of the publisher during what follows")
        killer.start()
        for tree in self._trees:
            self.findings.operation(tree.step())
        self.findings.operation(self._errands.step([]))
        killer.join()
        self._receiver.service_ended()
        self._start_again()

    def _restart(self):
        self._visitors.close()
        self.findings.operation("stop of the publisher in good order")
        self.publisher.end()
        self._receiver.service_ended()
        # Things go on while it is down.
        for tree in self._trees:
            self.findings.operation(tree.step())
        self._start_again()

    def _start_again(self):
        self._receiver.service_starts()
        self.publisher.start()
        self._errands.doubt()
        self._visitors.open()

    def _kill_mirror(self):
        self.findings.operation("kill -9 of the mirror")
        self.mirror.kill()
        self.mirror.start()

    # The quiet.

    def _settle(self):
        self._visitors.close()
        self._visitors.wait_for_nobody()
        self.publisher.configure(self._settings(USUAL))
        self.publisher.service.ctl("reload")
        for tree in self._trees:
            self.findings.operation(tree.level(LEVEL_COUNTS[tree.label]))
        self._start_stopped()
        self._errands.level()
        self.findings.operation("quiet")
        self.publisher.until("the live certificate is shown", lambda: self._certificates.wrong(self._tls_port))
        self._quiet.reach()
        self._look_at_processes()
        self.findings.check()

    def _start_stopped(self):
        """Releases that the operator has stopped. One that is withdrawn at this moment says so."""
        for row in self.publisher.rows():
            if row["state"] == "stopped":
                self.publisher.ctl("start", str(row["id"]))

    def _look_at_processes(self):
        for lasting in (self.publisher, self.mirror):
            looks = []
            for _ in range(LOOKS):
                looks.append(footprint(lasting.service.pid))
                time.sleep(LOOK_SECONDS)
            self._looks.setdefault((lasting.name, lasting.service.pid), []).append(least(looks))

    # The end.

    def _get_everything(self):
        """From each service, by its peers' port alone."""
        feed = self._quiet.torrents()
        for lasting, listen in ((self.publisher, VISITOR_V4), (self.mirror, NEARBY_V4)):
            into = self._folder / f"from-{lasting.name}"

            def fetch_one(title, lasting=lasting, listen=listen, into=into):
                number = sorted(feed).index(title)
                torrent = self._folder / f"{lasting.name}-{number}.torrent"
                torrent.write_bytes(feed[title][2])
                folder = self._folder / "getters" / f"{lasting.name}-{number}"
                get(torrent, into / str(number), folder, "--no-announce", peers=[lasting.service.address], listen=f"{listen}:0")
                assert_same(self._quiet.path(title), into / str(number) / title)
                self.findings.count(f"fetched whole from the {lasting.name}")

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(fetch_one, sorted(feed), timeout=GET_SECONDS))
        self.findings.check()

    def _end(self):
        stats = self.publisher.service.ctl("stats")
        self.findings.count("bytes served in all times", stats["uploaded_ever_bytes"])
        for lasting in (self.mirror, self.publisher):
            lasting.end()
        self._look_for_leftovers()
        self._look_for_the_rare()
        for (name, pid), looks in self._looks.items():
            for complaint in complaints(looks):
                self.findings.violation(f"{name} (process {pid}): {complaint}")
        self.findings.check()

    def _look_for_leftovers(self):
        """Nothing that was half written is left, and nothing lies where nothing should."""
        half = [str(path) for place in (self.publisher.folder, self.mirror.folder, self._copies, self._root / "torrents") for path in place.rglob("*") if path.suffix == ".tmp" or path.name.startswith(".tmp")]
        if half:
            self.findings.violation(f"half written files are left: {half}")
        nowhere = self._folder / "nowhere"
        stray = [str(path) for path in nowhere.rglob("*")]
        if stray:
            self.findings.violation(f"files where there should be none: {stray}")

    def _look_for_the_rare(self):
        """What one kill or another may have prevented, but not all of them."""
        for way in ("list", "key"):
            if not self.findings.counts[f"early: served by {way}"]:
                self.findings.violation(f"nobody was ever served by {way} before the time")
        # The mirror takes each release whole.
        if not self.findings.counts["webhooks taken: first_full_copy"]:
            self.findings.violation("nobody was ever told of a first full copy")

    def _settings(self, chosen):
        base = SETTINGS.format(root=self._root, rules=Tree.RULES, early=EARLY_SETTINGS, http=f"{NEARBY_V4}:{self._http_port}", **chosen)
        return base + self._receiver.settings() + self._certificates.settings(self._tls_port)

    def table(self):
        """What was done and what it cost, line by line."""
        rows = [(what, f"{number:,}") for what, number in sorted(self.findings.counts.items())]
        for (name, pid), looks in self._looks.items():
            memory = " ".join(f"{look.memory_bytes / 1e6:.0f}" for look in looks)
            rows.append((f"{name} {pid}: MB of memory in each time of quiet", memory))
            for figure in ("descriptors", "threads"):
                numbers = [getattr(look, figure) for look in looks]
                rows.append((f"{name} {pid}: {figure}, least and most", f"{min(numbers)} {max(numbers)}"))
        return [f"{value:>24}  {what}" for what, value in rows]


__all__ = ["Soak", "Violation"]
