"""One spelling per coding system: the supplier's spelling on the left, ours on the right."""

from __future__ import annotations

import polars as pl
import pytest

from cohort.codes.normalise import normalise, normalise_by, spell_system, spelled_systems
from cohort.errors import StudyError

TABLE = [
    ("icd9cm", "250.00", "25000"),
    ("icd9cm", "001.0", "0010"),  # the zero in front belongs to the code
    ("icd9cm", " v30.00 ", "V3000"),
    ("icd10", "m54.5", "M545"),
    ("icd10cm", "S33.5XXA", "S335XXA"),
    ("icd10cm", "E11 .9", "E119"),
    ("icd11", "MG30.01", "MG3001"),
    ("icd11", "8D8A.0", "8D8A0"),
    ("snomed", "124171000119105", "124171000119105"),
    ("atc", "n02aa05", "N02AA05"),
    ("rxnorm", " 1049221", "1049221"),
    ("hcpcs", "g3002", "G3002"),
    ("cpt", "97110-GP", "97110"),
    ("cpt", "00100", "00100"),
    # NDC: labeller-product-package is 5-4-2; ten digits come as 4-4-2, 5-3-2 or 5-4-1
    ("ndc", "00591-0405-01", "00591040501"),
    ("ndc", "0591-0405-01", "00591040501"),
    ("ndc", "12345-678-90", "12345067890"),
    ("ndc", "12345-6789-0", "12345678900"),
    ("ndc", "00054017613", "00054017613"),
    ("ndc", "54017613", "00054017613"),  # a spreadsheet took the zeros
    ("ndc", "12345-6789", "123456789"),  # a product, all packages
    ("ndc", "123456789", "123456789"),
    ("ndc", "", None),
    ("icd10", " . ", None),
    ("icd10", None, None),
]


@pytest.mark.parametrize(("system", "written", "expected"), TABLE)
def test_normalises_each_system_by_its_own_rule(system, written, expected):
    frame = pl.DataFrame({"code": [written]}, schema={"code": pl.String})
    assert frame.select(normalise(pl.col("code"), system)).item() == expected


def test_normalises_mixed_systems_row_by_row():
    frame = pl.DataFrame(
        {"system": ["icd10", "ndc", "cpt", "unheard_of", None], "code": ["m54.5", "54017613", "97110-GP", "x", "x"]}
    )
    codes = frame.select(normalise_by(pl.col("code"), pl.col("system")))["code"].to_list()
    assert codes == ["M545", "00054017613", "97110", None, None]


def test_refuses_an_unknown_system():
    with pytest.raises(StudyError, match="unknown coding system 'icd-12'; use one of icd9cm"):
        normalise(pl.col("code"), "icd-12")


@pytest.mark.parametrize("written", ["icd10cm", "ICD10CM", "ICD-10-CM", "icd_10_cm"])
def test_a_coding_system_may_be_spelled_as_people_do(written):
    assert spell_system(written) == "icd10cm"
    frame = pl.DataFrame({"system": [written, "icd12", None]})
    assert frame.select(spelled_systems(pl.col("system"))).to_series().to_list() == ["icd10cm", None, None]


@pytest.mark.parametrize(("system", "written", "expected"), TABLE)
def test_normalising_twice_changes_nothing(system, written, expected):
    frame = pl.DataFrame({"code": [expected]}, schema={"code": pl.String})
    assert frame.select(normalise(pl.col("code"), system)).item() == expected
