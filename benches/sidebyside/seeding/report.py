"""Medians, ratios, the bars and their verdicts, and the record."""

import csv
import statistics
from dataclasses import dataclass

from .measure import COLUMNS
from .scenarios import BY_NAME, RIVALS

# What the table shows: heading, column, format.
SHOWN = (
    ("CPU s/GB", "cpu_s_per_gb", "{:.3f}"),
    ("Gbit/s", "gbit_s", "{:.1f}"),
    ("p50 ms", "p50_us", "ms"),
    ("p99 ms", "p99_us", "ms"),
    ("p99/p50", "p99_over_p50", "{:.2f}"),
    ("p99 by schedule", "schedule_p99_us", "ms"),
    ("Jain", "jain", "{:.4f}"),
    ("anonymous MiB", "anonymous_mib", "{:.1f}"),
    ("unchoked", "unchoked", "{:.0f}"),
    ("all unchoked ms", "all_unchoked_ms", "{:.0f}"),
    ("lost", "lost", "{:.0f}"),
    ("second shard", "second_shard_share", "{:.0%}"),
    ("held up", "held_up_share", "{:.0%}"),
    ("load CPU s/GB", "load_cpu_s_per_gb", "{:.3f}"),
    ("unanswered", "unanswered", "{:.0f}"),
    ("client MB", "client_mb_while_loaded", "{:.0f}"),
)


# Columns that are no numbers.
WORDS = ("version", "errors")

# Of these the worst round counts, not the middle one: a peer that was dropped once was dropped.
WORST = {"unchoked": min, "lost": max, "unanswered": max, "all_unchoked_ms": max, "client_mb_while_loaded": min}
# What a run must have delivered of what was offered to count as one.
DELIVERED = 0.98
# Fewer rounds are a look, not a measurement.
ROUNDS = 3


class Medians:
    """The median of every column, by scenario and seeder."""

    def __init__(self, rows):
        groups = {}
        for row in rows:
            groups.setdefault((row["scenario"], row["seeder"]), []).append(row)
        self._medians = {key: _median(group) for key, group in groups.items()}
        self.rounds = {key: len(group) for key, group in groups.items()}
        self._faults = {key: _faults(BY_NAME[key[0]], group) for key, group in groups.items() if key[0] in BY_NAME}
        for scenario in BY_NAME:
            best, _ = self.best_rival(scenario, "cpu_s_per_gb")
            for seeder in self.seeders(scenario):
                cpu = self.get(scenario, seeder, "cpu_s_per_gb")
                if best and cpu:
                    self._medians[scenario, seeder]["cpu_over_best"] = cpu / best

    def get(self, scenario, seeder, column):
        """None where it was not measured."""
        return self._medians.get((scenario, seeder), {}).get(column)

    def faults(self, scenario, seeder):
        """Why the runs do not count as whole; empty if they do."""
        return self._faults.get((scenario, seeder), [])

    def seeders(self, scenario):
        return [seeder for name, seeder in self._medians if name == scenario]

    def best_rival(self, scenario, column):
        """The lowest value of a rival that served everybody what was offered, and its name."""
        asked = BY_NAME[scenario].connections
        found = [
            (value, rival)
            for rival in RIVALS
            if (value := self.get(scenario, rival, column)) is not None
            and (self.get(scenario, rival, "unchoked") or 0) >= 0.99 * asked
            and (self.get(scenario, rival, "gbit_s") or 0) >= DELIVERED * BY_NAME[scenario].offered_gbit_s
        ]
        return min(found, default=(None, None))


def _median(group):
    row = {}
    for column in COLUMNS:
        if column in WORDS:
            continue
        values = [float(row[column]) for row in group if row.get(column) not in (None, "")]
        if values:
            row[column] = WORST.get(column, statistics.median)(values)
    ratios = [float(one["p99_us"]) / float(one["p50_us"]) for one in group if float(one.get("p50_us") or 0)]
    if ratios:
        row["p99_over_p50"] = statistics.median(ratios)
    return row


def _faults(scenario, group):
    """What keeps the rounds of one seeder from being whole, in words."""

    def number(row, column):
        return float(row.get(column) or 0)

    faults = []
    if len(group) < ROUNDS:
        faults.append(f"{len(group)} of {ROUNDS} rounds")
    if any(number(row, "lost") for row in group):
        faults.append("connections lost")
    if any(row.get("errors") for row in group):
        faults.append("errors")
    if any(number(row, "gbit_s") < DELIVERED * scenario.offered_gbit_s for row in group):
        faults.append("less than was offered")
    if any(row["seeder"] == "client" and not number(row, "client_mb_while_loaded") for row in group):
        faults.append("the client got nothing meanwhile")
    return faults


def tables(medians):
    """One table a scenario, as lines."""
    lines = []
    for scenario in BY_NAME.values():
        seeders = medians.seeders(scenario.name)
        if not seeders:
            continue
        ours, floor = (medians.get(scenario.name, name, "cpu_s_per_gb") for name in ("spillway", "floor"))
        shown = [
            column
            for column in SHOWN
            if any(medians.get(scenario.name, seeder, column[1]) is not None for seeder in seeders)
        ]
        table = [["", *(heading for heading, *_ in shown), "CPU / ours", "CPU / floor", "rounds"]]
        for seeder in seeders:
            cpu = medians.get(scenario.name, seeder, "cpu_s_per_gb")
            table.append(
                [
                    seeder,
                    *(_cell(medians.get(scenario.name, seeder, column), form) for _, column, form in shown),
                    _ratio(cpu, ours),
                    _ratio(cpu, floor),
                    str(medians.rounds[scenario.name, seeder]),
                ]
            )
        lines += ["", f"{scenario.name}: {scenario.title}", *aligned(table)]
    return lines


def versions(rows):
    """Who was measured, each once."""
    return sorted({f"{row['seeder']}: {row['version']}" for row in rows if row.get("version")})


def _cell(value, form):
    if value is None:
        return "-"
    return f"{value / 1e3:.2f}" if form == "ms" else form.format(value)


def _ratio(value, base):
    return f"{value / base:.2f}" if value and base else "-"


def aligned(table):
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in table
    ]


@dataclass(frozen=True)
class Bar:
    """What a median of ours has to reach: `bar`, and better `aim`."""

    what: str
    scenario: str
    column: str
    bar: float
    aim: float
    form: str = "{:.3f}"
    at_least: bool = False
    # Whether the best rival's figure says something beside it.
    rival: bool = True


BARS = (
    Bar("CPU s/GB, 50 peers", "loopback-50", "cpu_s_per_gb", 0.30, 0.20),
    Bar("CPU s/GB, 500 peers", "loopback-500", "cpu_s_per_gb", 0.30, 0.22),
    Bar("CPU s/GB, 2,000 peers", "loopback-2000", "cpu_s_per_gb", 0.30, 0.22),
    Bar("CPU / best rival's, 500 peers", "loopback-500", "cpu_over_best", 0.6, 0.45, "{:.2f}"),
    Bar("CPU s/GB, MTU 1500, 500 peers", "mtu1500-500", "cpu_s_per_gb", 0.6, 0.4),
    Bar("CPU / best rival's, MTU 1500, 500 peers", "mtu1500-500", "cpu_over_best", 0.6, 0.45, "{:.2f}"),
    Bar("CPU s/GB, 2 Gbit/s offered", "offered-500", "cpu_s_per_gb", 1.2, 0.8),
    Bar("p99 by schedule, us, 2 Gbit/s offered", "offered-500", "schedule_p99_us", 1_000, 500, "{:.0f}"),
    Bar("p99/p50, 500 peers", "loopback-500", "p99_over_p50", 1.3, 1.15, "{:.2f}"),
    Bar("p99/p50, 2,000 peers", "loopback-2000", "p99_over_p50", 1.3, 1.15, "{:.2f}"),
    Bar("p99/p50, MTU 1500, 500 peers", "mtu1500-500", "p99_over_p50", 1.3, 1.15, "{:.2f}"),
    Bar("Jain, 500 peers", "loopback-500", "jain", 0.99, 0.99, "{:.4f}", True, False),
    Bar("Jain, 2,000 peers", "loopback-2000", "jain", 0.99, 0.99, "{:.4f}", True, False),
    Bar("Jain, MTU 1500, 500 peers", "mtu1500-500", "jain", 0.99, 0.99, "{:.4f}", True, False),
    Bar("5,000 more: the last unchoked, ms", "accept-5000", "all_unchoked_ms", 2_000, 2_000, "{:.0f}", False, False),
    Bar("5,000 more: unchoked", "accept-5000", "unchoked", 5_000, 5_000, "{:.0f}", True, False),
    Bar("10,000 more: the last unchoked, ms", "accept-10000", "all_unchoked_ms", 2_000, 2_000, "{:.0f}", False, False),
    Bar("10,000 more: unchoked", "accept-10000", "unchoked", 10_000, 10_000, "{:.0f}", True, False),
    Bar("anonymous MiB, 2,000 busy peers", "loopback-2000", "anonymous_mib", 40, 25, "{:.1f}"),
)


BARS_HEADER = ["", "best rival here", "bar", "aim", "spillway", "", "with a client", ""]


def bars(medians):
    """`(what, best rival, bar, aim, ours, verdict, ours with a client, verdict)` of each bar that was measured."""
    rows = []
    for bar in BARS:
        ours, beside = (medians.get(bar.scenario, name, bar.column) for name in ("spillway", "client"))
        if not medians.seeders(bar.scenario):
            continue
        best, name = medians.best_rival(bar.scenario, bar.column) if bar.rival else (None, None)
        rival = "-" if best is None else f"{bar.form.format(best)} {name}"
        rows.append(
            [
                bar.what,
                rival,
                bar.form.format(bar.bar),
                bar.form.format(bar.aim),
                *_judged(bar, ours, medians.faults(bar.scenario, "spillway")),
                *_judged(bar, beside, medians.faults(bar.scenario, "client")),
            ]
        )
    return rows + _shards_bar(medians)


def _judged(bar, value, faults=()):
    if value is None:
        return ["-", "not measured"]
    sign = -1 if bar.at_least else 1
    verdict = "aim met" if sign * value <= sign * bar.aim else "bar met" if sign * value <= sign * bar.bar else "MISSED"
    return [bar.form.format(value), ", ".join((verdict, *faults))]


def _shards_bar(medians):
    """What two shards could carry with a core each, at what a byte costs them. The busier shard is full first."""
    one, two = (medians.get("shards", name, "cpu_s_per_gb") for name in ("shards-1", "shards-2"))
    share = medians.get("shards", "shards-2", "second_shard_share")
    if not (one and two) or share is None:
        return []
    bar = Bar("two shards' rate / one's, by CPU time", "shards", "", 1.5, 1.5, "{:.2f}", True)
    return [[bar.what, "-", "1.50", "1.50", *_judged(bar, (one / two) / (1 - share)), "-", "-"]]


def write_rows(path, rows):
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["scenario", "seeder", "round", *COLUMNS], extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _rounded(value) for key, value in row.items()})


def _rounded(value):
    return f"{value:.6g}" if isinstance(value, float) else value


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
