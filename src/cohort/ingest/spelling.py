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
    systems = len(VOCABULARY["system"].categories)
    texts = rows["code"].cast(pl.Categorical(pl.Categories.random())).to_physical()
    many = texts.max() if texts.count() else -1
    missing = int(many) + 1  # type: ignore[arg-type] # whole
    # a pair of system and code is one number; the last place of each stands for null
    pair = _places(rows["system"].to_physical(), systems) * (missing + 1) + _places(texts, missing)
    somewhere = np.full((systems + 1) * (missing + 1), -1)
    somewhere[pair] = np.arange(len(pair))
    pairs = np.flatnonzero(somewhere >= 0)
    connection.register("distinct_code", rows.select("system", "code")[somewhere[pairs]].with_row_index())
    spelling = connection.sql("select spelled_code(code, system) as code from distinct_code order by index").pl()
    connection.unregister("distinct_code")
    codes = spelling["code"].cast(pl.Enum(spelling["code"].drop_nulls().unique().sort()))
    somewhere[pairs] = np.arange(len(pairs))
    return rows.with_columns(codes.gather(somewhere[pair]).alias("code"))


def _places(numbers: pl.Series, missing: int) -> npt.NDArray[np.int64]:
    """Return the numbers, ``missing`` for null."""
    return numbers.cast(pl.Int64).fill_null(missing).to_numpy()
