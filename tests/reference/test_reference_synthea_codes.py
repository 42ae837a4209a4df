"""The lists written for Synthea's codes hold what its descriptions say, and nothing else."""

from __future__ import annotations

import polars as pl
import pytest

from cohort.codes.codelist import Codelist

INJURY = r"(?i)sprain|whiplash|fracture|ligament|tendon|meniscus"
OPIOID = r"(?i)codone|morphine|meperidine|fentanyl|codeine|tramadol|methadone|buprenorphine"
CANCER = r"(?i)malignant|cancer|carcinoma|metastasis"
CHRONIC_PAIN = r"(?i)chronic pain|chronic intractable|fibromyalgia"


@pytest.mark.parametrize(
    ("file", "pattern", "name", "system", "left_out"),
    [
        # a pathological fracture is no injury
        ("conditions", INJURY, "musculoskeletal_injury", "snomed", {"443165006"}),
        ("conditions", CHRONIC_PAIN, "chronic_pain_snomed", "snomed", set()),
        # carcinoma in situ, and suspected cancer
        ("conditions", CANCER, "active_cancer", "snomed", {"92691004", "162573006"}),
        # the "fentanyl" of the pattern also finds alfentanil and remifentanil: only under anaesthesia
        ("medications", OPIOID + "|fentanil", "opioid", "rxnorm", {"480", "73032"}),
    ],
)
def test_descriptions_and_lists_agree(shared, file, pattern, name, system, left_out):
    rows = pl.read_csv(shared / f"data/claims_synthea/{file}.csv", infer_schema=False)
    described = set(rows.filter(pl.col("DESCRIPTION").str.contains(pattern))["CODE"])
    recorded = set(rows["CODE"])
    listed = set(Codelist.shipped(name).rows.filter(pl.col("system") == system)["code"])
    assert described - listed == left_out
    assert (listed & recorded) <= described
