"""Medians, ratios, the bars and their verdicts, and the record."""

import csv
import statistics

from .measure import COLUMNS
from .scenarios import BY_NAME, RIVALS

# What the table shows: heading, column, format.
SHOWN = (
    ("CPU s/GB", "cpu_s_per_gb", "{:.3f}"), ("Gbit/s", "gbit_s", "{:.1f}"), ("p50 ms", "p50_us", "ms"), ("p99 ms", "p99_us", "ms"),
    ("p99/p50", "p99_over_p50", "{:.2f}"), ("p99 by schedule", "schedule_p99_us", "ms"), ("Jain", "jain", "{:.4f}"),
    ("anonymous MiB", "anonymous_mib", "{:.1f}"), ("unchoked", "unchoked", "{:.0f}"), ("last unchoke ms", "unchoke_max_ms", "{:.0f}"), ("lost", "lost", "{:.0f}"),
    ("second shard", "second_shard_share", "{:.0%}"), ("load CPU s/GB", "load_cpu_s_per_gb", "{:.3f}"))


# Columns that are no numbers.
WORDS = ("version", "errors")


class Medians:
    """The median of every column, by scenario and seeder."""

    def __init__(self, rows):
        groups = {}
        for row in rows:
            groups.setdefault((row["scenario"], row["seeder"]), []).append(row)
        self._medians = {key: _median(group) for key, group in groups.items()}
        self.rounds = {key: len(group) for key, group in groups.items()}

    def get(self, scenario, seeder, column):
        """None where it was not measured."""
        return self._medians.get((scenario, seeder), {}).get(column)

    def seeders(self, scenario):
        return [seeder for name, seeder in self._medians if name == scenario]

    def best_rival(self, scenario, column):
        """The lowest value of a rival that served everybody, and its name."""
        asked = BY_NAME[scenario].connections
        found = [(value, rival) for rival in RIVALS if (value := self.get(scenario, rival, column)) is not None
                 and (self.get(scenario, rival, "unchoked") or 0) >= 0.99 * asked]
        return min(found, default=(None, None))


def _median(group):
    row = {}
    for column in COLUMNS:
        if column in WORDS:
            continue
        values = [float(row[column]) for row in group if row.get(column) not in (None, "")]
        if values:
            row[column] = statistics.median(values)
    if row.get("p50_us"):
        row["p99_over_p50"] = row["p99_us"] / row["p50_us"]
    return row


def tables(medians):
    """One table a scenario, as lines."""
    lines = []
    for scenario in BY_NAME.values():
        seeders = medians.seeders(scenario.name)
        if not seeders:
            continue
        ours, floor = (medians.get(scenario.name, name, "cpu_s_per_gb") for name in ("spillway", "floor"))
        shown = [column for column in SHOWN if any(medians.get(scenario.name, seeder, column[1]) is not None for seeder in seeders)]
        table = [["", *(heading for heading, *_ in shown), "CPU / ours", "CPU / floor", "rounds"]]
        for seeder in seeders:
            cpu = medians.get(scenario.name, seeder, "cpu_s_per_gb")
            table.append([seeder, *(_cell(medians.get(scenario.name, seeder, column), form) for _, column, form in shown),
                          _ratio(cpu, ours), _ratio(cpu, floor), str(medians.rounds[scenario.name, seeder])])
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
    return ["  ".join(cell.ljust(width) if number == 0 else cell.rjust(width) for number, (cell, width) in enumerate(zip(row, widths))).rstrip()
            for row in table]


def bars(medians):
    """`(what, best rival, bar, aim, measured, verdict)` of each bar that was measured."""
    rows = []

    def add(what, scenario, column, bar, aim, form="{:.2f}", rival=True, at_least=False, seeder="spillway"):
        value = medians.get(scenario, seeder, column)
        if value is None:
            return
        best, name = medians.best_rival(scenario, column) if rival else (None, None)
        rows.append([what, f"{form.format(best)} {name}" if best is not None else "-", form.format(bar), form.format(aim), form.format(value),
                     _verdict(value, bar, aim, at_least)])

    for seeder, words in (("spillway", ""), ("client", ", with a client")):
        for peers in (50, 500, 2000):
            add(f"CPU s/GB, {peers} peers{words}", f"loopback-{peers}", "cpu_s_per_gb", 0.30, 0.20 if peers == 50 else 0.22, "{:.3f}", seeder=seeder)
        _ratio_bar(rows, medians, seeder, words)
        add(f"CPU s/GB, MTU 1500, 500 peers{words}", "mtu1500-500", "cpu_s_per_gb", 0.6, 0.4, "{:.3f}", seeder=seeder)
        add(f"CPU s/GB, 2 Gbit/s offered{words}", "offered-500", "cpu_s_per_gb", 1.2, 0.8, "{:.3f}", seeder=seeder)
        add(f"p99 by schedule, microseconds, 2 Gbit/s offered{words}", "offered-500", "schedule_p99_us", 1_000, 500, "{:.0f}", seeder=seeder)
        for scenario in ("loopback-500", "loopback-2000", "mtu1500-500"):
            add(f"p99/p50, {scenario}{words}", scenario, "p99_over_p50", 1.3, 1.15, seeder=seeder)
            add(f"Jain, {scenario}{words}", scenario, "jain", 0.99, 0.99, "{:.4f}", rival=False, at_least=True, seeder=seeder)
        add(f"last of 5,000 unchoked, ms{words}", "accept-5000", "unchoke_max_ms", 2_000, 2_000, "{:.0f}", rival=False, seeder=seeder)
        add(f"peers lost of 5,000{words}", "accept-5000", "lost", 0, 0, "{:.0f}", rival=False, seeder=seeder)
        add(f"anonymous MiB, 2,000 busy peers{words}", "loopback-2000", "anonymous_mib", 40, 25, "{:.1f}", seeder=seeder)
    add("last of 10,000 unchoked, ms", "accept-10000", "unchoke_max_ms", 2_000, 2_000, "{:.0f}", rival=False)
    _shards_bar(rows, medians)
    return rows


def _verdict(value, bar, aim, at_least=False):
    sign = -1 if at_least else 1
    if sign * value <= sign * aim:
        return "aim met"
    return "bar met" if sign * value <= sign * bar else "MISSED"


def _ratio_bar(rows, medians, seeder, words):
    ours = medians.get("loopback-500", seeder, "cpu_s_per_gb")
    best, name = medians.best_rival("loopback-500", "cpu_s_per_gb")
    if ours and best:
        rows.append([f"CPU, ratio to the best rival, 500 peers{words}", f"1 {name}", "0.60", "0.45", f"{ours / best:.2f}", _verdict(ours / best, 0.6, 0.45)])


def _shards_bar(rows, medians):
    """What two shards could carry with a core each: as often one shard's rate as they have cores, at what a byte costs them, as
    long as both work."""
    one, two = (medians.get("shards", name, "cpu_s_per_gb") for name in ("shards-1", "shards-2"))
    share = medians.get("shards", "shards-2", "second_shard_share")
    if one and two and share:
        # The busier shard is full first.
        times = (one / two) / (1 - share)
        rows.append(["two shards' rate / one's, by CPU time", "-", "1.50", "1.50", f"{times:.2f}", _verdict(times, 1.5, 1.5, at_least=True)])


def write_rows(path, rows):
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["scenario", "seeder", "round", *COLUMNS])
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _rounded(value) for key, value in row.items()})


def _rounded(value):
    return f"{value:.6g}" if isinstance(value, float) else value


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
