"""Estimates: every number of a study in one long tidy table, one row per number.

Tables, figures, the release gate and the files on disk read only this table. Rows are in one explicit order and
files are written so that the same content is the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cohort.errors import CohortError

SCHEMA = pl.Schema(
    {
        "analysis": pl.Int64(),  # position in the study; 0 is Table 1
        "estimand": pl.String(),
        "outcome": pl.String(),
        "group": pl.String(),  # value of `by`, "all" without
        "term": pl.String(),  # Table 1 variable or model term
        "category": pl.String(),  # level of a categorical term
        "time": pl.Int64(),  # days since index
        "value": pl.Float64(),
        "std_error": pl.Float64(),
        "lower": pl.Float64(),
        "upper": pl.Float64(),
        "level": pl.Float64(),  # confidence level
        "n": pl.Int64(),  # persons in the group or level; at risk on curves
        "events": pl.Int64(),
        "censored": pl.Int64(),
        "person_days": pl.Int64(),
        "unit": pl.String(),
        "method": pl.String(),
        "status": pl.String(),
    }
)
KEY = ("analysis", "estimand", "outcome", "term", "category", "group", "time")
NUMBERS = ("value", "std_error", "lower", "upper", "n", "events", "censored", "person_days")
CURVES = ("cumulative_incidence", "survival")
"""The estimands that are curves."""
RATIOS = ("hazard_ratio", "subdistribution_hazard_ratio")
"""The estimands of regression models."""
PROPORTIONALITY = "proportional_hazards"
"""The p-value that the ratios of a Cox model do not change with time, by term; without a term, of all together."""
RESPONSES = ("response_observed", "response_non_responder", "response_weighted")
"""The share who respond in three versions; ``n`` of the first counts those measured, of the others all."""
ALL = "all"
OK, SUPPRESSED, NOT_ESTIMABLE = "ok", "suppressed", "not_estimable"
WITHHELD = "[c]"
"""Token of a withheld number: the symbol for "confidential" of the UK statistical service; neither 0 nor missing."""
SEALED = "sealed"
"""An effect estimate behind a gate that is closed."""
COUNTS_SUPPRESSED = "ok, counts suppressed"


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """The one long table of results, sorted by `KEY`, nulls first.

    On ``survival`` and ``cumulative_incidence`` rows ``n`` counts those at risk on ``time`` (before its events), and
    ``events`` and ``censored`` those since the row before. On ``hazard_ratio`` rows with a ``category`` ``n`` and
    ``events`` are of that level; the reference level has a row of its own, with value 1 and no standard error.
    ``status`` is ``ok``, ``suppressed`` (no numbers), ``ok, counts suppressed``, ``not_estimable: reason`` or
    ``sealed: the gates that are closed``.
    """

    frame: pl.DataFrame

    def __post_init__(self) -> None:
        """Assert the schema, that a row says what it is, and that no two rows say the same thing."""
        if self.frame.schema != SCHEMA:
            raise CohortError("estimates do not have the columns of `Estimates`; build them with Estimates.from_rows")
        if any(self.frame[name].null_count() for name in ("analysis", "estimand", "group", "status")):
            raise CohortError("estimates without analysis, estimand, group or status; please report this as a bug")
        if self.frame.select(KEY).is_duplicated().any():
            raise CohortError("two estimates with the same key; give each analysis of the study its own position")

    @classmethod
    def from_rows(cls, frame: pl.DataFrame, **constants: Any) -> Estimates:
        """Build estimates from a frame with some of the columns.

        Parameters
        ----------
        frame
            Any of the columns of `SCHEMA`, castable to its types. A column that is absent becomes null, ``group``
            becomes ``all`` and ``status`` becomes ``ok``; NaN becomes null.
        constants
            Columns with one value for all rows, such as ``analysis=1, estimand="survival"``.
        """
        unknown = (set(frame.columns) | set(constants)) - set(SCHEMA.names())
        if unknown:
            raise CohortError(f"estimates have no column {', '.join(sorted(unknown))}; they have {', '.join(SCHEMA)}")
        columns = [_filled(name, frame.columns, constants) for name in SCHEMA.names()]
        return cls(frame.with_columns(columns).select(SCHEMA.names()).sort(KEY))

    @classmethod
    def concat(cls, parts: Iterable[Estimates]) -> Estimates:
        """Put the estimates of several analyses into one table."""
        frames = [part.frame for part in parts]
        return cls(pl.concat(frames).sort(KEY) if frames else SCHEMA.to_frame())

    def to_polars(self) -> pl.DataFrame:
        """Return the table."""
        return self.frame

    def select(self, *, analysis: int | None = None, estimand: str | None = None) -> pl.DataFrame:
        """Return the rows of one analysis, of one estimand, or of both."""
        wanted = [
            pl.col(name) == value
            for name, value in (("analysis", analysis), ("estimand", estimand))
            if value is not None
        ]
        return self.frame.filter(*wanted) if wanted else self.frame

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write ``estimates.csv`` and ``estimates.parquet``: the same content is the same bytes.

        Floats are written in the shortest form that reads back as the same number, null as an empty field, a withheld
        number as `WITHHELD`. In the CSV a text that a spreadsheet would run as a formula gets an apostrophe in front.
        Parquet names the withheld numbers of a row in a column ``withheld``, and carries no statistics, so nothing
        about them can be read off a footer.
        """
        csv, parquet = folder / "estimates.csv", folder / "estimates.parquet"
        withheld = withheld_numbers(self.frame)
        write_csv(self.frame, csv, withheld)
        names = pl.concat_list(pl.when(mask).then(pl.lit(name)) for name, mask in withheld.items())
        told = names.list.drop_nulls().list.join(" ").replace("", None).alias("withheld")
        write_parquet(self.frame.with_columns(told), parquet)
        return csv, parquet


def _filled(name: str, given: Collection[str], constants: Mapping[str, Any]) -> pl.Expr:
    """Return a column of the table from what is given of it: a constant, a column, or what stands for neither."""
    dtype, default = SCHEMA[name], {"group": ALL, "status": OK}.get(name)
    column = pl.lit(constants[name]) if name in constants else pl.col(name) if name in given else pl.lit(None)
    typed = column.cast(dtype).alias(name)
    if default is not None:
        return typed.fill_null(default)
    return typed.fill_nan(None) if dtype == pl.Float64 else typed


def withheld_numbers(frame: pl.DataFrame) -> dict[str, pl.Series]:
    """Return, by column of numbers, in which rows a number is withheld; a null elsewhere is one that there is not.

    Decided by the released rows alone, so it cannot tell of what was withheld: a withheld row lacks its value and what
    other rows of its estimand show; of a row without its counts the counts; of a curve that does not tell censorings
    from other causes the censorings.
    """
    applies = {name: set(frame.filter(pl.col(name).is_not_null())["estimand"]) for name in NUMBERS}
    counts, status = ("n", "events", "censored"), pl.col("status")
    found = {}
    for name in NUMBERS:
        here = pl.col("estimand").is_in(list(applies[name])) | pl.lit(name == "value")
        gone = (status == SUPPRESSED) | (status == COUNTS_SUPPRESSED) & pl.lit(name in counts)
        untold = pl.col("estimand").is_in(CURVES) & pl.col("events").is_not_null() & pl.lit(name == "censored")
        found[name] = frame.select((pl.col(name).is_null() & (here & gone | untold)).alias(name))[name]
    return found


def write_csv(frame: pl.DataFrame, path: Path, withheld: Mapping[str, pl.Series] | None = None) -> None:
    """Write a frame as CSV whose text cells a spreadsheet shows and does not run, withheld numbers as `WITHHELD`."""
    inert = frame.with_columns(_inert(pl.col(pl.String)))
    marked = (
        pl.when(mask).then(pl.lit(WITHHELD)).otherwise(pl.col(name).cast(pl.String)).alias(name)
        for name, mask in (withheld or {}).items()
        if mask.any()
    )
    inert.with_columns(marked).write_csv(path)


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame as Parquet without statistics: the same content is the same bytes."""
    frame.write_parquet(path, compression="zstd", statistics=False, row_group_size=1 << 20)


def _inert(text: pl.Expr) -> pl.Expr:
    """Return text that no spreadsheet takes for a formula; numbers, with their sign, stay as they are.

    Spreadsheets set for East Asian languages take the full-width signs for the plain ones, and leading blanks are
    cut off by some on import.
    """
    formula = text.str.contains(r"^\s*[=+\-@\t\r\n＝＋－＠]") & ~text.str.contains(r"^[+-]?[0-9.,]+$")
    return pl.when(formula).then(pl.lit("'") + text).otherwise(text).name.keep()
