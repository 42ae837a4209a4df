"""The dictionary's vocabulary inside the engine, and the one spelling of codes: each distinct code is spelled once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from cohort.ingest.engine import Connection, literal
from cohort.ingest.layouts import shipped_sql
from cohort.store.tables import SETTINGS, SYSTEMS

_TYPES = {"coding_system": SYSTEMS, "care_setting": SETTINGS}
VOCABULARY = {"system": pl.Enum(sorted(SYSTEMS)), "setting": pl.Enum(sorted(SETTINGS))}
"""Columns that hold few words: they travel as numbers, which sort as the words do."""


def create_vocabulary(connection: Connection) -> None:
    """Create the types and functions that `sql/ingest/normalise` and this room use."""
    for name, words in _TYPES.items():
        connection.execute(f"create type {name} as enum ({', '.join(literal(word) for word in sorted(words))})")
    for function in ("spelled_code", "unusable_identifier"):
        connection.execute(shipped_sql(f"ingest/{function}.sql"))


def spelled(connection: Connection, rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with codes in their one spelling, as numbers that sort as the codes do.

    Parameters
    ----------
    rows
        With ``system`` (one of `VOCABULARY`) and ``code`` (text), or any rows without codes.
    """
    if "code" not in rows.columns:
        return rows
    systems, words = VOCABULARY["system"], pl.Categorical(pl.Categories.random())
    texts = rows["code"].cast(words)
    most = texts.to_physical().max() if texts.count() else -1
    none, width = len(systems.categories), int(most) + 2  # type: ignore[arg-type] # whole
    # a pair of system and code is one number; the last place of each stands for null
    pair = _places(rows["system"], none) * np.uint32(width) + _places(texts, width - 1)
    place = np.zeros((none + 1) * width, np.uint32)
    place[pair] = 1
    pairs = np.flatnonzero(place)
    distinct = {
        "system": systems.categories.extend_constant(None, 1).gather(pairs // width),
        "code": pl.Series([*range(width - 1), None], dtype=pl.UInt32).cat.to(words).gather(pairs % width),
    }
    connection.register(
        "distinct_code", pl.DataFrame(distinct).cast({"system": systems, "code": pl.String}).with_row_index()
    )
    spelling = connection.sql("select spelled_code(code, system) as code from distinct_code order by index").pl()
    connection.unregister("distinct_code")
    codes = spelling["code"].cast(pl.Enum(spelling["code"].drop_nulls().unique().sort()))
    place[pairs] = np.arange(len(pairs))
    return rows.with_columns(codes.gather(pl.Series(place[pair])).alias("code"))


def _places(words: pl.Series, missing: int) -> npt.NDArray[np.uint32]:
    """Return the places of words in their vocabulary, ``missing`` for null."""
    return words.to_physical().cast(pl.UInt32).fill_null(missing).to_numpy()
