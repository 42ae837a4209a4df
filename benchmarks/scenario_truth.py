"""True and naive effects of every shipped scenario, from a population large enough to quote: ``docs/scenarios``.

Run ``python benchmarks/scenario_truth.py [SCENARIO …]``; it writes ``benchmarks/results/scenario_truth.csv`` and the
tables in the pages, of the scenarios named or of all. The row of a scenario is stale when its hash is no longer that of
the scenario (a test says so).
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from cohort.simulate import load_scenario, shipped_scenarios
from cohort.simulate.effects import true_effects

PERSONS, SEED = 409_600, 1
RESULTS = Path(__file__).parent / "results" / "scenario_truth.csv"
PAGES = Path(__file__).resolve().parents[1] / "docs" / "scenarios"
COLUMNS = (
    *("scenario", "scenario_hash", "persons", "seed"),
    *("section", "estimand", "strategy", "day", "value", "monte_carlo_error"),
)
BEGIN, END = "<!-- truth -->", "<!-- /truth -->"
"""What stands between these in a scenario's page is written by this script."""

LINES = (
    ("Risk of chronic pain, everybody with an {treatment}", "effects", "cumulative_incidence", "{first}"),
    ("Risk of chronic pain, nobody with an {treatment}", "effects", "cumulative_incidence", "{second}"),
    ("Risk difference", "effects", "risk_difference", "{first} against {second}"),
    ("Log hazard ratio", "effects", "log_hazard_ratio", "{first} against {second}"),
    ("Difference of restricted mean days", "effects", "restricted_mean_difference_days", "{first} against {second}"),
    ("Risk of chronic pain under usual care", "usual_care", "cumulative_incidence", "all"),
    ("Risk of death first under usual care", "usual_care", "cumulative_incidence_death", "all"),
    (
        "*Naive:* log hazard ratio, dispensed against not",
        "naive",
        "log_hazard_ratio",
        "dispensed against not dispensed",
    ),
    ("*Naive:* 1 − Kaplan–Meier, deaths and exits censored", "naive", "one_minus_kaplan_meier", "all"),
    ("*Naive:* Aalen–Johansen, exits taken as random", "naive", "aalen_johansen", "all"),
)
"""Lines of the table in a page: label, section, estimand and strategy."""


def rows(name: str):
    scenario = load_scenario(name)
    truth = true_effects(scenario, PERSONS, SEED)
    head = {"scenario": name, "scenario_hash": scenario.hash, "persons": PERSONS, "seed": SEED}
    for section in ("effects", "usual_care", "naive"):
        for effect in truth[section]:
            numbers = {key: round(effect[key], 5) for key in ("value", "monte_carlo_error") if effect[key] is not None}
            yield {**head, "section": section, **effect, **numbers}


def table(name: str) -> str:
    """Return the Markdown table of a scenario's page: one year after the index date, from the tracked results."""
    with RESULTS.open(encoding="utf-8") as file:
        results = {
            (row["section"], row["estimand"], row["strategy"]): row
            for row in csv.DictReader(file)
            if row["scenario"] == name and row["day"] == "365"
        }
    strategies = load_scenario(name).truth.strategies
    first, second = sorted(strategies, key=lambda strategy: not strategies[strategy].opioid)
    words = {"first": first, "second": second, "treatment": first.replace("_", " ")}
    lines = ["| one year after the index date | value | Monte Carlo error |", "|---|---:|---:|"]
    for label, *key in ([text.format(**words) for text in line] for line in LINES):
        row = results[tuple(key)]
        digits = 2 if "days" in key[1] else 4
        lines.append(f"| {label} | {float(row['value']):.{digits}f} | {float(row['monte_carlo_error']):.{digits}f} |")
    return "\n".join(lines)


def write_page(name: str) -> None:
    """Put the table between the marks of a scenario's page."""
    page = PAGES / f"{name}.md"
    before, rest = page.read_text("utf-8").split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{table(name)}\n{END}{after}", "utf-8")


def main() -> None:
    chosen = sys.argv[1:] or shipped_scenarios()
    with RESULTS.open(encoding="utf-8") as file:
        kept = [row for row in csv.DictReader(file) if row["scenario"] not in chosen]
    found = [*kept, *(row for name in chosen for row in rows(name))]
    with RESULTS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(found, key=lambda row: row["scenario"]))
    for name in chosen:
        write_page(name)


if __name__ == "__main__":
    main()
