"""Comorbidity indices from diagnosis codes: Charlson and Elixhauser flags with their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import polars as pl

from cohort.codes.codelist import Codelist
from cohort.codes.match import label
from cohort.codes.normalise import normalise, normalise_by
from cohort.errors import StudyError
from cohort.frames import as_lazy, like, require_columns
from cohort.store.tables import SYSTEMS


@dataclass(frozen=True, slots=True)
class Index:
    """A comorbidity index.

    Attributes
    ----------
    codelist
        Name of the shipped map from codes to categories.
    categories
        Column order of the flags.
    drops
        Pairs (severe, mild): where the severe category is present the mild one does not count.
    weights
        Score column → weight per category; categories not named weigh 0.
    """

    codelist: str
    categories: tuple[str, ...]
    drops: tuple[tuple[str, str], ...]
    weights: dict[str, dict[str, int]]


def comorbidity(  # noqa: PLR0917 -- the public signature: every argument after the frame may be left out
    frame: Any,
    person: str = "id",
    code: str = "code",
    system: str = "icd10cm",
    index: str = "charlson",
    version: str = "quan2005",
) -> Any:
    """Return one row per person with 0/1 flags and scores of a comorbidity index.

    Parameters
    ----------
    frame
        Any tabular object, one row per diagnosis. A null or unknown code counts for nothing, but its person appears.
    person, code
        Columns: identifier; code as text, with or without dots.
    system
        A coding system (``icd9cm``, ``icd10``, ``icd10cm``) or the column that names each row's system.
    index, version
        ``charlson`` or ``elixhauser``; ``quan2005``.

    Returns
    -------
    frame
        ``person``, one Int8 column per category after hierarchy, and Int64 ``score_1987, score_2011`` (Charlson) or
        ``score_van_walraven`` (Elixhauser, unclipped: it may be negative); sorted; lazy if the input was.

    Raises
    ------
    StudyError
        If index, version or system is unknown, or the index has no map for the system.

    References
    ----------
    Quan H, et al. (2005). Coding algorithms for defining comorbidities in ICD-9-CM and ICD-10 administrative data.
    Med Care 43(11):1130-1139. doi:10.1097/01.mlr.0000182534.19832.83.
    Quan H, et al. (2011). Updating and validating the Charlson comorbidity index. Am J Epidemiol 173(6):676-682.
    doi:10.1093/aje/kwq433.
    van Walraven C, et al. (2009). A modification of the Elixhauser comorbidity measures into a point system. Med Care
    47(6):626-633. doi:10.1097/MLR.0b013e31819432e5.
    """
    chosen = load_index(index, version)
    rows = as_lazy(frame)
    columns = {"person": person, "code": code}
    require_columns(rows, columns if system in SYSTEMS else columns | {"system": system})
    diagnoses = rows.select(
        person=pl.col(person),
        system=pl.lit(system) if system in SYSTEMS else pl.col(system),
        code=_normalised(chosen, code, system),
    )
    return like(frame, score(flags(diagnoses, chosen, person="person"), chosen).sort("person"))


def flags(diagnoses: pl.LazyFrame, index: Index, *, person: str = "person_id") -> pl.LazyFrame:
    """Return one row per person of ``diagnoses`` with an Int8 0/1 column per category, hierarchy applied.

    Each distinct code becomes one bit mask, so the rows are read once and a person's flags are one bitwise or.

    Parameters
    ----------
    diagnoses
        ``person``, and normalised String ``system`` and ``code``. Rows without a person are left out.
    """
    bits = pl.LazyFrame({"category": index.categories, "bit": [1 << place for place in range(len(index.categories))]})
    codes = diagnoses.select("system", "code").unique()
    codelist = Codelist.shipped(index.codelist).inherited()
    masks = (
        label(codes, codelist).join(bits, on="category").group_by("system", "code").agg(mask=pl.col("bit").bitwise_or())
    )
    present = [((pl.col("mask") // (1 << n)) % 2 == 1).alias(name) for n, name in enumerate(index.categories)]
    severe = {mild: [one for one, other in index.drops if other == mild] for _, mild in index.drops}
    return (
        diagnoses.drop_nulls(person)
        .join(masks, on=["system", "code"], how="left")
        .group_by(person)
        .agg(mask=pl.col("mask").fill_null(0).bitwise_or())
        .select(person, *present)
        .with_columns((pl.col(mild) & ~pl.any_horizontal(*names)).alias(mild) for mild, names in severe.items())
        .with_columns(pl.col(index.categories).cast(pl.Int8))
    )


def score(flags: pl.LazyFrame, index: Index) -> pl.LazyFrame:
    """Add the weighted sums of the index, Int64; negative sums are kept."""
    return flags.with_columns(
        pl.sum_horizontal(pl.col(category).cast(pl.Int64) * weight for category, weight in weights.items()).alias(name)
        for name, weights in index.weights.items()
    )


@cache
def load_index(index: str, version: str = "quan2005") -> Index:
    """Return a shipped index with its hierarchy and weights.

    Raises
    ------
    StudyError
        If there is none of that name and version.
    """
    file = resources.files(__package__) / "data" / "comorbidity_weights.csv"
    rows = pl.read_csv(file.read_bytes(), infer_schema=False, comment_prefix="#")
    name = f"{index}_{version}"
    own = rows.filter(pl.col("index") == name)
    if own.is_empty():
        known = ", ".join(rows["index"].unique().sort())
        raise StudyError(f"no comorbidity index {index!r} in version {version!r}; there are {known}")
    weights = own.filter(pl.col("kind") == "weight").with_columns(pl.col("value").cast(pl.Int64))
    drops = own.filter(pl.col("kind") == "drops").select("category", "value")
    return Index(
        codelist=name,
        categories=tuple(weights["category"].unique(maintain_order=True)),
        drops=tuple(drops.rows()),
        weights={
            column: dict(weights.filter(pl.col("score") == column).select("category", "value").rows())
            for column in weights["score"].unique(maintain_order=True)
        },
    )


def _normalised(index: Index, code: str, system: str) -> pl.Expr:
    """Return normalised codes; refuse a system for which the index has no map."""
    if system not in SYSTEMS:
        return normalise_by(pl.col(code), pl.col(system))
    mapped = Codelist.shipped(index.codelist).systems
    if system not in mapped:
        raise StudyError(f"{index.codelist} has no map for {system!r}; it has {', '.join(mapped)}")
    return normalise(pl.col(code), system)
