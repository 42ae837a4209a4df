"""MME against the opioid-cds cases and CDC's own table of 13,269 products."""

from __future__ import annotations

import json

import polars as pl
import pytest

from cohort.features.opioids import daily_mme, mme_factors, with_products

# display text of the case → drug, form, strength in our units (patches mcg/h, other fentanyl mcg)
CASES = {
    "TestDrug_Fentanyl_Transdermal": ("fentanyl", "patch", 25.0),
    "TestDrug_Fentanyl_0375_Transdermal": ("fentanyl", "patch", 37.5),
    "TestDrug_Fentanyl_Injection": ("fentanyl", "injection", 4.0),
    "TestDrug_Methadone": ("methadone", "oral", 10.0),
    "TestDrug_Fentanyl_Spray": ("fentanyl", "nasal", 400.0),
    "TestDrug_Fentanyl_Film": ("fentanyl", "film", 1200.0),
    "TestDrug_Fentanyl_Mucosal_Spray": ("fentanyl", "nasal", 100.0),
    "TestDrug_Oxycodone": ("oxycodone", "oral", 10.0),
    "TestDrug_Oxycodone_ER": ("oxycodone", "oral", 30.0),
}


@pytest.fixture(scope="module")
def cases(shared):
    return json.loads((shared / "reference/medication/mme_cases_cql.json").read_text())


def test_daily_mme_of_nine_prescriptions(cases):
    assert {case["id"] for case in cases["drug_cases"]} == CASES.keys()
    for case in cases["drug_cases"]:
        drug, form, strength = CASES[case["id"]]
        row = {"id": 1, "date": "2020-01-01", "days_supply": 1, "strength": strength, "drug": drug, "form": form}
        row["quantity"] = case["dose_quantity"] * case["doses_per_day"]
        frame = pl.DataFrame([row]).with_columns(pl.col("date").str.to_date())
        found = daily_mme(frame, form="form", version="cdc2016")["mme"].item()
        expected = case["expected_mme_per_day"]
        # a third of a patch is written 0.3333, and the expected value is rounded
        assert found == (None if expected is None else pytest.approx(expected, rel=2e-4))


def test_conversion_factors_of_the_2016_guideline(cases):
    factors = mme_factors("cdc2016")
    beyond = set()
    for case in cases["conversion_factor_cases"]:
        if case["ingredient"] in ("fentanyl", "buprenorphine"):
            continue  # stated per dose form and wear; covered by the prescriptions above
        own = factors.filter(
            (pl.col("drug") == case["ingredient"])
            & (pl.col("dose_gt") < case["daily_dose"])
            & (pl.col("dose_le").is_null() | (pl.col("dose_le") >= case["daily_dose"]))
        )
        if case["expected_factor"] is not None:
            assert own["factor"].to_list() == [case["expected_factor"]], case["id"]
        elif own.height:
            beyond.add(case["ingredient"])
    # the guideline's table is shorter than CDC's file of products, which we follow
    assert beyond == {
        "butorphanol", "dihydrocodeine", "levomethadyl", "levorphanol", "meperidine", "pentazocine", "tapentadol",
        "tramadol",
    }  # fmt: skip


def test_every_product_of_cdcs_table_has_cdcs_factor(shared):
    table = pl.read_csv(shared / "facts/ndc_and_codes/cdc_mme_2016_opioids.csv.gz", infer_schema=False)
    products = with_products(table.lazy().select("MME_Conversion_Factor", system=pl.lit("ndc"), code="NDC"))
    # one bin of methadone is enough to see that it is binned here and flat (3) there
    factors = mme_factors("cdc2016").filter(pl.col("dose_gt") == 0).lazy()
    found = products.join(factors, on=["drug", "form"], how="left").collect()
    assert found.height == 13269
    differing = found.filter(pl.col("factor").ne_missing(pl.col("MME_Conversion_Factor").cast(pl.Float64)))
    assert set(differing["drug"]) == {"methadone", "buprenorphine"}
    assert found["strength"].null_count() == 1  # the implant
