"""Comorbidity: several labels per code, hierarchy and weights, worked by hand from the published tables."""

from __future__ import annotations

import polars as pl
import pytest

from cohort.errors import InputRefusedError, StudyError
from cohort.features.comorbidity import comorbidity


def one_person(codes, **options):
    frame = pl.DataFrame({"id": [1] * len(codes), "code": codes})
    return comorbidity(frame, **options).row(0, named=True)


ALL_BUT_SEVERE = [
    "I21",
    "I50",
    "I70.2",
    "I63",
    "F01",
    "J44",
    "M05",
    "K25",
    "K70.3",
    "E11.9",
    "G81",
    "N18",
    "C50",
    "B20",
]


@pytest.mark.parametrize(
    ("codes", "score_1987", "score_2011"),
    [
        (["I21.0"], 1, 0),
        (["I50.9"], 1, 2),
        (["E11.9", "E11.2"], 2, 1),  # complicated diabetes alone counts
        (["K70.3", "K72.1"], 3, 4),  # severe liver disease alone counts
        (["C50.9", "C78.0"], 6, 6),  # metastatic tumour alone counts
        (["I21.0", "I21.4", "I25.2"], 1, 0),  # once, however often
        (["e11.9 "], 1, 0),  # spelling
        (["C44.9"], 0, 0),  # skin other than melanoma is no cancer here
        (["C4A.0", "C7A.0"], 0, 0),  # ICD-10-CM additions that Quan 2005 does not have
        # 1987: ten ones, hemiplegia 2, renal 2, cancer 2, AIDS 6
        # 2011: heart failure 2, dementia 2, lung 1, rheumatic 1, mild liver 2, hemiplegia 2, renal 1, cancer 2, AIDS 4
        (ALL_BUT_SEVERE, 22, 17),
    ],
)
def test_charlson_scores(codes, score_1987, score_2011):
    found = one_person(codes)
    assert (found["score_1987"], found["score_2011"]) == (score_1987, score_2011)


@pytest.mark.parametrize(
    ("system", "code", "present", "van_walraven"),
    [
        # codes with two labels, of which one-label implementations lose the second
        ("icd10", "I11.0", {"chf", "hypc"}, 7),
        ("icd10", "I13.0", {"chf", "hypc"}, 7),
        ("icd10", "I12.0", {"hypc", "rf"}, 5),
        ("icd10", "K70.0", {"ld", "alcohol"}, 11),
        ("icd10", "G11.4", {"para", "ond"}, 13),
        ("icd10", "F20.4", {"psycho", "depre"}, -3),  # a negative sum stays negative
        ("icd10", "I27.9", {"pcd", "cpd"}, 7),
        ("icd10", "I42.6", {"chf", "alcohol"}, 7),
        ("icd10cm", "E66.01", {"obes"}, -4),
        ("icd9cm", "404.93", {"chf", "hypc", "rf"}, 12),
        ("icd9cm", "571.2", {"ld", "alcohol"}, 11),
    ],
)
def test_elixhauser_labels_and_unclipped_score(system, code, present, van_walraven):
    found = one_person([code], system=system, index="elixhauser")
    score = found.pop("score_van_walraven")
    assert {name for name, value in found.items() if value and name != "person"} == present
    assert score == van_walraven


def test_elixhauser_hierarchy():
    found = one_person(["I10", "I11.9", "E11.9", "E11.2", "C50", "C78"], index="elixhauser")
    assert [found[name] for name in ("hypunc", "hypc", "diabunc", "diabc", "solidtum", "metacanc")] == [
        0,
        1,
        0,
        1,
        0,
        1,
    ]


def test_without_hierarchy_mild_and_severe_forms_stand_and_count_side_by_side():
    found = one_person(["E11.9", "E11.2", "C50.9", "C78.0"], hierarchy=False)
    assert [found[name] for name in ("diab", "diabwc", "canc", "metacanc")] == [1, 1, 1, 1]
    assert found["score_1987"] == 1 + 2 + 2 + 6


def test_every_person_appears_and_null_codes_count_for_nothing():
    frame = pl.DataFrame({"id": ["b", "a", "a", None], "code": [None, "I21", "unheard of", "I21"]})
    found = comorbidity(frame)
    assert found.select("person", "mi", "score_1987").rows() == [("a", 1, 1), ("b", 0, 0)]
    assert found.schema["mi"] == pl.Int8
    assert found.schema["score_1987"] == pl.Int64


def test_a_column_may_name_the_system_of_each_row():
    frame = {"id": [1, 2, 3], "code": ["410", "I21", "410"], "vocabulary": ["icd9cm", "icd10", "icd10"]}
    assert comorbidity(frame, system="vocabulary")["mi"].to_list() == [1, 1, 0]
    frame["vocabulary"] = ["ICD-9-CM", "ICD10", "no system"]
    assert comorbidity(frame, system="vocabulary")["mi"].to_list() == [1, 1, 0]
    assert comorbidity({"id": [1], "code": ["410.1"]}, system="ICD-9-CM")["mi"].to_list() == [1]


def test_lazy_in_lazy_out_and_empty_in_empty_out():
    empty = pl.LazyFrame(schema={"id": pl.Int64, "code": pl.String})
    found = comorbidity(empty)
    assert isinstance(found, pl.LazyFrame)
    assert found.collect().shape == (0, 20)  # person, 17 categories, 2 scores


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"index": "charlton"},
            StudyError,
            "no comorbidity index 'charlton' in version 'quan2005'; there are charlson",
        ),
        ({"version": "2011"}, StudyError, "in version '2011'"),
        ({"system": "atc"}, StudyError, "charlson_quan2005 has no map for 'atc'; it has icd10, icd10cm, icd9cm"),
        ({"system": "vocab"}, StudyError, "unknown coding system 'vocab'; use one of icd9cm"),
        ({"person": "pid"}, InputRefusedError, "no column for person='pid'"),
    ],
)
def test_refusals(options, error, message):
    with pytest.raises(error, match=message):
        comorbidity(pl.DataFrame({"id": [1], "code": ["I21"]}), **options)
