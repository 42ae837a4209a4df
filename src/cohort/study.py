"""The study: the whole plan as one frozen object, built in Python or read from TOML; nothing is read until `run`."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import polars as pl
import tomli_w
from pydantic import Field, ValidationError, model_validator

from cohort.audit.audit import audit
from cohort.audit.finding import Finding
from cohort.codes.records import Tables
from cohort.coherence import check_coherence
from cohort.engines.engine import Engine, Progress
from cohort.engines.local import local
from cohort.errors import StudyError
from cohort.features.covariate import MISSING
from cohort.features.covariates import Covariate, VariableType
from cohort.features.exposure import Exposure
from cohort.features.time_varying import TimeVarying
from cohort.left_parts import LeftParts, Parts, Scratched, attrition_of, rows_of
from cohort.matched import differences_before, match
from cohort.outcomes.course import Course
from cohort.outcomes.outcome import Outcome
from cohort.plan import BucketPart, codes_needed, run_bucket
from cohort.population.attrition import Attrition
from cohort.population.cohort import Cohort
from cohort.population.entry import ARM, Entry
from cohort.population.matching import CASE, MatchedArms, RiskSets
from cohort.result import Result, trace
from cohort.results.analyses import Analysis
from cohort.results.analysis_table import AnalysisTable, with_reasons
from cohort.results.disclosure import DisclosureRule, Released, release
from cohort.results.estimates import Estimates
from cohort.results.history import PastRelease, aligned
from cohort.results.table_one import Kind, TableOneCounts, count_table_one
from cohort.spec import STUDY_FILE, Spec, describe
from cohort.store.store import Store

if TYPE_CHECKING:
    from cohort.multiverse import Multiverse


class Study(Spec):
    """A cohort, its outcome, covariates, analyses, and the rule under which numbers may leave.

    Two studies are equal, and have the same ``sha256``, when they say the same: whether they were written in Python
    or TOML, and wherever their codelists were read from.
    """

    title: Annotated[str, Field(min_length=1, description="title of the report")]
    cohort: Annotated[Cohort, Field(description="who is in, from when, until when")]
    outcome: Annotated[Outcome, Field(description="the event, how it is dated, what competes with it")]
    covariates: Annotated[tuple[Covariate, ...], Field(description="what is known about each entry")] = ()
    exposures: Annotated[tuple[Exposure, ...], Field(description="treatments that may start after index")] = ()
    time_varying: Annotated[tuple[TimeVarying, ...], Field(description="covariates that change after index")] = ()
    negative_controls: Annotated[
        tuple[Outcome, ...], Field(description="outcomes that no treatment of the study can affect")
    ] = ()
    analyses: Annotated[tuple[Analysis, ...], Field(description="what is estimated")] = ()
    disclosure: Annotated[DisclosureRule, Field(description="what may leave")] = DisclosureRule()

    def __init__(self, cohort: Cohort | None = None, /, **values: Any) -> None:
        """Take the cohort by position; the title defaults to its name."""
        if cohort is not None:
            values = {"title": cohort.name, "cohort": cohort} | values
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise StudyError(describe(error, type(self))) from None

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        check_coherence(self)
        return self

    @classmethod
    def from_toml(cls, path: str | Path) -> Study:
        """Read a study file.

        Raises
        ------
        StudyError
            If the file cannot be read or says something impossible: the message names the file, the key, the repair.
        """
        path = Path(path)
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise StudyError(f"{path}: {error.strerror or 'cannot be read'}; give the path of a study file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise StudyError(f"{path}: not TOML in UTF-8: {error}") from None
        token = STUDY_FILE.set(path)
        try:
            return cls(**values)
        finally:
            STUDY_FILE.reset(token)

    def to_toml(self, path: str | Path, *, whole: bool = False) -> None:
        """Write the study file; `from_toml` reads the equal study back. ``whole`` puts codelists from files into it."""
        path = Path(path)
        values = self.model_dump(exclude_none=True, context={"folder": path.parent, "whole": whole})
        path.write_text(tomli_w.dumps(values, multiline_strings=False), encoding="utf-8")

    @functools.cached_property
    def sha256(self) -> str:
        """Return the hash of what the study says, codelists by content."""
        values = self.model_dump(mode="json", context={"hash": True})
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def __copy__(self) -> Self:
        """Return a copy that has yet to work out its hash: `model_copy` may be about to change what it says."""
        copied = super().__copy__()
        copied.__dict__.pop("sha256", None)
        return copied

    @property
    def population_sha256(self) -> str:
        """Return the hash of who is in: releases of one population can be subtracted, whatever they ask."""
        values = self.cohort.model_dump(mode="json", context={"hash": True})
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @property
    def asked(self) -> tuple[str, ...]:
        """Return what is asked at each position of the results: Table 1 by its grouping, then the analyses."""
        dumped = (analysis.model_dump(mode="json") for analysis in self.analyses)
        return (f"Table 1 by {self.grouping}", *(json.dumps(values, sort_keys=True) for values in dumped))

    @property
    def grouping(self) -> str | None:
        """Return what Table 1 is split by: cases and controls, matched arms, or what an analysis groups by, or arms."""
        if isinstance(self.cohort.matching, RiskSets):
            return CASE
        arms = ARM if self.entry.arms else None
        if self.cohort.matching is not None:
            return arms
        return next((analysis.by for analysis in self.analyses if analysis.by), arms)

    @property
    def entry(self) -> Entry:
        """Return how persons join."""
        assert self.cohort.entry is not None  # noqa: S101 -- a study without an entry cannot be made
        return self.cohort.entry

    @property
    def variables(self) -> dict[str, VariableType]:
        """Return the type of each variable of the analysis table: the arm, where there are several, and covariates."""
        arms: dict[str, VariableType] = {ARM: "categorical"} if self.entry.arms else {}
        return arms | {covariate.name: covariate.type for covariate in self.covariates}

    @property
    def measured(self) -> tuple[Covariate | Exposure | TimeVarying | Course, ...]:
        """Return what each entry has columns of: covariates, exposures, what changes, what analyses follow further."""
        courses = (analysis for analysis in self.analyses if isinstance(analysis, Course))
        return (*self.covariates, *self.exposures, *self.time_varying, *courses)

    def audit(self) -> tuple[Finding, ...]:
        """Return the design faults that can be seen in the plan."""
        return audit(self)

    def run(
        self,
        store: Store | str | Path,
        progress: Progress | None = None,
        *,
        engine: Engine | None = None,
        history: Sequence[PastRelease] = (),
    ) -> Result:
        """Run the plan on a store: every bucket on its own, then sums, then the release gate.

        Parameters
        ----------
        engine
            Where the buckets' work is done: ``co.engines.local()`` (the default), ``co.engines.spark(session)`` or
            ``co.engines.dask(client)``; the results are the same to the last bit.
        history
            Earlier releases of the study, which this one must not be subtracted from (`earlier_releases`).

        Raises
        ------
        StudyError
            If the audit finds an error; no row is read then.
        InputRefusedError
            If there is no store.
        """
        started = dt.datetime.now(dt.UTC)
        self._stop_on_design_errors()
        store = store if isinstance(store, Store) else Store.open(store)
        parts = self._parts(store, progress, engine)
        table, released = self.conclude(parts, progress, history)
        return Result(self, table, released, trace(self, store, started), store)

    def entries(
        self, store: Store | str | Path, progress: Progress | None = None, *, engine: Engine | None = None
    ) -> tuple[AnalysisTable, Attrition]:
        """Return the entries at risk before any matching, and the flow: persons, for the data holder only."""
        self._stop_on_design_errors()
        parts = self._parts(store if isinstance(store, Store) else Store.open(store), progress, engine)
        return self._analysis_table(parts), attrition_of(parts)

    def _parts(self, store: Store, progress: Progress | None, engine: Engine | None) -> Parts:
        chosen, function = engine or local(), self.bucket_function(store)
        if getattr(chosen, "memory", None) is None:  # else buckets are as small as can be
            store = store.in_larger_buckets()
        if isinstance(chosen, Scratched) and chosen.scratch is not None:
            return LeftParts.made(chosen, chosen.scratch, store, function, progress)
        return tuple(chosen.map(store, function, "cohort", progress))

    def estimates(self, table: AnalysisTable, progress: Progress | None = None) -> Estimates:
        """Return Table 1 and every analysis of a table: not released yet."""
        return Estimates.concat([self._table_one(table), *self._estimate(table, progress)])

    def conclude(
        self, parts: Parts, progress: Progress | None = None, history: Sequence[PastRelease] = ()
    ) -> tuple[AnalysisTable, Released]:
        """Put the buckets' parts together, estimate, and pass the release gate."""
        table = self._analysis_table(parts)
        attrition = attrition_of(parts)
        before = []
        if isinstance(self.cohort.matching, MatchedArms):
            before = [differences_before(self._table_one(table), attrition, self.disclosure, table.most_rows)]
        if self.cohort.matching is not None:
            table, step = match(table, self.cohort)
            attrition = Attrition((*attrition.steps, step))
        before_now = aligned(history, self.asked)
        released = release(self.estimates(table, progress), attrition, self.disclosure, table.most_rows, before_now)
        if released.record is not None:
            released = replace(released, record=replace(released.record, analyses=self.asked))
        if not before:
            return table, released
        return table, replace(released, estimates=Estimates.concat([released.estimates, *before]))

    def _stop_on_design_errors(self) -> None:
        errors = [finding.message for finding in self.audit() if finding.severity == "error"]
        if errors:
            raise StudyError("\n".join(errors))

    def over(
        self,
        axes: Mapping[str, Sequence[Any]] | None = None,
        /,
        *,
        analysis: int = 1,
        pick: Mapping[str, str | int] | None = None,
        **named: Sequence[Any],
    ) -> Multiverse:
        """Return the multiverse of this study: every combination of alternative values; see `Multiverse`.

        Parameters
        ----------
        axes
            Key of the study file → values: ``{"cohort.entry.washout_days": [90, 180, 365]}``. A key may be shortened to
            its end while that is unambiguous, and then be given by name: ``washout_days=[90, 180, 365]``.
        analysis
            Position of the analysis whose estimate is compared, counted from 1.
        pick
            Which of its estimates: group, term, category, estimand, or the day (``time``) of a curve.
        """
        from cohort.multiverse import Multiverse

        return Multiverse.of(self, dict(axes or {}) | named, analysis, dict(pick or {}))

    def bucket_function(self, store: Store) -> Callable[[Tables], BucketPart]:
        """Return what is done with every bucket of a store; it pickles, so that it can be done anywhere."""
        return functools.partial(
            run_bucket,
            cohort=self.cohort,
            outcome=self.outcome,
            covariates=self.measured,
            codes=codes_needed(self.cohort, self.outcome, (*self.measured, *self.negative_controls)),
            data_end=store.data_end,
            controls=self.negative_controls,
        )

    def _analysis_table(self, parts: Parts) -> AnalysisTable:
        causes = (self.outcome.name, *self.outcome.competing)
        return AnalysisTable(
            rows_of(parts),
            causes,
            self.outcome.landmark,
            self.variables,
            delayed=self.cohort.start.delayed,
            repeats=self.entry.repeats,
            arms=tuple(arm.name for arm in self.entry.arms),
            controls=tuple(control.name for control in self.negative_controls),
            time_varying=self.time_varying,
            exposures=self.exposures,
        )

    def _table_one(self, table: AnalysisTable) -> Estimates:
        """Describe the persons at risk, by the study's grouping; where values are missing, by the reason too."""
        later = {covariate.name for covariate in self.covariates if getattr(covariate, "describes", False)}
        described = {
            name: kind
            for name, kind in table.described(self.grouping).items()
            if name.removesuffix(MISSING) not in later
        }
        count = functools.partial(_described, explained=tuple(self.variables), variables=described, by=self.grouping)
        return table.total(count).finish()

    def _estimate(self, table: AnalysisTable, progress: Progress | None) -> Iterator[Estimates]:
        for number, analysis in enumerate(self.analyses, start=1):
            yield analysis.estimate(number, table)
            if progress is not None:
                progress("analyses", number, len(self.analyses))


def _described(
    part: pl.DataFrame, explained: tuple[str, ...], variables: Mapping[str, Kind], by: str | None
) -> TableOneCounts:
    return count_table_one(with_reasons(part, explained), variables, by)
