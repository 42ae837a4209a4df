"""Run a benchmark suite: ``python benchmarks/run.py SUITE [--quick]``, or every suite without a name.

Sizes and repeats (``repeats_of``: cases whose peer takes minutes) are in ``config/SUITE.toml``. The table is printed
and written to ``results/SUITE.csv`` with the configuration and the machine beside it (``results/SUITE.json``);
``--quick`` runs the small sizes and writes nothing.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import importlib
import json
import os
import platform
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness import Row, measure  # noqa: E402 -- the benchmarks are scripts, not a package

from cohort.results.provenance import installed_versions  # noqa: E402


def run_suite(name: str, *, quick: bool) -> list[Row]:
    """Measure every case of a suite at every size of its configuration."""
    config = tomllib.loads((HERE / "config" / f"{name}.toml").read_text())
    chosen = config["quick" if quick else "full"]
    cases = importlib.import_module(f"suites.{name}").CASES
    rows = []
    for case in cases:
        for n in chosen["sizes"].get(case.name, []):
            row = measure(name, case, n, chosen.get("repeats_of", {}).get(case.name, chosen["repeats"]))
            print(_line(row), flush=True)
            rows.append(row)
    if not quick:
        _write(name, rows, chosen)
    return rows


def _line(row: Row) -> str:
    return (
        f"{row.suite:<10}{row.case:<28}{row.n:>12,}  ours {row.ours_s:8.3f} s {row.peak_mb:7.0f} MB  "
        f"{row.yardstick} {row.yardstick_s:8.3f} s {row.yardstick_peak_mb:7.0f} MB  ratio {row.ratio:.3f}"
    )


def _write(name: str, rows: list[Row], config: dict[str, object]) -> None:
    with (HERE / "results" / f"{name}.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [field.name for field in dataclasses.fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {k: round(v, 4) if isinstance(v, float) else v for k, v in dataclasses.asdict(row).items()} for row in rows
        )
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "system": platform.system()}
    document = {"config": config, "machine": machine, "versions": installed_versions()}
    (HERE / "results" / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")


def main() -> None:
    """Read the arguments and run."""
    suites = sorted(path.stem for path in (HERE / "config").glob("*.toml"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", nargs="?", choices=suites, help="suite to run; default: all")
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing is written")
    chosen = parser.parse_args()
    for name in [chosen.suite] if chosen.suite else suites:
        run_suite(name, quick=chosen.quick)


if __name__ == "__main__":
    main()
