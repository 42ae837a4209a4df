"""Per person of a store: days enrolled, Charlson score at the end of enrolment, pain episodes by region.

    python examples/persons.py STORE

Prints persons: for the holder of the data only. Every step is a function of one bucket, so it scales as a study does.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import polars as pl

import cohort as co
from cohort.features.comorbidity import flags, load_index, score
from cohort.features.intervals import days_covered
from cohort.features.pain import pain_episodes


def describe(tables: Mapping[str, pl.LazyFrame]) -> pl.LazyFrame:
    """Return one row per person of a bucket: enrolled days, Charlson score, episodes of pain by region."""
    last_day = tables["enrolment"].group_by("person_id").agg(until=pl.col("end_date").max())
    in_time = tables["diagnosis"].join(last_day, on="person_id").filter(pl.col("date") <= pl.col("until"))
    charlson = load_index("charlson")
    episodes = (
        pain_episodes(in_time, gap_days=90)
        .group_by("person_id", "region")
        .agg(text=pl.format("{} ({} d)", pl.col("start").dt.to_string(), "days").str.join(", "))
        .sort("person_id", "region")
        .group_by("person_id", maintain_order=True)
        .agg(pain=pl.format("{}: {}", "region", "text").str.join("; "))
    )
    return (
        tables["person"]
        .select("person_id")
        .join(days_covered(tables["enrolment"]), on="person_id", how="left")
        .join(score(flags(in_time, charlson), charlson).select("person_id", "score_1987"), on="person_id", how="left")
        .join(episodes, on="person_id", how="left")
        .sort("person_id")
    )


if __name__ == "__main__":
    store = co.Store.open(sys.argv[1])
    with pl.Config(tbl_rows=-1, fmt_str_lengths=200, tbl_width_chars=200):
        print(pl.concat([describe(store.bucket(number)).collect() for number in range(store.buckets)]))
