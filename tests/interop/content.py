"""What is published: made from fixed seeds, and compared byte by byte after a download."""

import hashlib
import random

IMAGE_BYTES = 64 * 1024 * 1024 + 12_345
SMALL_FILES = 1_000
# Every how many files of the tree is empty.
EMPTY_EVERY = 25
SMALL_FILE_MAX_BYTES = 24_000

NAMES = [
    "plain.txt",
    "with spaces & (signs) 100%.bin",
    "Ελληνικά.txt",
    "Русский/Документ.txt",
    "日本語/ファイル名.bin",
    "中文/简体/文件.bin",
    "한국어.txt",
    "العربية/ملف.bin",
    "עברית.txt",
    "हिन्दी/फ़ाइल.bin",
    "ไทย.txt",
    "emoji 🚀.bin",
    "composed \u00e9.txt",
    "decomposed e\u0301.txt",
    "quote's and #hash.txt",
]


def make_image(folder):
    """One file with an odd tail."""
    path = folder / "release image 1.0.iso"
    path.write_bytes(random.Random(1).randbytes(IMAGE_BYTES))
    return path


def make_tree(folder):
    """A thousand small files in nested folders, some of them empty."""
    source = random.Random(2)
    root = folder / "tree of small files"
    for index in range(SMALL_FILES):
        path = root / f"part {index % 7}" / f"group {index % 31}" / f"file {index:04}.dat"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = 0 if index % EMPTY_EVERY == 0 else source.randrange(1, SMALL_FILE_MAX_BYTES)
        path.write_bytes(source.randbytes(size))
    return root


def make_names(folder):
    """Files whose names are written in many scripts."""
    source = random.Random(3)
    root = folder / "Имена 名前 names"
    for name in NAMES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.randbytes(source.randrange(1, 100_000)))
    return root


def digests(root):
    """`relative path -> sha256` of every file below `root`, or of `root` itself."""
    if root.is_file():
        return {"": _digest(root)}
    return {str(path.relative_to(root)): _digest(path) for path in root.rglob("*") if path.is_file()}


def assert_same(original, copy, with_empty_files=True):
    """Fails unless `copy` holds exactly the files of `original`; pad files do not count."""
    wanted = digests(original)
    if not with_empty_files:
        wanted = {name: digest for name, digest in wanted.items() if digest != EMPTY_DIGEST}
    found = {name: digest for name, digest in digests(copy).items() if not name.startswith(".pad/")}
    assert sorted(found) == sorted(wanted), f"other files than published: {set(found) ^ set(wanted)}"
    wrong = [name for name in wanted if found[name] != wanted[name]]
    assert not wrong, f"other bytes than published: {wrong}"


EMPTY_DIGEST = hashlib.sha256().hexdigest()


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
