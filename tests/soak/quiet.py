"""What has to be true once nothing happens any more: what the trees hold, what is published, fed, tracked, written beside and
mirrored is one and the same."""

import urllib.parse

from torrent import Torrent
from web_client import fetch, items

# A busy machine hashes, withdraws, fetches and lets go within this.
SECONDS = 90
SUFFIXES = ("torrent", "magnet", "meta4", "sha256")
# What the service has of its own, beside what is published.
SEEN = ("seeding", "resting")


class Quiet:
    """The checks of quiet times over a publisher and its mirror."""

    def __init__(self, findings, publisher, mirror, trees, errands, receiver, outputs, copies):
        self._findings = findings
        self._publisher = publisher
        self._mirror = mirror
        self._trees = trees
        self._errands = errands
        self._receiver = receiver
        # `tree -> folder` of its output files, and where the mirror puts what it fetches.
        self._outputs = outputs
        self._copies = copies
        # Every info-hash that was ever in the feed.
        self._ever = set()
        # Torrents whose content was compared as it is, by info-hash and file state.
        self._compared = set()

    def reach(self):
        """Waits until all of it is so."""
        self._publisher.until("published is what the trees hold", self._wrong_releases, SECONDS)
        self._publisher.until("all torrents are at rest", lambda: _restless(self._publisher, self._own_count()), SECONDS)
        feed = self._feed()
        self._compare_content(feed)
        self._compare_tracker(feed)
        self._compare_outputs(feed)
        self._publisher.until("the webhooks have told it", self._wrong_webhooks, SECONDS)
        self._mirror.until("the mirror has what the feed has", lambda: self._wrong_mirror(feed), SECONDS)
        self._mirror.until("all of the mirror's torrents are at rest", lambda: _restless(self._mirror, 0), SECONDS)
        self._compare_copies()
        self._findings.count("quiet times in which all agreed")

    def torrents(self):
        """`title -> (URL, torrent)` of all in the feed."""
        return self._feed()

    def path(self, title):
        """Where a release lies in its tree."""
        return next(
            tree.path(release) for tree in self._trees for release in tree.open_releases if _title(release) == title
        )

    # The publisher.

    def _wrong_releases(self):
        rows = [row for row in self._publisher.service.ctl("releases")["releases"] if row["state"] != "withdrawn"]
        failed = [row for row in rows if row["error"]]
        for tree in self._trees:
            found = sorted(row["path"] for row in rows if row["publish"] == tree.label and row["state"] == "published")
            wrong = _difference(tree.open_releases, found)
            if wrong:
                return f"{tree.label}: {wrong}{f', {failed}' if failed else ''}"
        others = [(row["publish"], row["path"], row["state"]) for row in rows if row["state"] != "published"]
        if others:
            return f"not published: {others}"
        return self._wrong_feed()

    def _wrong_feed(self):
        wanted = [_title(release) for tree in self._trees for release in tree.open_releases]
        for kind in ("rss", "atom"):
            status, _, body = fetch(self.feed_url(kind), {})
            if status != 200:
                return f"the {kind} feed answers {status}"
            found = [title for title in wanted if title in body.decode()] if kind == "atom" else items(body)
            if kind == "rss" and _difference(wanted, found):
                return f"{kind}: {_difference(wanted, found)}"
        return None

    def _wrong_webhooks(self):
        numbers = [row["id"] for row in self._publisher.rows() if row["origin"].startswith("publish:")]
        return self._receiver.wrong(numbers, self._ever)

    def feed_url(self, kind="rss"):
        """Where the feed of all trees is."""
        return f"{self._publisher.service.ready['http']}/feeds/all.{kind}"

    def tracker_url(self):
        """Where the tracker is."""
        return next(url for url in self._publisher.service.ready["tracker"] if url.startswith("http:"))

    def _feed(self):
        _, _, body = fetch(self.feed_url(), {})
        feed = {}
        for title, (url, length) in items(body).items():
            status, _, content = fetch(url, {})
            if status != 200 or len(content) != length:
                self._findings.violation(f"{title}: HTTP {status}, {len(content)} bytes; the enclosure says {length}")
                continue
            feed[title] = (url, Torrent(content), content)
        self._ever.update(torrent.info_hash for _, torrent, _ in feed.values())
        return feed

    def _compare_content(self, feed):
        for title, (_, torrent, _) in feed.items():
            if torrent.info_hash in self._compared and not self._may_have_changed(torrent):
                continue
            if not torrent.describes(self.path(title)):
                self._findings.violation(f"{title}: published is {torrent.info_hash}, which is not what the tree holds")
            self._findings.count("releases compared with their trees")

    def _may_have_changed(self, _):
        # All are small: a content that changed back and forth must not hide behind what was compared once.
        return True

    def _compare_tracker(self, feed):
        """It answers for what is published and refuses all that was."""
        published = {torrent.info_hash for _, torrent, _ in feed.values()}
        own = {row["info_hash_v1"] for row in self._publisher.rows() if row["origin"] == "added"}
        for info_hash in sorted(self._ever | published):
            if info_hash in own:
                continue
            is_answered = self._announce(info_hash)
            if is_answered != (info_hash in published):
                said = "answers for" if is_answered else "refuses"
                self._findings.violation(f"the tracker {said} {info_hash}, which is {'' if info_hash in published else 'not '}published")
            self._findings.count("tracker's answers compared")

    def _announce(self, info_hash):
        """Whether the tracker answers somebody who says that he goes, and so is not kept."""
        query = "info_hash=" + urllib.parse.quote(bytes.fromhex(info_hash), safe="")
        query += "&peer_id=-SK0001-000000000000&port=1&uploaded=0&downloaded=0&left=1&compact=1&event=stopped"
        status, _, body = fetch(f"{self.tracker_url()}?{query}", {})
        return status == 200 and b"failure reason" not in body

    def _compare_outputs(self, feed):
        """Beside each release, or in the folder for that, lie its four files and no other."""
        torrents = {title: content for title, (_, _, content) in feed.items()}
        for tree, folder in self._outputs.items():
            wanted = {f"{release}.{suffix}" for release in tree.open_releases for suffix in SUFFIXES}
            found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
            if folder == tree.root:
                found = {path for path in found if path.endswith(tuple(f".{suffix}" for suffix in SUFFIXES))}
            wrong = _difference(wanted, found)
            if wrong:
                self._findings.violation(f"output files of {tree.label}: {wrong}")
                continue
            for release in tree.open_releases:
                if (folder / f"{release}.torrent").read_bytes() != torrents[_title(release)]:
                    self._findings.violation(f"{release}.torrent is another one than the feed's")

    # The mirror.

    def _wrong_mirror(self, feed):
        rows = [row for row in self._mirror.rows() if row["origin"].startswith("subscribe:")]
        wanted = {(title, torrent.info_hash) for title, (_, torrent, _) in feed.items()}
        found = {(row["name"], row["info_hash_v1"]) for row in rows}
        if wanted != found:
            return _difference(wanted, found)
        return [(row["name"], row["state"], row["error"]) for row in rows if row["state"] not in SEEN]

    def _compare_copies(self):
        """The mirror's folder has each release, byte for byte, and nothing else."""
        wanted = {}
        for tree in self._trees:
            for release in tree.open_releases:
                path = tree.path(release)
                if path.is_dir():
                    wanted |= {f"{path.name}/{file.relative_to(path)}": file for file in path.rglob("*") if file.is_file()}
                else:
                    wanted[path.name] = path
        found = {str(path.relative_to(self._copies)) for path in self._copies.rglob("*") if path.is_file()}
        wrong = _difference(wanted, found)
        if wrong:
            self._findings.violation(f"the mirror's folder: {wrong}")
            return
        for name, original in wanted.items():
            if (self._copies / name).read_bytes() != original.read_bytes():
                self._findings.violation(f"the mirror's copy of {name} has other bytes")
        self._findings.count("mirrored files compared", len(wanted))

    def _own_count(self):
        return len(self._errands.own)


def _restless(lasting, own_count):
    """What is not at rest yet, so that what the process costs can be compared with other times."""
    rows = lasting.rows()
    own = [row for row in rows if row["origin"] == "added"]
    if len(own) != own_count:
        return f"{len(own)} torrents of the operator instead of {own_count}"
    return [(row["name"], row["state"], row["error"]) for row in rows if row["state"] != "resting"][:5]


def _title(release):
    return release.rsplit("/", 1)[-1]


def _difference(wanted, found):
    missing, more = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if not missing and not more:
        return None
    return f"lacking {missing[:5]}, too many {more[:5]}"
