"""Comorbidity indices from diagnosis codes: Charlson and Elixhauser flags with their published weights.

Side taken where implementations disagree: the maps are those of Quan 2005 as published, without later ICD-10-CM
additions; a code may set several categories; the severe form of a disease switches the mild one off; scores are
never clipped. Flags come first and weights second, so one set of flags serves every score.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import polars as pl

from cohort.codes.codelist import Codelist
from cohort.codes.match import label, possible
from cohort.codes.normalise import normalise_by, spell_system, spelled_systems
from cohort.errors import StudyError
from cohort.frames import as_lazy, like, require_kinds
from cohort.time import days_between

RULE_OUT_SETTINGS = ("laboratory", "ambulance")
"""Settings whose codes say what was looked for, not what was found; the evidence rule ignores them."""

_STROKE_HELPERS = ("CBVD_POA", "CBVD_SQLA", "CBVD_NPOA")  # AHRQ's intermediate labels, merged into CBVD


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
        Score column → weight per category.
    on_admission
        Categories that count only when present on admission (AHRQ).
    """

    codelist: str
    categories: tuple[str, ...]
    drops: tuple[tuple[str, str], ...]
    weights: dict[str, dict[str, int]]
    on_admission: tuple[str, ...] = ()

    def without(self, *categories: str) -> Index:
        """Return the index with the given categories weighing nothing, such as a cancer-free Charlson score."""
        kept = {score: own | dict.fromkeys(categories, 0) for score, own in self.weights.items()}
        return replace(self, weights=kept)


def comorbidity(
    frame: Any,
    person: str = "id",
    code: str = "code",
    system: str = "icd10cm",
    index: str = "charlson",
    version: str = "quan2005",
    *,
    on_admission: str | None = None,
    hierarchy: bool = True,
) -> Any:
    """Return one row per person with 0/1 flags and scores of a comorbidity index.

    Parameters
    ----------
    frame
        Any tabular object, one row per diagnosis. A null or unknown code counts for nothing, but its person appears.
        AHRQ's index is per discharge: give discharges for persons, and secondary diagnoses only.
    person, code
        Columns: identifier; code as text, with or without dots.
    system
        A coding system (``icd9cm``, ``icd10``, ``icd10cm``), or the column that names each row's system; rows of
        other systems count for nothing.
    index, version
        ``charlson`` in version ``quan2005``; ``elixhauser`` in ``quan2005`` or ``ahrq2022`` … ``ahrq2025``.
    on_admission
        For AHRQ: Boolean column, true where the diagnosis was present on admission or is exempt from reporting; null
        counts as not present. Without it every row counts as present.
    hierarchy
        Whether the severe form of a disease switches the mild one off (``assign0 = TRUE`` in R's comorbidity).

    Returns
    -------
    frame
        ``person``, one Int8 column per category, and Int64 ``score_1987, score_2011`` (Charlson),
        ``score_van_walraven`` (Elixhauser, unclipped) or ``score_ahrq_mortality, score_ahrq_readmission``; sorted.

    Raises
    ------
    StudyError
        If index, version or system is unknown, or the index has no map for the system.

    References
    ----------
    Quan H, et al. (2005). Med Care 43(11):1130-1139. doi:10.1097/01.mlr.0000182534.19832.83.
    Quan H, et al. (2011). Am J Epidemiol 173(6):676-682. doi:10.1093/aje/kwq433.
    van Walraven C, et al. (2009). Med Care 47(6):626-633. doi:10.1097/MLR.0b013e31819432e5.
    AHRQ (2025). Elixhauser Comorbidity Software Refined for ICD-10-CM, v2025.1.
    """
    chosen = load_index(index, version) if hierarchy else replace(load_index(index, version), drops=())
    if on_admission is not None and not chosen.on_admission:
        raise StudyError(f"{chosen.codelist} has no present-on-admission rule; leave on_admission out")
    rows = as_lazy(frame)
    one = None if system in rows.collect_schema().names() else _mapped(chosen, system)
    diagnoses = _diagnoses(rows, person, code, one or pl.col(system), on_admission)
    masks = _any_code(diagnoses.drop_nulls("person"), chosen, "person", spelled=False, one=one)
    return like(frame, score(_flagged(masks, chosen, "person"), chosen).sort("person"))


def flags(
    diagnoses: pl.LazyFrame,
    index: Index,
    *,
    person: str = "person_id",
    days_apart: int | None = None,
) -> pl.LazyFrame:
    """Return one row per person of ``diagnoses`` with an Int8 0/1 column per category, hierarchy applied.

    Each distinct code becomes one bit mask, so the rows are read once and a person's flags are one bitwise or.

    Parameters
    ----------
    diagnoses
        ``person``, normalised String ``system`` and ``code``; Boolean ``present`` where the index asks for it (absent
        column = all present); ``date`` and ``setting`` with ``days_apart``. Rows without a person are left out.
    days_apart
        Evidence rule: a category needs one inpatient code, or two outpatient codes on days at least this far apart,
        laboratory and ambulance rows ignored. None: any code is enough.
    """
    rows = diagnoses.drop_nulls(person)
    masks = _any_code(rows, index, person) if days_apart is None else _confirmed(rows, index, person, days_apart)
    return _flagged(masks, index, person)


def _flagged(masks: pl.LazyFrame, index: Index, person: str) -> pl.LazyFrame:
    """Return each person's mask as a 0/1 column per category, hierarchy applied."""
    bits = _bits(index)
    present = [((pl.col("mask") & bit) != 0).alias(name) for name, bit in bits.items()]
    flagged = _merge_stroke(masks.select(person, *present), index)
    severe = {mild: [one for one, other in index.drops if other == mild] for _, mild in index.drops}
    return flagged.select(
        person,
        *(
            (pl.col(name) & ~pl.any_horizontal(severe[name]) if name in severe else pl.col(name))
            .cast(pl.Int8)
            .alias(name)
            for name in index.categories
        ),
    )


def score(flags: pl.LazyFrame, index: Index) -> pl.LazyFrame:
    """Add the weighted sums of the index, Int64; negative sums are kept."""
    return flags.with_columns(
        pl.sum_horizontal(pl.col(category).cast(pl.Int64) * weight for category, weight in weights.items()).alias(name)
        for name, weights in index.weights.items()
    )


def age_points(age: pl.Expr) -> pl.Expr:
    """Return the points that the age-adjusted Charlson index adds: one per decade from 50, at most four (Int64).

    References
    ----------
    Charlson M, et al. (1994). Validation of a combined comorbidity index. J Clin Epidemiol 47(11):1245-1251.
    doi:10.1016/0895-4356(94)90129-5.
    """
    return ((age.cast(pl.Int64) - 40) // 10).clip(0, 4)


@cache
def load_index(index: str, version: str = "quan2005") -> Index:
    """Return a shipped index with its hierarchy and weights.

    Raises
    ------
    StudyError
        If there is none of that name and version.
    """
    file = resources.files(__package__) / "data" / "comorbidity_weights.csv"
    rows = pl.read_csv(file.read_bytes(), infer_schema=False)
    name = f"{index}_{version}"
    own = rows.filter(pl.col("index") == name)
    if own.is_empty():
        known = ", ".join(rows["index"].unique().sort())
        raise StudyError(f"no comorbidity index {index!r} in version {version!r}; there are {known}")
    weights = own.filter(pl.col("kind") == "weight").with_columns(pl.col("value").cast(pl.Int64))
    return Index(
        codelist=name,
        categories=tuple(weights["category"].unique(maintain_order=True)),
        drops=tuple(own.filter(pl.col("kind") == "drops").select("category", "value").rows()),
        weights={
            column: dict(weights.filter(pl.col("score") == column).select("category", "value").rows())
            for column in weights["score"].unique(maintain_order=True)
        },
        on_admission=tuple(own.filter(pl.col("kind") == "on_admission")["category"]),
    )


def _bits(index: Index) -> dict[str, int]:
    """Return label → bit, for the categories and, in AHRQ's index, the labels that become CBVD."""
    labels = index.categories + (_STROKE_HELPERS if index.on_admission else ())
    return {name: 1 << place for place, name in enumerate(labels)}


def _labelled(codes: pl.LazyFrame, index: Index) -> pl.LazyFrame:
    """Return distinct codes with each of their labels as a bit, and the bit left where not present on admission."""
    bits = _bits(index)
    left = {name: 0 if name in index.on_admission else bit for name, bit in bits.items()}
    if index.on_admission:
        left["CBVD_POA"] = bits["CBVD_NPOA"]
    table = pl.LazyFrame({"category": list(bits), "bit": list(bits.values()), "bit_absent": list(left.values())})
    return label(codes, _inherited(index.codelist)).join(table, on="category")


@cache
def _inherited(name: str) -> Codelist:
    """Return a shipped map in which a code has all its labels; made once per process, not once per bucket."""
    return Codelist.shipped(name).inherited()


def _any_code(
    rows: pl.LazyFrame, index: Index, person: str, *, spelled: bool = True, one: str | None = None
) -> pl.LazyFrame:
    """Return every person with the bitwise or over all codes, each distinct one spelled first unless it is already.

    A code's masks, one column per system, are joined by the code alone: one text to hash per row instead of two. (A
    filter on the system behind such a join would not do: the optimiser makes it a second key.) Where all rows are of
    ``one`` system nothing is asked of them row by row.
    """
    systems = _inherited(index.codelist).systems if one is None else (one,)
    listed = possible(rows, _inherited(index.codelist)) if spelled else rows
    codes = listed.select(written="code").unique().join(pl.LazyFrame({"system": list(systems)}), how="cross")
    own_spelling = pl.col("written") if spelled else normalise_by(pl.col("written"), pl.col("system"))
    labelled = _labelled(codes.with_columns(code=own_spelling), index)
    by_system = [
        pl.col(bit).filter(pl.col("system") == system).bitwise_or().alias(f"{bit}_{system}")
        for bit in ("bit", "bit_absent")
        for system in systems
    ]
    coded = listed.join(labelled.group_by("written").agg(by_system), left_on="code", right_on="written")
    own, absent = (pl.col(f"{bit}_{one}") if one else _of_system(bit, systems) for bit in ("bit", "bit_absent"))
    if index.on_admission and "present" in rows.collect_schema().names():
        own = pl.when("present").then(own).otherwise(absent)
    return _everybody(rows, coded.group_by(person).agg(mask=own.bitwise_or()), person)


def _of_system(bit: str, systems: Iterable[str]) -> pl.Expr:
    """Return the mask of each row's own system; null where the code means nothing there."""
    return pl.coalesce(pl.when(pl.col("system") == system).then(f"{bit}_{system}") for system in systems)


def _confirmed(rows: pl.LazyFrame, index: Index, person: str, days_apart: int) -> pl.LazyFrame:
    """Return every person with the bitwise or over the categories that the evidence rule confirms."""
    inpatient = pl.col("setting").eq_missing("inpatient")
    outpatient_date = pl.col("date").filter(~inpatient)
    enough = inpatient.any() | (days_between(outpatient_date.min(), outpatient_date.max()) >= days_apart)
    confirmed = (
        rows.filter(~pl.col("setting").fill_null("unknown").is_in(RULE_OUT_SETTINGS))
        .join(_labelled(rows.select("system", "code").unique(), index), on=["system", "code"])
        .group_by(person, "bit")
        .agg(enough=enough)
        .filter("enough")
        .group_by(person)
        .agg(mask=pl.col("bit").bitwise_or())
    )
    return _everybody(rows, confirmed, person)


def _everybody(rows: pl.LazyFrame, found: pl.LazyFrame, person: str) -> pl.LazyFrame:
    """Return a mask for every person of the rows, 0 for those without any category."""
    # in a store's order nearly all repeats are neighbours, which are cheaper to drop than to hash
    first = pl.col(person).ne_missing(pl.col(person).shift(1))
    everybody = rows.select(person).filter(first).unique()
    return everybody.join(found, on=person, how="left").with_columns(pl.col("mask").fill_null(0))


def _merge_stroke(flagged: pl.LazyFrame, index: Index) -> pl.LazyFrame:
    """Merge AHRQ's cerebrovascular labels: a sequela counts unless a new event arose after admission."""
    if not index.on_admission:
        return flagged
    return flagged.with_columns(CBVD=pl.col("CBVD_POA") | (pl.col("CBVD_SQLA") & ~pl.col("CBVD_NPOA")))


def _diagnoses(
    rows: pl.LazyFrame, person: str, code: str, system: str | pl.Expr, on_admission: str | None
) -> pl.LazyFrame:
    """Return a caller's rows as ``person, system, code, present``, systems spelled as in the maps, codes as written."""
    kinds = {"person": (person, "any"), "code": (code, "text")}
    kinds |= {} if isinstance(system, str) else {"system": (system.meta.output_name(), "text")}
    kinds |= {} if on_admission is None else {"on_admission": (on_admission, "boolean")}
    require_kinds(rows, kinds)
    systems = pl.lit(system) if isinstance(system, str) else spelled_systems(system)
    present = pl.lit(value=True) if on_admission is None else pl.col(on_admission).fill_null(value=False)
    return rows.select(person=pl.col(person), system=systems, code=pl.col(code).cast(pl.String), present=present)


def _mapped(index: Index, system: str) -> str:
    """Return a coding system in the store's spelling; refuse one for which the index has no map."""
    spelled, mapped = spell_system(system), Codelist.shipped(index.codelist).systems
    if spelled not in mapped:
        raise StudyError(f"{index.codelist} has no map for {system!r}; it has {', '.join(mapped)}")
    return spelled
