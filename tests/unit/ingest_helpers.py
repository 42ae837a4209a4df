"""A layout of two files that the ingestion tests share."""

from __future__ import annotations

from pathlib import Path

LAYOUT = """
name = "tiny"
description = "two files"

[sources.people]
files = ["people.csv", "people.csv.gz"]
[sources.people.columns]
ID = "person"
BORN = "date"
SEX = { type = "text", optional = true }

[sources.visits]
files = ["visits*.csv"]
optional = true
[sources.visits.columns]
ID = "person"
DAY = { type = "date", filled = true }
CODE = { type = "text", filled = true }
"""

PERSON = "select ID as person, BORN as birth_date, SEX as sex from extract.people"
DIAGNOSIS = "select ID as person, DAY as date, DAY as end_date, 'icd10' as system, CODE as code from extract.visits"
ENROLMENT = "select ID as person, BORN as start_date, $data_end as end_date from extract.people"


def write_layout(folder: Path, declaration: str = LAYOUT, **tables: str) -> Path:
    """Write the tiny layout, its tables replaced by the ones given."""
    folder.mkdir(exist_ok=True)
    (folder / "layout.toml").write_text(declaration)
    for name, sql in ({"person": PERSON, "diagnosis": DIAGNOSIS, "enrolment": ENROLMENT} | tables).items():
        (folder / f"{name}.sql").write_text(sql)
    return folder


def write_extract(folder: Path, people: bytes = b"ID,BORN,SEX\n1,1960-05-17,male\n", visits: bytes = b"") -> Path:
    """Write the files that are not empty."""
    folder.mkdir(exist_ok=True)
    for name, content in (("people.csv", people), ("visits.csv", visits)):
        if content:
            (folder / name).write_bytes(content)
    return folder
