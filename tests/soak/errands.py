"""What an operator does by `spillway ctl` in the course of a soak: torrents of his own are added, moved, limited, stopped, removed.
It keeps account of what the service has acknowledged, because that must outlive a kill."""

import json
from pathlib import Path

from process import run
from spillway import BINARY

KIB = 1024
QUIET_SECONDS = 30
GROUPS = ["fast", "slow"]
# Refusals that come of doing two things with one torrent at once, or to what has just been withdrawn.
FAIR_REFUSALS = ("no torrent is called", "not complete", "not running", "is published from a tree", "is being", "have not told", "already", "several")


class Own:
    """One torrent of the operator, and what may be true of it: the service has acknowledged it. Of each key that is one value,
    unless the service was killed before it could answer; then it is what was and what was to be."""

    def __init__(self, torrent_file, name, folder):
        self.torrent_file = torrent_file
        self.name = name
        self.may = {"is there": {False}, "is running": {True}, "upload": {None}, "group": {None}, "folder": {folder}}

    @property
    def is_there(self):
        """Whether it is there, as far as anybody knows."""
        return True in self.may["is there"]


class Errands:
    """Drawn from a seed: the same order of errands each time, whatever came of them."""

    def __init__(self, findings, publisher, random, folder, count):
        self._findings = findings
        self._publisher = publisher
        self._random = random
        self._folders = [folder / "one", folder / "two"]
        for place in self._folders:
            place.mkdir(parents=True)
        self._own = [self._make(folder, index) for index in range(count)]

    def _make(self, folder, index):
        name = f"own {index} größe.bin"
        content = self._folders[0] / name
        content.write_bytes(self._random.randbytes(self._random.randint(1, 40) * 20 * KIB))
        torrent = folder / f"own-{index}.torrent"
        run(BINARY, "create", content, "-o", torrent)
        return Own(torrent, name, self._folders[0])

    def step(self, releases):
        """One errand, about a torrent of the operator or one of the releases; says what."""
        own = self._random.choice(self._own)
        if releases and self._random.random() < 0.3:
            return self._about_release(self._random.choice(releases))
        if not own.is_there:
            return self._add(own)
        errand = self._random.choice(
            [self._remove, self._stop, self._start, self._start, self._recheck, self._announce, self._limit, self._regroup, self._move, self._look]
        )
        return errand(own)

    def level(self):
        """All are there, running, in the first folder, without limits."""
        for own in self._own:
            if not own.is_there:
                self._add(own)
            self._must(own, {"is running": True}, "start", own.name)
            if self._place(own) != self._folders[0]:
                self._must(own, {"folder": self._folders[0]}, "move", own.name, self._folders[0])
            self._must(own, {"upload": None, "group": None}, "limit", own.name, "--upload", "none", "--group", "none")

    @property
    def own(self):
        """The operator's torrents."""
        return self._own

    def doubt(self):
        """The service was killed in the middle of an errand: what it was about is as it was before or as it was to be."""
        rows = {row["name"]: row for row in self._publisher.rows()}
        for own in self._own:
            row = rows.get(own.name)
            self._compare(own, row)
        self._findings.count("torrents compared after a kill", len(self._own))

    def _compare(self, own, row):
        found = {"is there": row is not None}
        if row is not None:
            shown = self._publisher.service.ctl("show", own.name)
            found |= {
                "is running": row["state"] != "stopped",
                "upload": shown["upload_limit_bytes_per_s"],
                "group": row["group"],
                "folder": Path(shown["content_path"]).parent,
            }
        for key, value in found.items():
            if value not in own.may[key]:
                self._findings.violation(f"{own.name}: {key} = {value} after a restart; acknowledged was {own.may[key]}")
            own.may[key] = {value}
        if row is not None and self._place(own) != found["folder"]:
            self._findings.violation(f"{own.name}: not in {found['folder']}, where the service says it is")

    def _place(self, own):
        places = [folder for folder in self._folders if (folder / own.name).exists()]
        if len(places) != 1:
            self._findings.violation(f"{own.name}: its content is in {places}")
        return places[0] if places else self._folders[0]

    # Errands about one's own.

    def _add(self, own):
        folder, is_stopped = self._place(own), self._random.random() < 0.2
        options = ["--stopped"] if is_stopped else []
        to = {"is there": True, "is running": not is_stopped, "upload": None, "group": None, "folder": folder}
        self._change(own, to, "add", own.torrent_file, "--folder", folder, *options)
        return f"ctl add {own.name} {' '.join(options)}"

    def _remove(self, own):
        self._change(own, {"is there": False}, "remove", own.name)
        return f"ctl remove {own.name}"

    def _stop(self, own):
        self._change(own, {"is running": False}, "stop", own.name)
        return f"ctl stop {own.name}"

    def _start(self, own):
        self._change(own, {"is running": True}, "start", own.name)
        return f"ctl start {own.name}"

    def _recheck(self, own):
        self._done("recheck", own.name)
        return f"ctl recheck {own.name}"

    def _announce(self, own):
        self._done("announce", own.name)
        return f"ctl announce {own.name}"

    def _limit(self, own):
        upload = self._random.choice([None, 10_000_000, 20_000_000])
        self._change(own, {"upload": upload}, "limit", own.name, "--upload", "none" if upload is None else str(upload))
        return f"ctl limit {own.name} --upload {upload}"

    def _regroup(self, own):
        group = self._random.choice([None, *GROUPS])
        self._change(own, {"group": group}, "limit", own.name, "--group", group or "none")
        return f"ctl limit {own.name} --group {group}"

    def _move(self, own):
        folder = self._folders[1 - self._folders.index(self._place(own))]
        self._change(own, {"folder": folder}, "move", own.name, folder)
        return f"ctl move {own.name} {folder.name}"

    def _look(self, own):
        verb = self._random.choice(["show", "peers", "trackers", "files"])
        self._done(verb, own.name)
        return f"ctl {verb} {own.name}"

    # Errands about releases, which may be withdrawn at any moment.

    def _about_release(self, name):
        verb = self._random.choice([["announce"], ["recheck"], ["stop"], ["start"], ["limit", "--upload", "20MB"], ["peers"], ["trackers"]])
        self._done(verb[0], name, *verb[1:])
        return f"ctl {' '.join(verb)} {name}"

    # How.

    def _change(self, own, to, *arguments):
        """Whether it was acknowledged. While it is asked for, what was and what is to be are both possible."""
        before = {key: own.may[key] for key in to}
        for key, value in to.items():
            own.may[key] = own.may[key] | {value}
        is_done = self._done(*arguments)
        if is_done:
            own.may |= {key: {value} for key, value in to.items()}
        elif not self._publisher.is_dying:
            own.may |= before
        return is_done

    def _must(self, own, to, *arguments):
        """In quiet times it is done in the end: what was added a moment ago may be being read still."""
        what = f"ctl {' '.join(map(str, arguments))}"
        self._publisher.until(what, lambda: None if self._change(own, to, *arguments) else "refused", QUIET_SECONDS)

    def _done(self, *arguments):
        """Whether it was acknowledged. What is refused has to be refused in words that are fair."""
        code, output, error = self._publisher.ctl(*arguments)
        self._findings.count(f"ctl {arguments[0]}")
        if code == 0:
            return True
        if self._publisher.is_dying:
            return False
        said = _errors(output) or [error]
        self._findings.count(f"ctl {arguments[0]}: refused")
        for text in said:
            if not any(fair in text for fair in FAIR_REFUSALS):
                self._findings.violation(f"ctl {arguments}: {text}")
        return False


def _errors(output):
    try:
        outcomes = json.loads(output)
    except ValueError:
        return []
    return [outcome["error"]["message"] for outcome in outcomes if outcome.get("error")]
