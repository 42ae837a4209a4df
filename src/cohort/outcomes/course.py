"""What is measured of the whole follow-up of an entry, whatever happens in it."""

from __future__ import annotations

from typing import Annotated

import polars as pl
from pydantic import Field

from cohort.codes.records import Record, Tables
from cohort.features.covariate import Name
from cohort.spec import Spec


class Course(Spec):
    """The base of analyses that need more of an entry than its first event: columns of their own in its row.

    The study's outcome does not end what they look at; the end of follow-up and death do.
    """

    name: Annotated[Name, Field(description="what it is called in estimates; the column of the analysis table")]

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        raise NotImplementedError

    def column(self, tables: Tables, followed: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and this course's columns, at most one row per entry.

        Parameters
        ----------
        followed
            The key, ``entry``, ``time`` and ``cause`` of each entry (0 censored, 2 dead), outcomes left aside.
        """
        raise NotImplementedError
