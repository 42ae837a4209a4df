"""The multiverse: one study under every combination of alternative definitions, from one reading of the store."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cohort.codes.bucket_tables import BucketTables, batches
from cohort.codes.records import needed_rows
from cohort.engines.engine import Progress
from cohort.engines.local import in_order, local
from cohort.errors import ReleaseRefusedError, StudyError
from cohort.plan import BucketRows, Selection, codes_of, join_buckets, select_each
from cohort.population.attrition import Attrition
from cohort.results.analysis_table import AnalysisTable
from cohort.results.disclosure import DisclosureRule, Released
from cohort.results.estimates import NOT_ESTIMABLE, PROPORTIONALITY, RATIOS, SUPPRESSED, Estimates, write_csv
from cohort.results.history import PastRelease, earlier_releases, record_release
from cohort.spec import nearest
from cohort.store.store import Store
from cohort.study import Study
from cohort.variants import Key, Made, find_key, replaced, shown, spell

PICKABLE = ("outcome", "group", "term", "category", "time", "estimand")
"""The columns of the estimates by which one of an analysis can be picked."""

_EFFECTS = ("risk_difference", "marginal_hazard_ratio")
"""What is compared of a treatment effect, if nothing else is picked."""

_EVENT = pl.col("outcome").alias("event")  # ``outcome`` may be a key that varies

VARIANTS = "variants"
"""Folder of the history for combinations, each under the hash of its study."""

MOST = 10_000
"""More combinations are a slip of the pen."""

ROWS_AT_A_TIME = 500_000
"""Needed rows that are worked on together: asking a hundred studies has a price per batch, whatever its size."""


@dataclass(frozen=True, slots=True, eq=False)
class Specifications:
    """The specification curve of a multiverse that has run.

    ``table`` has one row per combination, in the order asked: its number, one text column per key, persons at risk
    (``n``) and outcomes (``events``), and the picked estimate. ``released`` holds, in the same order, what each
    combination's own run releases; side by side they could be subtracted, so it is the table that may leave.
    """

    table: pl.DataFrame
    released: tuple[Released, ...]

    def write(self, path: str | Path) -> Path:
        """Write the table as CSV."""
        path = Path(path)
        write_csv(self.table, path)
        return path


@dataclass(frozen=True, slots=True, eq=False)
class Multiverse:
    """Every combination of alternative values of a study; each is a study of its own, audited and hashed.

    Compared is one estimate of one analysis, so the variants have no other analysis, and only its covariates.

    References
    ----------
    Steegen S et al. Increasing transparency through a multiverse analysis. Perspect Psychol Sci 2016;11:702-712.
    doi:10.1177/1745691616658637.
    Simonsohn U et al. Specification curve analysis. Nat Hum Behav 2020;4:1208-1214. doi:10.1038/s41562-020-0912-z.
    """

    axes: tuple[tuple[Key, tuple[Any, ...]], ...]
    studies: tuple[Study, ...]
    pick: Mapping[str, str | int]

    @classmethod
    def of(
        cls, study: Study, axes: Mapping[str, Sequence[Any]], analysis: int, pick: Mapping[str, str | int]
    ) -> Multiverse:
        """Make and check every combination; see `Study.over`.

        Raises
        ------
        StudyError
            If a key is unknown or ambiguous, a value impossible, a combination incoherent, or the design of one
            faulty: the message names the combination.
        """
        paths = tuple((find_key(study, name), _values(name, values)) for name, values in axes.items())
        if len({key for key, _ in paths}) < len(paths):
            raise StudyError("two axes of the multiverse vary the same key; put all its values into one")
        if (count := math.prod(len(values) for _, values in paths)) > MOST:
            raise StudyError(f"{count} combinations; the most is {MOST}. Vary fewer keys, or fewer values of each")
        _check_pick(study, analysis, pick)
        made: Made = {}
        combinations = itertools.product(*(values for _, values in paths))
        studies = tuple(_variant(study, analysis, [key for key, _ in paths], values, made) for values in combinations)
        return cls(paths, studies, dict(pick))

    def _values_of(self, number: int) -> dict[str, Any]:
        """Return key → value of one combination."""
        return next(itertools.islice(self.combinations, number, None))

    @property
    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield key → value of every combination, in the order of `studies`."""
        names = [spell(key) for key, _ in self.axes]
        for values in itertools.product(*(values for _, values in self.axes)):
            yield dict(zip(names, values, strict=True))

    def run(
        self, store: Store | str | Path, progress: Progress | None = None, *, history: Path | None = None
    ) -> Specifications:
        """Run all combinations: each bucket is read once, and what combinations share is computed once.

        What is released of a combination is, bit for bit, what its own run releases.

        Parameters
        ----------
        history
            Where earlier releases are remembered (`history_folder`): each combination is held against the reports of
            its population and against its own earlier releases, and is remembered; one that changed too little is
            withheld. Without it nothing is consulted nor remembered.
        """
        store = store if isinstance(store, Store) else Store.open(store)
        codes = codes_of({id(part): part for study in self.studies for part in _parts(study)}.values())

        def every_study(tables: BucketTables) -> list[Selection]:
            rows = BucketRows(tables, store.data_end)
            return select_each(rows, ((s.cohort, s.outcome, s.measured) for s in self.studies))

        read = local().map(store, lambda tables: needed_rows(tables, codes), "cohort", progress)
        chosen = join_buckets(list(in_order(every_study, batches(read, ROWS_AT_A_TIME))))
        released, lines = [], []
        conclude = functools.partial(self._concluded, history=history)
        for number, (out, line) in enumerate(in_order(conclude, zip(range(len(chosen)), chosen, strict=True))):
            released.append(out)
            lines.append(line)
            if progress is not None:
                progress("combinations", number + 1, len(self.studies))
        for study, out in zip(self.studies, released, strict=True):
            if history is not None and out.record is not None:
                record_release(history / VARIANTS, study.sha256, out.record)
        return Specifications(pl.concat(lines, how="vertical"), tuple(released))

    def _concluded(self, numbered: tuple[int, Selection], history: Path | None) -> tuple[Released, pl.DataFrame]:
        """Return what one combination's own run releases, and its row of the specification curve."""
        number, chosen = numbered
        study = self.studies[number]
        try:
            table, out = study.conclude((chosen.part(),), history=_earlier(study, history))
        except ReleaseRefusedError:
            if history is None:
                raise
            nothing = Estimates(_none(study.disclosure))
            table, out = None, Released(nothing, Attrition(()), study.disclosure, 1, ())
        return out, self._line(number + 1, self._values_of(number), table, out)

    def _line(self, number: int, values: Mapping[str, Any], table: AnalysisTable | None, out: Released) -> pl.DataFrame:
        """Return one row of the specification curve."""
        study = self.studies[number - 1]
        named = [pl.lit(shown(value)).alias(name) for name, value in values.items()]
        row = _picked(study, out, self.pick).select(_EVENT, *PICKABLE[1:], "value", "lower", "upper", "level", "status")
        counts = _counts(table, out.rule)
        return _rounded(row, out.rule).select(pl.lit(number, pl.Int64).alias("combination"), *named, *counts, pl.all())


def _earlier(study: Study, history: Path | None) -> tuple[PastRelease, ...]:
    """Return the reports of a combination's population and its own earlier releases."""
    if history is None:
        return ()
    reports = earlier_releases(history, study.population_sha256)
    return (*reports, *earlier_releases(history / VARIANTS, study.sha256))


def _values(name: str, values: Sequence[Any]) -> tuple[Any, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise StudyError(f"{name}: give a list of at least one alternative value")
    return tuple(values)


def _check_pick(study: Study, analysis: int, pick: Mapping[str, str | int]) -> None:
    """Refuse what cannot pick one estimate, before anything is read."""
    if not 1 <= analysis <= len(study.analyses):
        raise StudyError(f"analysis {analysis}: the study has {len(study.analyses)}, counted from 1; add or name one")
    if unknown := sorted(set(pick) - set(PICKABLE)):
        raise StudyError(f"pick: {unknown[0]!r} is no column of the estimates; {nearest(unknown[0], PICKABLE)}")
    by = study.analyses[analysis - 1].by
    if by is not None and "group" not in pick:
        raise StudyError(
            f"analyses[{analysis}] has one estimate per level of {by!r}; pick = {{'group': …}} one of them"
        )


def _narrowed(study: Study, analysis: int) -> dict[str, Any]:
    """Return the analysis that is compared, and the covariates it needs."""
    chosen = study.analyses[analysis - 1]
    return {
        "analyses": (chosen,),
        "covariates": tuple(covariate for covariate in study.covariates if covariate.name in chosen.uses),
        "negative_controls": (),
    }


def _variant(study: Study, analysis: int, keys: list[Key], values: tuple[Any, ...], made: Made) -> Study:
    """Return the study with one combination of values, narrowed to what is compared."""
    said = ", ".join(f"{spell(key)} = {shown(value)}" for key, value in zip(keys, values, strict=True))
    parts = {name: getattr(study, name) for name in type(study).model_fields}
    try:
        for key, value in zip(keys, values, strict=True):
            parts[str(key[0])] = replaced(parts[str(key[0])], key[1:], value, made)
        whole = Study(**parts)
        variant = Study(**parts | _narrowed(whole, analysis))
    except StudyError as error:
        raise StudyError(f"{said}: {error}") from None
    if errors := [finding.message for finding in whole.audit() if finding.severity == "error"]:
        raise StudyError("\n".join(f"{said}: {message}" for message in errors))
    return variant


def _parts(study: Study) -> tuple[Any, ...]:
    return (*study.cohort.parts, study.outcome, *study.measured)


def _picked(study: Study, out: Released, pick: Mapping[str, str | int]) -> pl.DataFrame:
    """Return the picked estimate, one row: of a curve the last released point by the day, of a model a contrast.

    What is not picked is the study's own outcome, of a model its first covariate, of an effect its difference of
    risks. Few persons leave few points on a curve, so the last one may lie well before the day that was asked for;
    ``time`` says where.
    """
    reference = (pl.col("value") == 1) & pl.col("std_error").is_null() & pl.col("estimand").is_in(RATIOS)
    rows = out.estimates.frame.filter(pl.col("analysis") == 1, ~reference.fill_null(value=False))
    defaults = {"outcome": study.outcome.name, "term": study.analyses[0].contrast}
    wanted = [pl.col("time") <= value if name == "time" else pl.col(name) == str(value) for name, value in pick.items()]
    for name, default in defaults.items():
        if name not in pick and default is not None and default in set(rows[name]):
            wanted.append(pl.col(name) == default)
    rows = rows.filter(wanted)
    if "estimand" not in pick:
        rows = rows.filter(pl.col("estimand") != PROPORTIONALITY)
        found = set(rows["estimand"])
        if effect := next((name for name in _EFFECTS if name in found), None):
            rows = rows.filter(pl.col("estimand") == effect)
    if "category" not in pick and rows["category"].null_count():
        rows = rows.filter(pl.col("category").is_null())  # of a trial, not what other designs say of it
    points = rows.filter(pl.col("time").is_not_null(), pl.col("value").is_not_null())
    if points.height:
        return points.slice(points["time"].arg_max() or 0, 1)
    return rows.head(1) if rows.height else _none(out.rule)


def _none(rule: DisclosureRule) -> pl.DataFrame:
    """Return the row of a combination of which nothing was released: withheld or nobody there, the rule tells not."""
    status = f"{NOT_ESTIMABLE}: nobody at risk" if rule.off else SUPPRESSED
    return Estimates.from_rows(pl.DataFrame({"analysis": [1], "estimand": ["none"], "status": [status]})).frame


def _counts(table: AnalysisTable | None, rule: DisclosureRule) -> list[pl.Expr]:
    """Return persons at risk and outcomes, to the nearest multiple of the smallest count that may be shown.

    Combinations differ by a few persons, and exact counts beside each other would count those few. None where the
    gate let nothing out.
    """
    if table is None:
        return [pl.lit(None, pl.Int64).alias(name) for name in ("n", "events")]
    n = sum(part.height for part in table.parts)
    events = sum(int((part["cause"] == 1).sum()) for part in table.parts)
    rule = rule.model_copy(update={"minimum": rule.minimum * table.most_rows})
    shown_n = _shown([n], rule)
    return [
        pl.lit(shown_n, pl.Int64).alias("n"),
        pl.lit(None if shown_n is None else _shown([events, n - events], rule), pl.Int64).alias("events"),
    ]


def _shown(counts: list[int], rule: DisclosureRule) -> int | None:
    """Return the first of some counts rounded, unless one of them is too small to be shown or told by the others."""
    base = -(-max(rule.minimum, 1) // rule.round_to) * rule.round_to
    small = any(count < rule.minimum and (count > 0 or not rule.show_zero) for count in counts)
    return None if small else (counts[0] + base // 2) // base * base


def _rounded(row: pl.DataFrame, rule: DisclosureRule) -> pl.DataFrame:
    """Return the row with the digits of a model: an exact rate is a fraction that gives its counts back."""
    if rule.off:
        return row
    return row.with_columns(pl.col("value", "lower", "upper").round_sig_figs(rule.significant_digits))
