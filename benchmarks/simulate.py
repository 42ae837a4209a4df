"""How fast extracts are simulated, against pyarrow writing the same rows from memory.

Run ``python benchmarks/simulate.py [PERSONS …]``; it prints and writes ``benchmarks/results/simulate.csv``. Both
sides run in a process of their own and are timed in CPU seconds, which a busy machine disturbs less than the clock.
"""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "simulate.csv"
COLUMNS = ("suite", "case", "n", "lines", "ours_s", "yardstick", "yardstick_s", "ratio", "peak_mb", "yardstick_peak_mb")


def ours(folder: Path, persons: int, dirt: float) -> int:
    from cohort.simulate import simulate

    return sum(simulate(persons=persons, out=folder, dirt=dirt).rows.values())


def yardstick(folder: Path) -> None:
    import pyarrow.csv as pc

    tables = {file: pc.read_csv(file) for file in sorted(folder.glob("*.csv"))}
    measured(lambda: [pc.write_csv(table, str(file) + ".again") for file, table in tables.items()])


def measured(work) -> None:
    """Print the CPU seconds and the peak memory of this process after doing the work."""
    start = time.process_time()
    value = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.process_time() - start, "peak_mb": peak, "value": str(value)}))


def child(*arguments: object) -> dict:
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def case(persons: int, dirt: float) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        made = child("ours", folder, persons, dirt)
        clean = folder if dirt == 0 else child("ours", f"{folder}/clean", persons, 0) and f"{folder}/clean"
        written = child("yardstick", clean)
    return {
        "suite": "simulate",
        "case": "spotless" if dirt == 0 else f"dirt {dirt:g}",
        "n": persons,
        "lines": int(made["value"]),
        "ours_s": round(made["seconds"], 2),
        "yardstick": "pyarrow.csv.write_csv from memory",
        "yardstick_s": round(written["seconds"], 2),
        "ratio": round(made["seconds"] / written["seconds"], 1),
        "peak_mb": round(made["peak_mb"]),
        "yardstick_peak_mb": round(written["peak_mb"]),
    }


def main(sizes: list[int]) -> None:
    rows = [case(persons, dirt) for persons in sizes for dirt in (0.0, 0.5)]
    with RESULTS.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    print(RESULTS.read_text("utf-8"), end="")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _, _, side, folder, *rest = sys.argv
        if side == "ours":
            measured(lambda: ours(Path(folder), int(rest[0]), float(rest[1])))
        else:
            yardstick(Path(folder))
    else:
        main([int(size) for size in sys.argv[1:]] or [10_000, 100_000])
