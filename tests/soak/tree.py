"""A tree that is published, and what is done to it in the course of a soak: as rsync, people and scripts do it. It keeps account
of which releases the rules make of it, without asking anybody."""

import os
import shutil
import time
from pathlib import Path

KIB = 1024
# Most releases are small, so that many come and go; some have many pieces.
SIZES = [1, 5 * KIB, 100 * KIB, 300 * KIB, 1024 * KIB, 3000 * KIB]
MAX_PARTS = 6
# A time long ago, as rsync --times sets it before it renames a file into place.
OLD_S = 1_500_000_000
FAR_FUTURE = "2100-01-01T00:00:00Z\n"
EMBARGO_SUFFIX = ".release-at"
# Files like these lie in every tree that people use, and are no releases.
JUNK = ["half.iso.part", ".upload.iso.Ab12Cd", "notes.txt~", ".listing.swp"]


class Tree:
    """One `[[publish]]` root. Files are releases wherever they lie and directories beneath `sets/` are, as `RULES` say."""

    RULES = '[{ directory = "sets/*" }, { file = "**" }]'

    def __init__(self, root, label, random, aside):
        self.root = root
        self.label = label
        self._random = random
        self._aside = aside
        self._serial = 0
        # Releases by path below the root; those under embargo are in both.
        self.releases = set()
        self.embargoed = set()
        # `path -> time` of those that open by themselves, until the next level.
        self._opens_at_s = {}
        # What is half done: each is called to finish it. Nobody else touches those paths meanwhile.
        self._pending = []
        self._busy = set()
        root.mkdir(parents=True)
        aside.mkdir(parents=True)

    def step(self):
        """Does something to the tree and says what."""
        if self._pending and self._random.random() < 0.4:
            return self._pending.pop(0)()
        creating = [self.write, self.write, self.begin_write, self.upload, self.begin_upload, self.make_directory, self.embargo, self.junk]
        changing = [self.replace, self.rewrite, self.delete, self.delete, self.rename, self.link, self.take_away, self.make_directory]
        return self._random.choice(changing if self.open_files() and self._random.random() < 0.6 else creating)()

    def level(self, count):
        """Finishes what is half done, and makes the tree one of exactly `count` releases, none of them under embargo."""
        for finish in self._pending:
            finish()
        self._pending.clear()
        for path in sorted(self.embargoed - self._opens_at_s.keys()):
            self._lift(path)
        # What opened by itself stays, so that it is seen to be open.
        stays = self._await_openings()
        while len(self.releases) > count:
            self._drop(self._random.choice(sorted(self.releases - stays)))
        while len(self.releases) < count:
            self._random.choice([self.write, self.upload, self.make_directory])()
        return f"{self.label}: level at {count}"

    @property
    def open_releases(self):
        """Paths of those that everybody may have."""
        return self.releases - self.embargoed

    def path(self, release):
        """Where a release lies."""
        return self.root / release

    def open_files(self):
        """Releases of one file that nothing is under way with, in an order that a seed gives again."""
        return sorted(path for path in self.open_releases - self._busy if not path.startswith("sets/"))

    # What comes.

    def write(self):
        """Written in place, in one go."""
        path = self._new_file()
        self._fill(path, self._content())
        return self._done("wrote", path)

    def begin_write(self):
        """Written in place by a slow writer: it is stable for no whole settle time before it is whole."""
        path, content = self._new_file(), self._content()
        half = len(content) // 2
        self._fill(path, content[:half])

        def finish():
            with open(self.path(path), "ab") as file:
                file.write(content[half:])
            return self._done("finished", path)

        self._later(path, finish)
        return self._done("began", path)

    def upload(self):
        """As rsync brings it: a hidden temporary file, its time set, renamed into place."""
        path = self._new_file()
        self._fill_hidden(path)()
        return self._done("uploaded", path)

    def begin_upload(self):
        """As rsync brings it, with the rename to come later."""
        path = self._new_file()
        finish_rename = self._fill_hidden(path)

        def finish():
            finish_rename()
            return self._done("renamed into place", path)

        self._later(path, finish)
        return f"{self.label}: uploading {path}"

    def make_directory(self):
        """A release of several files that come one after the other, some of them empty; or one of hard links, as
        `rsync --link-dest` makes it."""
        path = f"sets/{self._name('set')}"
        others = sorted(release for release in self.open_releases if release.startswith("sets/"))
        if others and self._random.random() < 0.3:
            shutil.copytree(self.path(self._random.choice(others)), self.path(path), copy_function=os.link)
            return self._done("linked", path)
        for index in range(self._random.randint(1, MAX_PARTS)):
            part = self.path(path) / self._random.choice(["", "a", "a/b"]) / f"part {index}.bin"
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(b"" if index == 3 else self._content())
        return self._done("made", path)

    def embargo(self):
        """A release that is not for everybody yet."""
        path = self._new_file()
        self._embargo_file(path).write_text(FAR_FUTURE, encoding="ascii")
        self._fill(path, self._content())
        self.embargoed.add(path)
        self._later(path, lambda: self._lift(path))
        return self._done("put under embargo", path)

    def embargo_until(self, seconds):
        """A release that opens by itself so many seconds from now; nobody touches it until then. Gives its path and the time."""
        path, opens_at_s = self._new_file(), int(time.time()) + seconds
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(opens_at_s))
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self._embargo_file(path).write_text(f"{moment}\n", encoding="ascii")
        self._fill(path, self._content())
        self.releases.add(path)
        self.embargoed.add(path)
        self._busy.add(path)
        self._opens_at_s[path] = opens_at_s
        return path, opens_at_s

    def junk(self):
        """What is no release."""
        name = self._random.choice(JUNK)
        (self.root / name).write_bytes(self._content())
        return f"{self.label}: left {name}"

    # What changes.

    def replace(self):
        """Other content by a rename."""
        path = self._random.choice(self.open_files())
        self._fill_hidden(path)()
        return self._done("replaced", path)

    def rewrite(self):
        """Other content by a write in place; whatever is linked to it changes as well."""
        path = self._random.choice(self.open_files())
        with open(self.path(path), "r+b") as file:
            file.write(self._content()[: 64 * KIB])
        return self._done("rewrote", path)

    def rename(self):
        """The same file by another name is another release."""
        path = self._random.choice(self.open_files())
        target = self._new_file()
        self.path(target).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).rename(self.path(target))
        self.releases.discard(path)
        return self._done(f"renamed {path} to", target)

    def link(self):
        """One more name of a file is one more release."""
        path = self._random.choice(self.open_files())
        target = self._new_file()
        self.path(target).parent.mkdir(parents=True, exist_ok=True)
        os.link(self.path(path), self.path(target))
        return self._done(f"linked {path} as", target)

    def take_away(self):
        """Gone for a moment: back within the grace or after it, as it comes."""
        path = self._random.choice(self.open_files())
        hidden = self._aside / Path(path).name
        self.path(path).rename(hidden)
        self.releases.discard(path)

        def finish():
            self.path(path).parent.mkdir(parents=True, exist_ok=True)
            hidden.rename(self.path(path))
            return self._done("brought back", path)

        self._later(path, finish)
        return f"{self.label}: took away {path}"

    def delete(self):
        """Gone for good; a directory file by file, as `rsync --delete` does it."""
        path = self._random.choice(sorted(self.open_releases - self._busy))
        self._drop(path)
        return f"{self.label}: deleted {path}"

    # How.

    def _drop(self, path):
        self.releases.discard(path)
        if self.path(path).is_dir():
            shutil.rmtree(self.path(path))
        else:
            self.path(path).unlink()

    def _later(self, path, finish):
        self._busy.add(path)

        def done():
            self._busy.discard(path)
            return finish()

        self._pending.append(done)

    def _await_openings(self):
        """Which have opened by themselves, now that their time has come."""
        opened = set(self._opens_at_s)
        for opens_at_s in self._opens_at_s.values():
            time.sleep(max(0, opens_at_s - time.time()))
        self._opens_at_s.clear()
        self.embargoed -= opened
        self._busy -= opened
        return opened

    def _lift(self, path):
        self._embargo_file(path).unlink(missing_ok=True)
        self.embargoed.discard(path)
        return f"{self.label}: lifted the embargo on {path}"

    def _embargo_file(self, path):
        file = self.path(path)
        return file.with_name(file.name + EMBARGO_SUFFIX)

    def _done(self, what, path):
        self.releases.add(path)
        return f"{self.label}: {what} {path}"

    def _name(self, kind):
        """Never the same twice, and with what names may have."""
        self._serial += 1
        word = self._random.choice(["plain", "with space & more", "größe 100%", "日本"])
        return f"{word} {self.label} {kind} {self._serial}"

    def _new_file(self):
        folder = self._random.choice(["", "", "deep/", "deep/er/"])
        return f"{folder}{self._name('image')}.iso"

    def _content(self):
        size = self._random.choice(SIZES)
        return self._random.randbytes(size + self._random.randrange(size))

    def _fill(self, path, content):
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def _fill_hidden(self, path):
        """Writes the hidden temporary file; the answer renames it into place."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        hidden = file.with_name(f".{file.name}.Tmp{self._random.randrange(100, 1000)}")
        hidden.write_bytes(self._content())
        # Two uploads in one second must not look like one content.
        self._serial += 1
        os.utime(hidden, (OLD_S + self._serial, OLD_S + self._serial))
        return lambda: hidden.rename(file)
