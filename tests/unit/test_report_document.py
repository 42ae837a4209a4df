"""The page: self-contained, inert, the same bytes for the same content."""

from __future__ import annotations

from pathlib import Path

import report_content as made_up

from cohort.report.document import write_report


def test_the_same_content_gives_the_same_bytes(tmp_path: Path):
    first, second = (write_report(made_up.content(), tmp_path / name).parent for name in ("first", "second"))
    names = sorted(path.name for path in first.iterdir())
    assert names == ["attrition.csv", "estimates.csv", "estimates.parquet", "report.html", "run.json"]
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
