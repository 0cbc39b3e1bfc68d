"""What a process costs while nothing is asked of it: memory, descriptors, threads; and whether that is flat over a run."""

from pathlib import Path
from typing import NamedTuple

# How much more the least of the last third may be than the least of the first. Memory: an allocator keeps a few pages of what
# was largest; a leak of one release's state in each round would be seen in a long run. Descriptors: a connection of the
# catalogue or of the HTTP client that is kept for the next use. Threads: blocking pools keep a thread for ten seconds after
# its last job.
MEMORY_SLACK_BYTES = 6 << 20
DESCRIPTOR_SLACK = 4
THREAD_SLACK = 4
# Times of quiet behind which a process is compared with itself. Until then its heap still grows to what a storm takes.
WARM_UP = 4
# What a process may have whenever it is quiet, however young it is: half as much again as was ever seen, 26 MB.
MEMORY_MOST_BYTES = 40 << 20


class Footprint(NamedTuple):
    """One look at a process."""

    memory_bytes: int
    descriptors: int
    threads: int


SLACK = Footprint(MEMORY_SLACK_BYTES, DESCRIPTOR_SLACK, THREAD_SLACK)


def footprint(pid):
    """Memory is what cannot be had again from a file: anonymous, and what of it was swapped out."""
    process = Path("/proc") / str(pid)
    rollup = _numbers(process / "smaps_rollup")
    status = _numbers(process / "status")
    return Footprint(
        memory_bytes=(rollup["Anonymous"] + rollup["Swap"]) * 1024,
        descriptors=len(list((process / "fd").iterdir())),
        threads=status["Threads"],
    )


def least(looks):
    """The least of each figure: what is asked for a moment only is no leak."""
    return Footprint(*(min(figures) for figures in zip(*looks, strict=True)))


def thirds(looks):
    """The least figures of the first and of the last third; None if there are too few to tell."""
    size = len(looks) // 3
    if size == 0:
        return None
    return least(looks[:size]), least(looks[-size:])


def complaints(looks):
    """What is too much, or has grown, in words; nothing if all is flat. One look for each time of quiet."""
    too_much = [
        f"{look.memory_bytes} bytes of memory, more than {MEMORY_MOST_BYTES}" for look in looks if look.memory_bytes > MEMORY_MOST_BYTES
    ]
    ends = thirds(looks[WARM_UP:])
    if ends is None:
        return too_much
    first, last = ends
    return too_much + [
        f"{figure} grew from {before} to {after}, more than {slack}"
        for figure, before, after, slack in zip(Footprint._fields, first, last, SLACK, strict=True)
        if after > before + slack
    ]


def _numbers(path):
    """`key -> number` of lines such as `Threads:  7` and `Swap:  0 kB`."""
    numbers = {}
    for line in path.read_text(encoding="ascii").splitlines():
        key, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            numbers[key] = int(words[0])
    return numbers
