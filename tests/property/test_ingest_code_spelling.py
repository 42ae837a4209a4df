"""Codes of a store and codes of a codelist: two engines, one spelling."""

from __future__ import annotations

import random

import duckdb
import polars as pl
import pytest

from cohort.codes.normalise import normalise
from cohort.ingest.layouts import shipped_sql
from cohort.store.tables import SYSTEMS

# what suppliers put into code cells: digits, letters, separators, blanks of every kind, dagger and asterisk, é
ALPHABET = "0123456789" * 4 + "abcxyzABCXYZ" + "..---" + " \t\n\x0b\r\x85\xa0\u1680\u2003\u2028\u202f\u3000" + "†*&/_é"
NDC = ("{0:05}{1:04}{2:02}", "{0:05}-{1:04}-{2:02}", "{0:04}-{1:04}-{2:02}", "{0:05}-{1:03}-{2:02}",
       "{0:05}-{1:04}-{2}", "{0:05}-{1:04}", "{0}{1:04}{2:02}", "NDC {0:05}-{1:04}-{2}", "{0}-{1}-{2}-7")  # fmt: skip
HAND = [None, "", "-", " . ", "0", "97110-GP", "97110 - GP", "97110-G\nP", "M54.5", " m54-5", "E10.3†", "00100"]


def generated(system: str) -> list[str | None]:
    """Return 3,000 codes: random text, and for NDC the written forms filled with random numbers."""
    draw = random.Random(f"codes of {system}")  # noqa: S311 # a fixed sample, no secret
    texts = ["".join(draw.choices(ALPHABET, k=draw.randrange(15))) for _ in range(2000)]
    forms = [
        draw.choice(NDC).format(draw.randrange(9999), draw.randrange(999), draw.randrange(10)) for _ in range(1000)
    ]
    return [*HAND, *texts, *forms]


@pytest.mark.parametrize("system", SYSTEMS)
def test_sql_and_python_spell_every_code_alike(system):
    codes = pl.DataFrame({"code": generated(system)}, schema={"code": pl.String})
    connection = duckdb.connect()
    connection.execute(shipped_sql("ingest/spelled_code.sql"))
    connection.register("codes", codes.with_row_index())
    stored = connection.sql(
        "select code, spelled_code(code, $system) as spelled from codes order by index", params={"system": system}
    ).pl()
    expected = codes.with_columns(spelled=normalise(pl.col("code"), system))
    assert stored.filter(~stored["spelled"].eq_missing(expected["spelled"])).rows() == []
    assert expected["spelled"].n_unique() > 1000
