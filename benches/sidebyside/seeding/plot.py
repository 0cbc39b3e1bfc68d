"""One picture of a record: what a GB costs each seeder, and the latency of a block. Arguments: CSV SVG.

Transmission is left out: its bars would hide all others.
"""

import csv
import statistics
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402 (the backend comes first)

SCENARIOS = {
    "loopback-50": "50 peers",
    "loopback-500": "500 peers",
    "loopback-2000": "2,000 peers",
    "mtu1500-500": "500 peers,\nMTU 1500",
    "offered-500": "500 peers, MTU 1500,\n2 Gbit/s offered",
}
SEEDERS = {
    "spillway": "#0b6e4f",
    "rtorrent": "#d1495b",
    "libtorrent": "#edae49",
    "rqbit": "#66a182",
    "aria2": "#8d96a3",
    "floor": "#c8c8c8",
}
NAMES = {"floor": "bare gathered write"}


def main():
    source, target = sys.argv[1:]
    values = {}
    with open(source, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            # Where a rate is offered, latency counts from when a block was due.
            latency = row["schedule_p99_us"] or row["p99_us"]
            for column, value in (("cpu_s_per_gb", row["cpu_s_per_gb"]), ("p99_us", latency)):
                if value:
                    values.setdefault((row["scenario"], row["seeder"], column), []).append(float(value))
    medians = {key: statistics.median(taken) for key, taken in values.items()}
    figure, (cpu, latency) = plt.subplots(2, 1, figsize=(12, 8), layout="constrained")
    _bars(cpu, medians, "cpu_s_per_gb", 1.0, "CPU seconds of the seeder per GB")
    _bars(latency, medians, "p99_us", 1e-3, "latency of a block, p99, milliseconds (of an offered rate: from when it was due)", logarithmic=True)
    cpu.legend(loc="upper left", ncols=2, frameon=False)
    figure.savefig(target)


def _bars(axes, medians, column, scale, title, logarithmic=False):
    scenarios = [name for name in SCENARIOS if any((name, seeder, column) in medians for seeder in SEEDERS)]
    seeders = [name for name in SEEDERS if any((scenario, name, column) in medians for scenario in scenarios)]
    width = 0.85 / max(len(seeders), 1)
    for number, seeder in enumerate(seeders):
        at = [
            (place, medians[scenario, seeder, column] * scale)
            for place, scenario in enumerate(scenarios)
            if (scenario, seeder, column) in medians
        ]
        marks = axes.bar(
            [place + (number - (len(seeders) - 1) / 2) * width for place, _ in at],
            [height for _, height in at],
            width,
            label=NAMES.get(seeder, seeder),
            color=SEEDERS[seeder],
        )
        axes.bar_label(marks, fmt=lambda height: f"{height:.2f}" if height < 10 else f"{height:.0f}", fontsize=6)
    axes.set_xticks(range(len(scenarios)), [SCENARIOS[name] for name in scenarios])
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    if logarithmic:
        axes.set_yscale("log")


if __name__ == "__main__":
    main()
