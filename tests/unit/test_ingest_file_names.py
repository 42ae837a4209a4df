"""Names of files as a column: some suppliers write the year of a record nowhere else."""

from ingest_helpers import write_layout

from cohort.ingest.load import ingest

LAYOUT = """
name = "yearly"
description = "one file per year"

[sources.people]
files = ["people_*.csv"]
[sources.people.columns]
FILE = "file_name"
ID = "person"
"""
PERSON = "select ID as person, regexp_extract(FILE, '_(.*)[.]', 1) as region from extract.people"


def test_a_record_knows_its_file_and_a_renamed_file_is_other_content(tmp_path):
    layout = write_layout(tmp_path / "yearly", LAYOUT, person=PERSON)
    for name in ("diagnosis", "enrolment"):
        (layout / f"{name}.sql").unlink()
    extract = tmp_path / "extract"
    extract.mkdir()
    (extract / "people_a.csv").write_text("ID\n1\n")
    (extract / "people_b.csv").write_text("ID\n2\n")
    first = ingest(extract, layout, tmp_path / "store")
    assert sorted(first.scan("person").collect()["region"]) == ["a", "b"]
    (extract / "people_b.csv").rename(extract / "people_c.csv")
    second = ingest(extract, layout, tmp_path / "store")
    assert sorted(second.scan("person").collect()["region"]) == ["a", "c"]
