"""How fast extracts are simulated, against pyarrow writing the same rows from memory.

Run ``python benchmarks/simulate.py [--quick]``; it prints and writes ``benchmarks/results/simulate.csv``. Both sides
run in processes of their own, take turns, and are timed by the clock and in CPU seconds (a busy machine disturbs the
latter less); medians are reported. The yardstick reads our spotless extract beforehand and writes it again. Many blocks
are made by two processes: their CPU seconds count, and the peak is that of ours and of two as large as the largest.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "simulate.csv"
COLUMNS = (
    *("suite", "case", "n", "lines", "ours_s", "yardstick", "yardstick_s", "ratio", "ours_cpu_s", "yardstick_cpu_s"),
    *("cpu_ratio", "persons_per_s", "peak_mb", "yardstick_peak_mb"),
)
SIXTY_LINES = HERE / "scenarios" / "sixty_lines.toml"
CASES = [
    ("spotless", "low_back_pain", 10_000, 0.0, 3),
    ("dirt 0.5", "low_back_pain", 10_000, 0.5, 3),
    ("dirt 0.5", "low_back_pain", 100_000, 0.5, 3),
    ("dirt 0.5", "low_back_pain", 1_000_000, 0.5, 1),
    ("60 lines a person, spotless", SIXTY_LINES, 100_000, 0.0, 3),
    ("60 lines a person, dirt 0.5", SIXTY_LINES, 100_000, 0.5, 3),
]
"""Name, scenario, persons, dirt, repeats."""


def ours(folder: Path, scenario: str, persons: int, dirt: float) -> int:
    from cohort.simulate import simulate

    return sum(simulate(scenario, persons=persons, out=folder, dirt=dirt).rows.values())


def yardstick(folder: Path) -> None:
    import pyarrow.csv as pc

    # as text, as a supplier's cells are; kept in memory before the clock starts
    tables = {file: pc.read_csv(file) for file in sorted(folder.glob("*.csv"))}
    measured(lambda: [pc.write_csv(table, str(file) + ".again") for file, table in tables.items()])


def measured(work: Callable[[], object]) -> None:
    """Print the seconds, the CPU seconds and the peak memory of this process after doing the work."""
    clock, cpu = time.perf_counter(), time.process_time()
    value = work()
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
    makers = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds += makers.ru_utime + makers.ru_stime
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + 2 * makers.ru_maxrss) / 1024
    print(json.dumps({"s": seconds, "cpu_s": cpu_seconds, "peak_mb": peak, "value": str(value)}))


def child(*arguments: object) -> dict:
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(case: str, scenario: str, persons: int, dirt: float, repeats: int) -> dict:
    with tempfile.TemporaryDirectory(prefix="cohort-bench-") as folder:
        spotless, soiled = f"{folder}/spotless", f"{folder}/soiled"
        lines = child("ours", spotless, scenario, persons, 0)["value"]
        turns = [(child("ours", soiled, scenario, persons, dirt), child("yardstick", spotless)) for _ in range(repeats)]
    (ours_s, theirs_s), (ours_cpu, theirs_cpu), peaks = (
        [statistics.median(turn[side][name] for turn in turns) for side in (0, 1)] for name in ("s", "cpu_s", "peak_mb")
    )
    ratio, cpu_ratio = (statistics.median(a[name] / b[name] for a, b in turns) for name in ("s", "cpu_s"))
    numbers = (
        round(ours_cpu, 2),
        round(theirs_cpu, 2),
        round(cpu_ratio, 1),
        round(persons / ours_s),
        *map(round, peaks),
    )
    head = ("simulate", case, persons, int(lines), round(ours_s, 2), "pyarrow.csv.write_csv from memory")
    return dict(zip(COLUMNS, (*head, round(theirs_s, 2), round(ratio, 1), *numbers), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 persons, once; nothing is written")
    quick = parser.parse_args().quick
    rows = []
    for case, scenario, persons, dirt, repeats in CASES[:2] if quick else CASES:
        rows.append(measure(case, str(scenario), persons, dirt, 1 if quick else repeats))
        print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    if not quick:
        with RESULTS.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _, _, side, folder, *rest = sys.argv
        if side == "ours":
            measured(lambda: ours(Path(folder), rest[0], int(rest[1]), float(rest[2])))
        else:
            yardstick(Path(folder))
    else:
        main()
