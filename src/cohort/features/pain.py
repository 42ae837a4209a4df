"""Pain itself: body regions, and episodes of care by region."""

from __future__ import annotations

import polars as pl

from cohort.codes.codelist import Codelist
from cohort.codes.match import label
from cohort.features.episodes import bridge_episodes

UNSPECIFIED = "unspecified"
"""Body region of codes that say pain and not where: no site of its own."""


def pain_sites(diagnoses: pl.LazyFrame, *, codelist: Codelist | None = None) -> pl.LazyFrame:
    """Return the number of distinct body regions with a pain code (Int64 ``pain_sites``) per person in ``diagnoses``.

    `UNSPECIFIED` is not counted; ``widespread`` counts as one region. More time observed means more regions, so give
    rows of windows of equal length.

    Parameters
    ----------
    diagnoses
        ``person_id, system, code``; every person of these rows appears, with 0 where no row says a region.
    codelist
        Labels are the regions; the shipped ``pain_regions`` by default.
    """
    regions = label(diagnoses, codelist or Codelist.shipped("pain_regions"), into="region")
    counted = (
        regions.filter(pl.col("region") != UNSPECIFIED)
        .group_by("person_id")
        .agg(pain_sites=pl.col("region").n_unique().cast(pl.Int64))
    )
    return (
        diagnoses.select("person_id")
        .unique()
        .join(counted, on="person_id", how="left")
        .with_columns(pl.col("pain_sites").fill_null(0))
        .sort("person_id")
    )


def pain_mechanisms(diagnoses: pl.LazyFrame, *, codelist: Codelist | None = None) -> pl.LazyFrame:
    """Return whether each person of ``diagnoses`` has pain codes of each mechanism.

    Parameters
    ----------
    diagnoses
        ``person_id, system, code``.
    codelist
        Labels are the mechanisms; the shipped ``pain_mechanisms`` by default.

    Returns
    -------
    LazyFrame
        ``person_id`` and one Int8 0/1 column per mechanism of the list, in alphabetical order; sorted.
    """
    mechanisms = codelist or Codelist.shipped("pain_mechanisms")
    labelled = label(diagnoses, mechanisms, into="mechanism")
    found = labelled.group_by("person_id").agg(
        (pl.col("mechanism") == name).any().cast(pl.Int8).alias(name) for name in mechanisms.categories
    )
    everybody = diagnoses.select("person_id").unique().join(found, on="person_id", how="left")
    return everybody.with_columns(pl.exclude("person_id").fill_null(0)).sort("person_id")


def pain_episodes(diagnoses: pl.LazyFrame, *, gap_days: int = 90, codelist: Codelist | None = None) -> pl.LazyFrame:
    """Return episodes of care for pain by person and body region.

    Parameters
    ----------
    diagnoses
        ``person_id, date, end_date, system, code``.
    gap_days
        See `cohort.features.episodes.bridge_episodes`.
    codelist
        Labels are the regions; the shipped ``pain_regions`` by default.

    Returns
    -------
    LazyFrame
        ``person_id, region, start, end, days, encounters``, sorted by person, region and start.

    References
    ----------
    de Vet HCW, Heymans MW, Dunn KM, et al. (2002). Episodes of low back pain. Spine 27(21):2409-2416.
    doi:10.1097/01.BRS.0000030307.34002.BE.
    """
    rows = label(diagnoses, codelist or Codelist.shipped("pain_regions"), into="region")
    return bridge_episodes(rows, by=("person_id", "region"), gap_days=gap_days)
