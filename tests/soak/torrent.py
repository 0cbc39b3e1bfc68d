"""A torrent file as a peer reads it: what its info-hash is, and which bytes a piece must have. Read with code of our own, so that
the program under test is not asked about itself."""

import hashlib
from typing import NamedTuple


class Part(NamedTuple):
    """One file of the content, pads included."""

    path: str
    size_bytes: int
    is_pad: bool


class Torrent:
    """A v1 or hybrid torrent file."""

    def __init__(self, content):
        fields, spans = _dictionary(content, 0)
        info = fields[b"info"]
        begin, end = spans[b"info"]
        self.info_hash = hashlib.sha1(content[begin:end]).hexdigest()
        self.name = info[b"name"].decode()
        self.piece_bytes = info[b"piece length"]
        digests = info[b"pieces"]
        self.pieces = [digests[at : at + 20] for at in range(0, len(digests), 20)]
        self.is_single_file = b"files" not in info
        self.parts = _parts(info)
        self.size_bytes = sum(part.size_bytes for part in self.parts)

    def piece_size(self, index):
        """Bytes of one piece; the last one may be short."""
        return min(self.piece_bytes, self.size_bytes - index * self.piece_bytes)

    def is_piece(self, index, payload):
        """Whether these bytes are that piece."""
        return hashlib.sha1(payload).digest() == self.pieces[index]

    def describes(self, path):
        """Whether what lies at `path` now is this torrent's content, byte for byte and without a file more."""
        if self.is_single_file:
            return path.is_file() and self._matches([path.read_bytes()])
        wanted = {part.path for part in self.parts if not part.is_pad}
        found = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
        if wanted != found:
            return False
        return self._matches(bytes(part.size_bytes) if part.is_pad else (path / part.path).read_bytes() for part in self.parts)

    def _matches(self, parts):
        content = b"".join(parts)
        return len(content) == self.size_bytes and all(
            self.is_piece(index, content[index * self.piece_bytes : (index + 1) * self.piece_bytes])
            for index in range(len(self.pieces))
        )


def _parts(info):
    if b"files" not in info:
        return [Part(info[b"name"].decode(), info[b"length"], False)]
    return [
        Part(b"/".join(file[b"path"]).decode(), file[b"length"], b"p" in file.get(b"attr", b""))
        for file in info[b"files"]
    ]


def _value(content, at):
    """A bencoded value and where it ends."""
    kind = content[at : at + 1]
    if kind == b"i":
        end = content.index(b"e", at)
        return int(content[at + 1 : end]), end + 1
    if kind == b"l":
        values, at = [], at + 1
        while content[at : at + 1] != b"e":
            value, at = _value(content, at)
            values.append(value)
        return values, at + 1
    if kind == b"d":
        fields, spans = _dictionary(content, at)
        return fields, spans[None][1]
    colon = content.index(b":", at)
    end = colon + 1 + int(content[at:colon])
    return content[colon + 1 : end], end


def _dictionary(content, begin):
    """A dictionary, and where each of its values begins and ends; that of the whole is under None."""
    fields, spans, at = {}, {}, begin + 1
    while content[at : at + 1] != b"e":
        key, at = _value(content, at)
        value, end = _value(content, at)
        fields[key], spans[key] = value, (at, end)
        at = end
    spans[None] = (begin, at + 1)
    return fields, spans
