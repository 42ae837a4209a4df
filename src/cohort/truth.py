"""The known truth of simulated data, read only where it is proved to belong to the data of a store."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from cohort.errors import InputRefusedError
from cohort.report.bias import KnownTruth
from cohort.results.provenance import InputFile
from cohort.store.store import Store

TRUTH = "truth/truth.json"
RISK = "cumulative_incidence"


def known_truth(extracts: str | Path, store: Store) -> KnownTruth:
    """Return what is true of a store's data, from the folder that `cohort simulate` wrote them to.

    Raises
    ------
    InputRefusedError
        If there is no truth, or the folder does not hold every file that the store was made from, to the last byte.
    """
    folder = Path(extracts)
    try:
        told = json.loads((folder / TRUTH).read_text("utf-8"))
        ratios = {
            int(row["day"]): math.exp(row["value"])
            for row in told["effects"]
            if row["estimand"] == "log_hazard_ratio" and row["value"] is not None
        }
        truth = KnownTruth(told["scenario"], told["persons"], told["seed"], ratios, _risks(told["effects"]))
    except (OSError, KeyError, TypeError, ValueError, StopIteration):
        raise InputRefusedError(f"{folder / TRUTH}: no truth; give the folder that cohort simulate wrote") from None
    if not ratios:
        raise InputRefusedError(f"{folder / TRUTH}: has no effect of a treatment; simulate more persons")
    _require_same_files(folder, store)
    return truth


def _risks(effects: list[dict[str, Any]]) -> dict[int, tuple[float, float]]:
    """Return the risks by horizon, of the treated first: as the contrasts name their strategies."""
    against = next(row["strategy"] for row in effects if row["estimand"] == "log_hazard_ratio")
    treated, untreated = against.split(" against ")
    found = {(row["strategy"], int(row["day"])): row["value"] for row in effects if row["estimand"] == RISK}
    pairs = {day: (found[treated, day], found[untreated, day]) for strategy, day in found if strategy == treated}
    return {day: pair for day, pair in pairs.items() if None not in pair}


def _require_same_files(folder: Path, store: Store) -> None:
    present = {InputFile.of(path).sha256 for path in folder.iterdir() if path.is_file()}
    missing = [file for file in store.manifest.inputs if file.sha256 not in present]
    if missing:
        raise InputRefusedError(
            f"{folder}: {len(missing)} of the store's {len(store.manifest.inputs)} input files are not there or "
            "differ, so its truth is not that of the store; give the folder that cohort simulate wrote"
        )
