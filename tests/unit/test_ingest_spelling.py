"""Codes of an extract in the spellings of suppliers, found under the one spelling of codelists."""

from ingest_helpers import write_extract, write_layout

from cohort.ingest.load import ingest

LAYOUT = """
name = "tiny"
description = "dispensings of any system"
[sources.people]
files = ["people.csv"]
[sources.people.columns]
ID = "person"
BORN = "date"
SEX = "text"
[sources.visits]
files = ["visits.csv"]
[sources.visits.columns]
ID = "person"
DAY = "date"
SYSTEM = "text"
CODE = "text"
"""


def test_an_extract_in_any_spelling_meets_the_codelist(tmp_path):
    rows = [b"hcpcs,97110-GP", b"icd10,M54-5", b"ndc,0591-0405-01", b"ndc,591040501", b"ndc,54017613", b"ndc,-"]
    layout = write_layout(
        tmp_path / "tiny",
        LAYOUT,
        dispensing="select ID as person, DAY as date, SYSTEM as system, CODE as code from extract.visits",
    )
    (layout / "diagnosis.sql").unlink()
    lines = b"".join(b"1,2020-01-01," + row + b"\n" for row in rows)
    store = ingest(write_extract(tmp_path / "extract", visits=b"ID,DAY,SYSTEM,CODE\n" + lines), layout, tmp_path / "s")
    found = store.scan("dispensing").select("system", "code").collect().rows()
    assert found == [
        ("hcpcs", "97110"),
        ("icd10", "M545"),
        ("ndc", "00054017613"),
        ("ndc", "00591040501"),
        ("ndc", "591040501"),  # nine digits are a product, whatever was lost
    ]
    assert store.account.tables["dispensing"].incomplete == 1
