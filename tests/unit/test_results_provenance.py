"""Provenance: everything but the clock is content."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import replace

from cohort.results.provenance import InputFile, Provenance, installed_versions


def made(tmp_path) -> Provenance:
    file = tmp_path / "jane_doe" / "claims.csv"
    file.parent.mkdir()
    file.write_bytes(b"a,b\n1,2\n")
    return Provenance("aa", "bb", (InputFile.of(file),), (), installed_versions(), {"bootstrap": 3})


def test_an_input_is_its_base_name_its_hash_and_its_size(tmp_path):
    provenance = made(tmp_path)
    file = provenance.inputs[0]
    assert (file.name, file.bytes) == ("claims.csv", 8)
    assert file.sha256 == hashlib.sha256(b"a,b\n1,2\n").hexdigest()
    assert "jane_doe" not in provenance.to_json()  # folders name people


def test_the_clock_is_in_the_json_and_not_in_the_content(tmp_path):
    before = made(tmp_path)
    noon = dt.datetime(2026, 11, 20, 13, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    after = replace(before, started=noon)
    assert after.content() == before.content()
    assert json.loads(after.to_json())["started"] == "2026-11-20T12:00:00+00:00"
    assert json.loads(after.to_json())["seeds"] == {"bootstrap": 3}


def test_versions_name_python_the_package_and_the_libraries_that_make_numbers():
    assert {"python", "cohort", "polars", "duckdb", "lifelines"} <= set(installed_versions())
    assert "not installed" not in installed_versions(("polars",)).values()
