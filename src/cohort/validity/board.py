"""The scoreboard: what the replicates found, held against the truth."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cohort.simulate import Scenario, load_scenario
from cohort.validity.truth import PERSONS, true_values

KEPT = {
    "scenario_hash": pl.String,
    "persons": pl.Int64,
    "replicate": pl.Int64,
    "design": pl.String,
    "estimand": pl.String,
    "value": pl.Float64,
    "std_error": pl.Float64,
    "lower": pl.Float64,
    "upper": pl.Float64,
    "n": pl.Int64,
    "seconds": pl.Float64,
    "peak_mb": pl.Float64,
}
"""Columns of a scenario's replicates: ``persons`` simulated and ``n`` analysed, ``seconds`` of the whole pipeline per
replicate, and the peak memory of the process."""
TRUTH = {
    "scenario_hash": pl.String,
    "truth_persons": pl.Int64,
    "estimand": pl.String,
    "truth": pl.Float64,
    "truth_error": pl.Float64,
}
"""Columns of the file that keeps the truths beside the replicates."""
KEY = ["scenario", "scenario_hash", "persons", "design", "estimand"]


def board(folder: Path, names: list[str], truth_persons: int = PERSONS) -> pl.DataFrame:
    """Return one row per scenario, size, design and estimand, with Monte Carlo errors of truth, bias and coverage."""
    return pl.concat(_scores(folder / f"{name}.csv", name, truth_persons) for name in names)


def _scores(file: Path, name: str, truth_persons: int) -> pl.DataFrame:
    scenario = load_scenario(name)
    found = pl.read_csv(file, schema=KEPT).filter(scenario_hash=scenario.hash[:12])
    truth = _truth(file.with_name("truth.csv"), scenario, truth_persons)
    usable = found.filter(pl.col("lower").is_finite() & pl.col("upper").is_finite())
    judged = usable.join(truth, on="estimand").with_columns(
        scenario=pl.lit(name), covered=pl.col("truth").is_between("lower", "upper")
    )
    return _summary(judged.group_by(KEY, maintain_order=True)).with_columns(pl.col(pl.Float64).round(5))


def _truth(file: Path, scenario: Scenario, persons: int) -> pl.DataFrame:
    """Return the truth of each estimand from the file that keeps it, or work it out and keep it."""
    head = (scenario.hash[:12], persons)
    kept = pl.read_csv(file, schema=TRUTH) if file.exists() else pl.DataFrame(schema=TRUTH)
    known = kept.filter(scenario_hash=head[0], truth_persons=persons)
    if known.is_empty():
        rows = [(*head, name, truth.value, truth.error) for name, truth in true_values(scenario, persons).items()]
        known = pl.DataFrame(rows, schema=TRUTH, orient="row")
        pl.concat([kept, known]).write_csv(file)
    return known.select("estimand", "truth", "truth_error")


def _summary(groups: pl.dataframe.group_by.GroupBy) -> pl.DataFrame:
    root, covered = pl.len().sqrt(), pl.col("covered").mean()
    return groups.agg(
        replicates=pl.len(),
        n=pl.col("n").mean(),
        truth=pl.col("truth").first(),
        truth_error=pl.col("truth_error").first(),
        mean=pl.col("value").mean(),
        bias=(pl.col("value") - pl.col("truth")).mean(),
        bias_error=pl.col("value").std() / root,
        coverage=covered,
        coverage_error=(covered * (1 - covered)).sqrt() / root,
        width=(pl.col("upper") - pl.col("lower")).mean(),
        std_error=pl.col("std_error").mean(),
        deviation=pl.col("value").std(),
        seconds=pl.col("seconds").mean(),
        peak_mb=pl.col("peak_mb").max(),
    )


def lines(table: pl.DataFrame) -> list[str]:
    """Return the scoreboard as text."""
    return [
        f"{row['scenario']:<22}{row['design']:<34}{row['estimand']:<23}{row['replicates']:>5}  "
        f"truth {row['truth']:8.4f}  bias {row['bias']:8.4f} ± {row['bias_error'] or float('nan'):.4f}  "
        f"coverage {row['coverage']:6.1%} ± {row['coverage_error']:.1%}  width {row['width']:.4f}"
        for row in table.iter_rows(named=True)
    ]
