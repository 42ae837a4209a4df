"""The whole demo study beside the same study written by hand with pandas and lifelines (``benchmarks/peers``).

Ours goes from the store to the report; the peer from the extracts to its estimates, which is what an analyst would run
each time. ``with_ingestion`` adds what the peer leaves out: the account of every line, pseudonyms, claims logic and the
store.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from harness import Case

import cohort as co

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE / "peers"))

STUDY = HERE.parent / "examples" / "low_back_pain.toml"
RATIOS = {
    "age": "age",
    "early_opioid": "early_opioid",
    "charlson": "charlson",
    "pain_sites": "pain_sites",
    "sex": "male",
}
"""Term of ours → term of the peer's model."""


def _extracts(n: int, folder: Path) -> Path:
    extracts = folder / "extracts"
    if not extracts.is_dir():
        _apart(["simulate", "--persons", n, "--out", extracts])
    return extracts


def _apart(arguments: list[object]) -> None:
    """Run a command in a process of its own, whose memory is not ours afterwards."""
    subprocess.run([sys.executable, "-m", "cohort.cli", *map(str, arguments)], check=True, capture_output=True)


def _study() -> co.Study:
    """Return the demo study with the gate open, so that its estimates can be compared to the last digit."""
    rule = co.DisclosureRule(minimum=0, significant_digits=15)
    return co.Study.from_toml(STUDY).model_copy(update={"disclosure": rule})


def from_store(n: int, folder: Path):
    """Run the study on its store and write the report."""
    store = folder / "store"
    if not (store / "manifest").is_dir():
        _apart(["ingest", _extracts(n, folder), "--layout", "tuva", "--store", store])
    study = _study()

    def run():
        result = study.run(store)
        result.report(folder / "report")
        return _answer(result)

    return run


def with_ingestion(n: int, folder: Path):
    """Ingest the extracts, run the study, write the report."""
    extracts, study = _extracts(n, folder), _study()

    def run():
        shutil.rmtree(folder / "fresh", ignore_errors=True)
        result = study.run(co.ingest(extracts, "tuva", folder / "fresh"))
        result.report(folder / "report")
        return _answer(result)

    return run


def by_hand(n: int, folder: Path):
    """Run the peer's script on the extracts."""
    import pandas_lifelines

    extracts = _extracts(n, folder)
    return lambda: pandas_lifelines.study(extracts, folder / "by_hand")


def _answer(result) -> dict[str, dict[str, float]]:
    frame = result.estimates.to_polars()
    model = frame.filter(estimand="hazard_ratio").drop_nulls("std_error")
    rates = frame.filter(estimand="incidence_rate")
    return {
        "hazard_ratios": {RATIOS[term]: value for term, value in model.select("term", "value").rows()},
        "standard_errors": {RATIOS[term]: error for term, error in model.select("term", "std_error").rows()},
        "rates": dict(rates.select("group", "value").rows()),
    }


def _same(ours: object, theirs: object) -> bool:
    """Compare rates to the last digits; the model as closely as lifelines iterates, about a millionth of its error.

    The curves are left out: lifelines moves tied times at random.
    """
    assert isinstance(ours, dict) and isinstance(theirs, dict)
    rates = {row["sex"]: row["value"] for row in theirs["rates"]}
    errors = theirs["standard_errors"]
    return (
        all(abs(ours["rates"][sex] / value - 1) < 1e-12 for sex, value in rates.items())
        and all(
            abs(ours["hazard_ratios"][term] / ratio - 1) < 1e-4 * errors[term]
            for term, ratio in theirs["hazard_ratios"].items()
        )
        and all(abs(ours["standard_errors"][term] / error - 1) < 1e-4 for term, error in errors.items())
    )


CASES = [
    Case("from_store", from_store, by_hand, "pandas + lifelines", _same),
    Case("with_ingestion", with_ingestion, by_hand, "pandas + lifelines", _same),
]
