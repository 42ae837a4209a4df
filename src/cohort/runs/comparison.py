"""Two runs compared: how many persons left and came, by cause, and which estimates changed.

The counts are shown under the disclosure rule of the two studies, the stricter of each part, and so that what the two
reports show does not give a withheld one back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from cohort.errors import StudyError
from cohort.results.cells import Ledger, cells_to_hide
from cohort.results.disclosure import DisclosureRule
from cohort.results.estimates import KEY, NUMBERS, Estimates
from cohort.runs.causes import CAUSES, Side, causes
from cohort.runs.folders import Run
from cohort.runs.ledger import WHO, RunLedger
from cohort.runs.receipt import estimates_of, recall

if TYPE_CHECKING:
    from cohort.engines.engine import Progress

LEFT, CAME, ALL = "left", "came", "all causes"
_PUBLISHED = 1e9  # the price of hiding what the reports already show
_MOST = 20


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What changed between two runs.

    ``persons`` has one row per cause and one for all: cause, left, came (Int64, null = withheld). ``estimates`` has
    one row per changed estimate: its key, and value, limits, counts and status before and after.
    """

    title: str
    persons: pl.DataFrame
    estimates: pl.DataFrame
    compared: int

    def text(self) -> str:
        """Return both as text: all causes, and the changed estimates without the points of curves."""
        lines = [self.title, "", f"{'persons':<22}{LEFT:>10}{CAME:>10}"]
        lines += [f"{cause:<22}{_shown(left):>10}{_shown(came):>10}" for cause, left, came in self.persons.iter_rows()]
        lines += ["", f"{self.estimates.height:,} of {self.compared:,} estimates changed"]
        rows = self.estimates.filter(pl.col("time").is_null(), pl.col("analysis") > 0).head(_MOST)
        return "\n".join(lines + [_line(row) for row in rows.iter_rows(named=True)])


def compare(before: Run, after: Run, progress: Progress | None = None) -> Change:
    """Compare two runs of a study, or of a study and its later edition, on snapshots under one key.

    Raises
    ------
    StudyError
        If a run, its store, or who was in it is not there, or if persons have other pseudonyms in the two stores.
    """
    old, new = _side(before), _side(after)
    if old.store.manifest.key_id != new.store.manifest.key_id:
        raise StudyError("the stores of the two runs have different keys: nobody can be followed from one to the other")
    if progress is not None:
        progress("persons", 0, 1)
    was, now = _who(before, old), _who(after, new)
    changed = pl.concat(
        [
            was.join(now, on="person_id", how="anti").with_columns(came=False),
            now.join(was, on="person_id", how="anti").with_columns(came=True),
        ]
    ).sort("person_id")
    found = causes(old, new, changed)
    if progress is not None:
        progress("persons", 1, 1)
    rule = _stricter(old.study.disclosure, new.study.disclosure)
    numbers = [estimates_of(run) for run in (before, after)]
    return Change(
        f"{new.study.title}: run {before.number} on snapshot {old.store.manifest.number}, then run "
        f"{after.number} on snapshot {new.store.manifest.number}",
        count_causes(found, was.height, now.height, rule),
        changed_estimates(*numbers),
        max(estimates.frame.height for estimates in numbers),
    )


def count_causes(found: pl.DataFrame, before: int, after: int, rule: DisclosureRule) -> pl.DataFrame:
    """Return how many left and came by cause, as far as it may be shown.

    Parameters
    ----------
    found
        One row per person: ``came`` (Boolean) and ``cause``.
    before, after
        Persons in the two runs, which their reports show.
    """
    tally = {(came, cause): n for came, cause, n in found.group_by("came", "cause").len().iter_rows()}
    counts = {(way, cause): tally.get((way == CAME, cause), 0) for way in (LEFT, CAME) for cause in CAUSES}
    hidden = set() if rule.off else _hidden(counts, before, after, rule)
    cells = {f"{way}|{cause}": count for (way, cause), count in counts.items()}
    cells |= {way: sum(counts[way, cause] for cause in CAUSES) for way in (LEFT, CAME)}
    shown = {key: None if key in hidden else count for key, count in cells.items()}
    rows = [(cause, shown[f"{LEFT}|{cause}"], shown[f"{CAME}|{cause}"]) for cause in CAUSES]
    rows.append((ALL, shown[LEFT], shown[CAME]))
    return pl.DataFrame(rows, schema={"cause": pl.String, LEFT: pl.Int64, CAME: pl.Int64}, orient="row")


def _hidden(counts: dict[tuple[str, str], int], before: int, after: int, rule: DisclosureRule) -> set[str]:
    """Return the cells to withhold: who stayed is in both reports' counts, so everything hangs together."""
    ledger = Ledger()
    for number, (key, value) in enumerate((("before", before), ("after", after))):
        ledger.cell(key, value, shown=[number])
        ledger.prices[key] = _PUBLISHED
    for row, way in enumerate((LEFT, CAME), start=2):
        parts = [
            ledger.cell(f"{way}|{cause}", counts[way, cause], shown=[10 * row + place])
            for place, cause in enumerate(CAUSES)
        ]
        ledger.cell(way, sum(counts[way, cause] for cause in CAUSES), shown=[row])
        ledger.add_up(way, parts)
    ledger.cell("stayed", before - ledger.values[LEFT])
    ledger.add_up("before", ("stayed", LEFT))
    ledger.add_up("after", ("stayed", CAME))
    return cells_to_hide(ledger, rule.minimum, rule.show_zero)


def changed_estimates(before: Estimates, after: Estimates) -> pl.DataFrame:
    """Return the key, the numbers and the status of every estimate that is not the same in both."""
    columns = [*NUMBERS, "status"]
    both = before.frame.select(*KEY, *columns).join(
        after.frame.select(*KEY, *columns), on=KEY, how="full", suffix="_after", coalesce=True, nulls_equal=True
    )
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_after")) for name in columns)
    ordered = [name for column in columns for name in (column, f"{column}_after")]
    return both.filter(differs).select(*KEY, *ordered).sort(KEY)


def _side(run: Run) -> Side:
    study, store = recall(run.released)
    return Side(study, run.private / "study.toml", store)


def _who(run: Run, side: Side) -> pl.DataFrame:
    ledger = RunLedger(side.store.path, str(run.private_facts().get("run_id")))
    return ledger.who().select(WHO[0]).unique()


def _stricter(one: DisclosureRule, other: DisclosureRule) -> DisclosureRule:
    return one.model_copy(
        update={"minimum": max(one.minimum, other.minimum), "show_zero": one.show_zero and other.show_zero}
    )


def _shown(count: int | None) -> str:
    return "withheld" if count is None else f"{count:,}"


def _line(row: dict[str, object]) -> str:
    name = " ".join(str(row[key]) for key in KEY if row[key] is not None and row[key] != "all")
    return f"  {name}: {_number(row['value'])} -> {_number(row['value_after'])}"


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "none"
