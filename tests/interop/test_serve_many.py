"""Thousands of torrents that nobody wants: each costs little memory, and all come back."""

import random
from concurrent.futures import ThreadPoolExecutor

from peer import is_seeding
from service import Operator, Service
from torrents import tiny_hybrid

TORRENTS = 2_000
OPERATORS = 4
LIMIT_BYTES = 4096
SECONDS = 180
SAMPLE = 20


def anonymous_bytes(service):
    """Memory of the process that is no file's."""
    with open(f"/proc/{service.pid}/status", encoding="ascii") as status:
        (line,) = [line for line in status if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


def add_all(service, torrents, folder):
    def add(part):
        operator = Operator(service.socket)
        for path, _ in part:
            status, answer = operator.ask("POST", "/v1/torrents", {"torrent_path": str(path), "folder": str(folder)})
            assert status == 200, answer

    with ThreadPoolExecutor(OPERATORS) as pool:
        list(pool.map(add, [torrents[number::OPERATORS] for number in range(OPERATORS)]))


def at_rest(service):
    return service.ctl("stats")["torrents"] == {"resting": TORRENTS}


def test_thousands_of_torrents_that_nobody_wants_cost_little_and_come_back(tmp_path):
    content = tmp_path / "content"
    torrents = [tiny_hybrid(content, f"{number}.bin", f"{number} ".encode() * 20) for number in range(TORRENTS)]
    settings = '[torrents]\nrest_after = "1s"\n'
    with Service(tmp_path / "empty", settings) as empty:
        nothing_bytes = anonymous_bytes(empty)
        empty.end()
    with Service(tmp_path / "service", settings) as service:
        add_all(service, torrents, content)
        service.wait_until("all are checked, and rest", lambda: at_rest(service), SECONDS)
        service.kill()
    with Service(tmp_path / "service", settings, ports=service.ports) as service:
        # Before anybody asks: what an answer about all of them takes is kept for the next one.
        each = (anonymous_bytes(service) - nothing_bytes) / TORRENTS
        print(f"{each:.0f} bytes each")
        assert each <= LIMIT_BYTES
        assert service.ready["torrent_count"] == TORRENTS
        assert at_rest(service)
        for _, info_hash in random.Random(1).sample(torrents, SAMPLE):
            assert is_seeding(service.address, info_hash)
        assert len(service.torrents()) == TORRENTS
        service.end()
