"""AHRQ's refined index, release by release: every code of each year's table has exactly that year's categories."""

from __future__ import annotations

import polars as pl
import pytest

import cohort as co
from cohort.codes.codelist import Codelist
from cohort.codes.match import label
from cohort.features.comorbidity import load_index


@pytest.mark.parametrize("year", ["2022", "2023", "2024", "2025"])
def test_every_code_of_the_table_has_its_categories(shared, year):
    table = pl.read_csv(shared / "facts/ndc_and_codes/medicalcoder_elixhauser_codes.csv.gz", infer_schema=False)
    table = table.filter(pl.col("icdv") == "10", pl.col("dx") == "1")
    own = table.filter(pl.col(f"elixhauser_ahrq{year}") == "1").select("code", category="condition").unique()
    # codes of AHRQ's tables of any year; ICD headings, which no claim carries, stand in the other indices' tables only
    of_ahrq = pl.any_horizontal(pl.col(f"elixhauser_ahrq{release}") == "1" for release in range(2022, 2026))
    codes = table.filter(of_ahrq).select("code", system=pl.lit("icd10cm")).unique().lazy()
    found = label(codes, Codelist.shipped(f"elixhauser_ahrq{year}").inherited()).collect()
    assert found.select("code", "category").unique().sort(pl.all()).equals(own.sort(pl.all()))


def test_the_weights_of_2022_differ_from_later_ones():
    weights = {year: load_index("elixhauser", f"ahrq{year}").weights["score_ahrq_mortality"] for year in (2022, 2025)}
    changed = {name for name in weights[2022] if weights[2022][name] != weights[2025][name]}
    assert len(changed) == 10  # definitions, section h: ten groups
    assert (weights[2022]["CANCER_METS"], weights[2025]["CANCER_METS"]) == (23, 22)
    assert (weights[2022]["DEPRESS"], weights[2025]["DEPRESS"]) == (-9, -8)


def test_a_release_is_chosen_by_version():
    discharge = {"id": [1, 1, 1], "code": ["C780", "F329", "O99.02"], "present": [True, True, True]}
    found = {
        year: co.comorbidity(discharge, index="elixhauser", version=f"ahrq{year}", on_admission="present")
        for year in (2022, 2024)
    }
    assert found[2022].select("CANCER_METS", "DEPRESS", "BLDLOSS").row(0) == (
        1,
        1,
        1,
    )  # anaemia in childbirth: 2022 only
    assert found[2024].select("CANCER_METS", "DEPRESS", "BLDLOSS").row(0) == (1, 1, 0)
    assert found[2022]["score_ahrq_mortality"].item() - found[2024]["score_ahrq_mortality"].item() == (23 - 9 + -4) - 14
