"""Charlson and Elixhauser, person by person, against R packages on 1,000 Vermont and 2,210 NHDS discharges."""

from __future__ import annotations

import polars as pl
import pytest

from cohort.codes.codelist import Codelist
from cohort.codes.match import label
from cohort.features.comorbidity import comorbidity

LONG = {"vermont": "vermont_dx_long_icd9", "nhds2010": "nhds2010_long_icd9"}
MEDICALCODER_CHARLSON = {
    "mi": "mi", "chf": "chf", "pvd": "pvd", "cevd": "cebvd", "dementia": "dem", "cpd": "copd", "rheumd": "rhd",
    "pud": "pud", "mld": "mld", "diab": "dm", "diabwc": "dmc", "hp": "hp", "rend": "rnd", "canc": "mal",
    "msld": "msld", "metacanc": "mst", "aids": "aidshiv",
}  # fmt: skip
ICD_CHARLSON = {
    "mi": "MI", "chf": "CHF", "pvd": "PVD", "cevd": "Stroke", "dementia": "Dementia", "cpd": "Pulmonary",
    "rheumd": "Rheumatic", "pud": "PUD", "mld": "LiverMild", "diab": "DM", "diabwc": "DMcx", "hp": "Paralysis",
    "rend": "Renal", "canc": "Cancer", "msld": "LiverSevere", "metacanc": "Mets", "aids": "HIV",
}  # fmt: skip
ICD_ELIXHAUSER = {  # without hypertension, which that package merges
    "chf": "CHF", "carit": "Arrhythmia", "valv": "Valvular", "pcd": "PHTN", "pvd": "PVD", "para": "Paralysis",
    "ond": "NeuroOther", "cpd": "Pulmonary", "diabunc": "DM", "diabc": "DMcx", "hypothy": "Hypothyroid",
    "rf": "Renal", "ld": "Liver", "pud": "PUD", "aids": "HIV", "lymph": "Lymphoma", "metacanc": "Mets",
    "solidtum": "Tumor", "rheumd": "Rheumatic", "coag": "Coagulopathy", "obes": "Obesity", "wloss": "WeightLoss",
    "fed": "FluidsLytes", "blane": "BloodLoss", "dane": "Anemia", "alcohol": "Alcohol", "drug": "Drugs",
    "psycho": "Psychoses", "depre": "Depression",
}  # fmt: skip


@pytest.fixture(scope="module")
def read(shared):
    return lambda name: pl.read_csv(shared / "reference/comorbidity" / f"{name}.csv.gz", infer_schema=False)


@pytest.fixture(scope="module")
def ours(read):
    """Return (data set, index) → our result; persons are text, as in the reference files."""
    return {
        (name, index): comorbidity(read(file), system="icd9cm", index=index)
        for name, file in LONG.items()
        for index in ("charlson", "elixhauser")
    }


def disagreements(ours, theirs, columns):
    """Return {our column: persons for whom it differs}; the persons must be the same on both sides."""
    assert set(ours["person"]) == set(theirs["id"])
    pairs = ours.join(theirs.rename(lambda name: f"their_{name}"), left_on="person", right_on="their_id")
    differing = {
        mine: pairs.filter(pl.col(mine).cast(pl.Int64) != pl.col(f"their_{other}").cast(pl.Int64))["person"].to_list()
        for mine, other in columns.items()
    }
    return {column: persons for column, persons in differing.items() if persons}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize(
    ("index", "scores"),
    [
        ("charlson", {"score_1987": "score_charlson", "score_2011": "score_quan"}),
        ("elixhauser", {"score_van_walraven": "score_vw"}),
    ],
)
def test_r_comorbidity_agrees_on_every_flag_and_score(ours, read, name, index, scores):
    found = ours[name, index]
    flags = {column: column for column in found.columns if column != "person" and not column.startswith("score")}
    assert disagreements(found, read(f"{name}__comorbidity_{index}_icd9_quan_assign0_TRUE"), flags | scores) == {}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize(
    ("index", "scores"),
    [
        ("charlson", {"score_1987": "score_charlson", "score_2011": "score_quan"}),
        ("elixhauser", {"score_van_walraven": "score_vw"}),
    ],
)
def test_r_comorbidity_agrees_without_hierarchy_too(read, name, index, scores):
    found = comorbidity(read(LONG[name]), system="icd9cm", index=index, hierarchy=False)
    flags = {column: column for column in found.columns if column != "person" and not column.startswith("score")}
    assert disagreements(found, read(f"{name}__comorbidity_{index}_icd9_quan_assign0_FALSE"), flags | scores) == {}


def test_r_icd_agrees_on_every_flag_and_score(ours, read):
    charlson, elixhauser = ours["vermont", "charlson"], ours["vermont", "elixhauser"]
    assert disagreements(charlson, read("vermont__icd_icd9_comorbid_quan_deyo_hierarchy_TRUE"), ICD_CHARLSON) == {}
    assert disagreements(charlson, read("vermont__icd_charlson_score"), {"score_1987": "Charlson"}) == {}
    assert disagreements(charlson, read("vermont__icd_quan_score"), {"score_2011": "Charlson"}) == {}
    # its hierarchy merges the two hypertensions, so the rest is compared on the files with hierarchy
    assert disagreements(elixhauser, read("vermont__icd_icd9_comorbid_quan_elix_hierarchy_TRUE"), ICD_ELIXHAUSER) == {}
    assert disagreements(elixhauser, read("vermont__icd_vanwalraven"), {"score_van_walraven": "vanWalraven"}) == {}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize(("weights", "score"), [("2005", "score_1987"), ("2011", "score_2011")])
def test_medicalcoder_agrees_but_leaves_the_mild_flag_beside_the_severe(ours, read, name, weights, score):
    found = ours[name, "charlson"]
    theirs = read(f"{name}__medicalcoder_charlson_quan{weights}_icd9")
    differing = disagreements(found, theirs, MEDICALCODER_CHARLSON | {score: "cci"})
    assert set(differing) == {"canc", "diab", "mld"}
    for mild, severe in (("canc", "metacanc"), ("diab", "diabwc"), ("mld", "msld")):
        assert set(differing[mild]) <= set(found.filter(pl.col(severe) == 1)["person"])


def test_medicalcoder_loses_icd9_3334_from_neurological_disorders(ours, read):
    theirs = read("vermont__medicalcoder_elixhauser_quan2005_icd9")
    (person,) = disagreements(ours["vermont", "elixhauser"], theirs, {"ond": "NEURO"})["ond"]
    codes = read("vermont_dx_long_icd9").filter(pl.col("id") == person)["code"]
    assert "3334" in codes.to_list()


def test_the_refined_map_gives_each_2025_code_its_labels(shared):
    table = pl.read_csv(shared / "facts/ndc_and_codes/medicalcoder_elixhauser_codes.csv.gz", infer_schema=False)
    expected = table.filter(pl.col("elixhauser_ahrq2025") == "1").select("code", category="condition")
    codes = expected.select("code", system=pl.lit("icd10cm")).unique().lazy()
    found = label(codes, Codelist.shipped("elixhauser_ahrq2025").inherited()).select("code", "category").collect()
    assert found.sort("code", "category").equals(expected.sort("code", "category"))
    assert found.height == 4664


MEDICALCODER_ELIXHAUSER = {
    "chf": "CHF", "carit": "CARDIAC_ARRHYTHMIAS", "valv": "VALVE", "pcd": "PULMCIRC", "pvd": "PERIVASC",
    "hypunc": "HTN_UNCX", "hypc": "HFHTN_CX", "para": "PARA", "ond": "NEURO", "cpd": "CHRNLUNG", "diabunc": "DM",
    "diabc": "DMCX", "hypothy": "HYPOTHY", "rf": "RENLFAIL", "ld": "LIVER", "pud": "ULCER", "aids": "AIDS",
    "lymph": "LYMPH", "metacanc": "METS", "solidtum": "TUMOR", "rheumd": "ARTH", "coag": "COAG", "obes": "OBESE",
    "wloss": "WGHTLOSS", "fed": "LYTES", "blane": "BLDLOSS", "dane": "ANEMDEF", "alcohol": "ALCOHOL",
    "drug": "DRUG", "psycho": "PSYCH", "depre": "DEPRESS",
}  # fmt: skip


@pytest.mark.parametrize(
    ("index", "names", "icd", "system", "only_ours", "only_theirs"),
    [
        # 195 and 456.2 are headings, which that package leaves out
        ("charlson", MEDICALCODER_CHARLSON, "9", "icd9cm", {"canc": {"195"}, "msld": {"456"}}, {}),
        ("charlson", MEDICALCODER_CHARLSON, "10", "icd10cm", {}, {"canc": {"C4A"}}),
        ("elixhauser", MEDICALCODER_ELIXHAUSER, "9", "icd9cm", {"ond": {"333"}}, {}),
        (
            "elixhauser",
            MEDICALCODER_ELIXHAUSER,
            "10",
            "icd10cm",
            {"hypothy": {"E89"}, "ond": {"G36"}, "depre": {"F20", "F31", "F32", "F33", "F34"}},
            {"solidtum": {"C44"}},
        ),
    ],
)
def test_on_every_valid_code_the_maps_differ_from_medicalcoder_only_here(
    shared, index, names, icd, system, only_ours, only_theirs
):
    path = shared / f"facts/ndc_and_codes/medicalcoder_{index}_codes.csv.gz"
    table = pl.read_csv(path, infer_schema=False).filter(pl.col("icdv") == icd, pl.col("dx") == "1")
    back = {theirs: ours for ours, theirs in names.items()}
    theirs = table.filter(pl.col(f"{index}_quan2005") == "1")
    theirs = theirs.select("code", category=pl.col("condition").replace_strict(back))
    coded = table.select("code", system=pl.lit(system)).unique().lazy()
    ours = label(coded, Codelist.shipped(f"{index}_quan2005").inherited()).select("code", "category").unique().collect()
    assert theirs.height > 1300
    for one, other, expected in ((ours, theirs, only_ours), (theirs, ours, only_theirs)):
        apart = one.join(other, on=["code", "category"], how="anti").group_by("category")
        assert {name: set(codes) for name, codes in apart.agg(pl.col("code").str.head(3)).rows()} == expected
