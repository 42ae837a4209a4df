"""The release gate: the only door through which a number leaves.

`release` takes all results of a study together, since what one table hides another can give away, and returns a
`Released`; the report and the writers accept nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import polars as pl

from cohort.population.attrition import Attrition
from cohort.results import withhold
from cohort.results.attrition_steps import merge_steps, round_steps
from cohort.results.cells import Ledger, cells_to_hide
from cohort.results.coarsen import CURVE_KEY, curve_name, exact_days
from cohort.results.disclosure_rule import DisclosureRule
from cohort.results.estimates import ALL, COUNTS_SUPPRESSED, CURVES, OK, SUPPRESSED, Estimates
from cohort.results.families import ROW, family_ledger
from cohort.results.history import Curve, PastRelease, must_change, until_the_same
from cohort.results.rounding import round_counts, round_statistics

__all__ = ["DisclosureRule", "Released", "release"]


_SEVERAL_ROWS = (
    "A person may count more than once, so a count is shown only where it must hold enough persons however its rows "
    "are spread over them."
)


@dataclass(frozen=True, slots=True, eq=False)
class Released:
    """What passed the gate, the rule it passed, how many rows were withheld, and what else was done to it."""

    estimates: Estimates
    attrition: Attrition
    rule: DisclosureRule
    n_suppressed: int
    notes: tuple[str, ...]
    record: PastRelease | None = None
    """What the history keeps of it, for the data holder only; none without a rule."""


def release(
    estimates: Estimates,
    attrition: Attrition,
    rule: DisclosureRule,
    most_rows: int = 1,
    history: Sequence[PastRelease] = (),
) -> Released:
    """Apply the rule to all results of a study.

    1. A count of persons from 1 to ``minimum - 1`` is withheld, and so is the count of the others (N - n); 0 may be
       shown unless the rule says otherwise.
    2. A statistic goes with the counts it can be solved for: proportion, mean, standard deviation, standardised
       difference, rate and its interval, curve, hazard ratio with few events in a level or in the reference.
    3. Levels, groups and totals are audited together (`cells_to_hide`) and neighbours withheld until every small
       count could be one of ``minimum`` or more.
    4. Attrition steps are merged until every count removed and kept is 0 or at least ``minimum``.
    5. Curves keep few points, with 0 or at least ``minimum`` of everything between them (`coarsen`).
    6. Means, curves and model estimates leave with digits that do not narrow a count further (`round_statistics`).
    7. Counts become multiples of ``round_to``, on curves the middle of ``curve_midpoint``, and what follows from counts
       is made again from those (`round_counts`).
    8. Where a person may have up to ``most_rows`` rows, everything above asks for so many times ``minimum`` rows: they
       are then at least ``minimum`` persons.
    9. What differs by a few persons from what an earlier release showed is withheld, merged or coarsened likewise
       (`must_change`).

    Raises
    ------
    ReleaseRefusedError
        If a small count cannot be protected, or too little has changed since the last release.
    """
    if rule.off:
        return Released(estimates, attrition, rule, 0, ())
    if most_rows > 1:
        stricter = rule.model_copy(update={"minimum": rule.minimum * most_rows})
        released = release(estimates, attrition, stricter, history=history)
        return replace(released, rule=rule, notes=(*released.notes, _SEVERAL_ROWS))
    frame = estimates.frame.with_row_index(ROW).cast({ROW: pl.Int64})
    worded = withhold.withhold_in_words(withhold.withhold_unjudged(frame), rule.minimum)
    judged = withhold.withhold_extremes(worded, rule.minimum, show=rule.show_extremes)
    ledger = family_ledger(judged.filter(pl.col("status") != SUPPRESSED))
    ledger.prices |= {
        f"persons|{step.persons_kept}": len(frame) for step in attrition.steps[-1:]
    }  # the flow ends there
    if history:
        history = until_the_same(history, _record(ledger, (), judged, attrition, rule))
    hidden = cells_to_hide(ledger, rule.minimum, rule.show_zero, must_change(ledger, history, rule.minimum))
    kept = withhold.withhold_rows(judged, ledger.rows_of(hidden))
    gated = withhold.withhold_sizes(withhold.withhold_scarce_means(kept, rule.minimum), attrition, rule.minimum)
    curves = withhold.release_curves(gated, rule.minimum, rule.curve_days, _curves_before(history))
    rounded = round_counts(round_statistics(curves, rule.minimum, rule.significant_digits), rule)
    final = Estimates.from_rows(rounded)
    persons = {ledger.values[key] for key in hidden if key.startswith("persons|")}
    steps = merge_steps(attrition, rule.minimum, persons, history)
    withheld = int(sum((final.frame["status"] == status).sum() for status in (SUPPRESSED, COUNTS_SUPPRESSED)))
    unjudged = int((judged["status"] == SUPPRESSED).sum())
    record = _record(ledger, hidden, gated, attrition, rule)
    released = Released(final, round_steps(steps, rule.round_to), rule, withheld, (), record)
    return replace(released, notes=_notes(attrition, released, unjudged))


def _curves_before(history: Sequence[PastRelease]) -> dict[str, list[Curve]]:
    """Return what earlier releases showed of each curve, each version once."""
    found: dict[str, list[Curve]] = {}
    for past in history:
        for name, curve in past.curves.items():
            if curve not in found.setdefault(name, []):
                found[name].append(curve)
    return found


def _record(
    ledger: Ledger, hidden: Collection[str], rows: pl.DataFrame, attrition: Attrition, rule: DisclosureRule
) -> PastRelease:
    """Return what the history keeps: every count with whether it is withheld, curves and flow as they are."""
    curves = rows.filter(pl.col("estimand").is_in(CURVES), pl.col("status") == OK, pl.col("time").is_not_null())
    return PastRelease(
        rule.model_dump_json(),
        {place: (ledger.values[key], key in hidden) for place, key in ledger.places.items()},
        {curve_name(part): exact_days(part) for part in curves.partition_by(CURVE_KEY, maintain_order=True)},
        {step.reason: (step.persons_kept, step.entries_kept) for step in attrition.steps},
    )


def _notes(attrition: Attrition, released: Released, unjudged: int) -> tuple[str, ...]:
    """Say what was done besides withholding, in sentences for the report."""
    frame = released.estimates.frame
    shown = frame.filter(pl.col("estimand").is_in(CURVES))["time"].count()
    merged = len(attrition.steps) - len(released.attrition.steps)
    counts = (frame["status"] == COUNTS_SUPPRESSED).sum()
    whole = _whole_groups(released.estimates)
    rule = released.rule
    said = (
        (merged, f"{merged} of {len(attrition.steps)} attrition steps were merged with a neighbour or left off."),
        (
            shown,
            f"Curves are shown at {shown} points, on multiples of {rule.curve_days} days: between two points of a "
            f"curve lie 0 or at least {rule.minimum} events and 0 or at least {rule.minimum} who left otherwise.",
        ),
        (unjudged, f"{unjudged} rows were withheld because they came without the counts to judge them by."),
        (
            counts,
            f"Of {counts} rows only the counts were withheld: they differ from the cohort's by a few persons. Their "
            f"standard errors and limits are in steps of {rule.minimum} events, from which no count can be solved.",
        ),
        (
            whole,
            f"{whole} cells of Table 1 hold everybody or nobody of a group: such a cell says something of each of its "
            "members. Consider whether that may be known.",
        ),
    )
    return tuple(text for happened, text in said if happened)


def _whole_groups(final: Estimates) -> int:
    """Count levels that hold all or none of a group: 0 % and 100 % tell of every member.

    The grouping variable itself, all or none in every group, is left out.
    """
    table = final.select(analysis=0, estimand="proportion")
    shares = table.filter(pl.col("group") != ALL, pl.col("value").is_not_null())
    if shares.is_empty():
        return 0
    whole = pl.col("value").is_in([0.0, 1.0])
    shares = shares.filter(~whole.all().over("term"))
    return shares.filter(whole).height
