"""One bucket's rows in memory, and what was asked of them before: the parts of a study ask the same things again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from cohort.codes.codelist import Codelist
from cohort.store.tables import Supplied


class BucketTables(Mapping[str, pl.LazyFrame]):
    """The tables of one bucket, read once, with a memory.

    Parameters
    ----------
    frames
        Table name → its rows. A table of the store that is not among them reads as one without rows.
    """

    def __init__(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Take the rows."""
        self._frames = dict(frames)
        self._known: dict[Hashable, tuple[Any, pl.DataFrame]] = {}

    @classmethod
    def together(cls, buckets: Sequence[BucketTables]) -> BucketTables:
        """Put the rows of several buckets together; what is remembered of each is not taken over."""
        if len(buckets) == 1:
            return buckets[0]
        return cls({name: pl.concat([bucket._frames[name] for bucket in buckets]) for name in buckets[0]})

    @property
    def height(self) -> int:
        """Return the number of rows of all tables."""
        return sum(frame.height for frame in self._frames.values())

    def __getitem__(self, name: str) -> pl.LazyFrame:
        """Return a table."""
        return self._frames[name].lazy() if name in self else Supplied()[name]

    def __contains__(self, name: object) -> bool:
        """Return whether the supplier gave the table."""
        return name in self._frames

    def __iter__(self) -> Iterator[str]:
        """Iterate over the tables' names."""
        return iter(self._frames)

    def __len__(self) -> int:
        """Return the number of tables."""
        return len(self._frames)

    def remember(self, key: Hashable, owner: Any, make: Callable[[], pl.LazyFrame]) -> pl.LazyFrame:
        """Return what ``make`` returns, made once; the owner of an identity in the key is kept alive with it."""
        if key not in self._known:
            self._known[key] = owner, make().collect()
        return self._known[key][1].lazy()

    def matches(self, table: str, codelist: Codelist) -> pl.LazyFrame:
        """Return the rows of a coded table whose code a list contains: `cohort.codes.match.matches`, from memory."""
        found = self._codes(table)
        wanted = [
            (pl.col("system") == system)
            & pl.col("code").is_in([code for code in codes if codelist.contains(system, code)])
            for system, codes in found.items()
        ]
        return self[table].filter(pl.any_horizontal(wanted)) if wanted else self[table].clear()

    def _codes(self, table: str) -> dict[str, list[str]]:
        """Return the distinct codes of a table, by system."""
        codes = self.remember(("codes", table), None, lambda: self[table].select("system", "code").unique()).collect()
        return {system: part["code"].to_list() for (system,), part in codes.group_by("system")}

    def of_persons(self, persons: pl.DataFrame) -> BucketTables:
        """Return the tables of some persons (``person_id``, distinct); a table is cut when it is first asked for."""
        return _PersonTables(self, persons)

    def of_entries(self) -> BucketTables:
        """Return the same tables for asking about one set of entries: what is known of each is remembered too."""
        return _EntryTables(self)


class _PersonTables(BucketTables):
    """The rows of some persons of a bucket."""

    def __init__(self, whole: BucketTables, persons: pl.DataFrame) -> None:
        super().__init__(whole._frames)
        self._whole = whole
        self._persons = persons
        self._cut: set[str] = set()

    def __getitem__(self, name: str) -> pl.LazyFrame:
        if name in self and name not in self._cut:
            table = self._frames[name].lazy()
            self._frames[name] = table.join(self._persons.lazy(), on="person_id", how="semi").collect()
            self._cut.add(name)
        return super().__getitem__(name)

    def remember(self, key: Hashable, owner: Any, make: Callable[[], pl.LazyFrame]) -> pl.LazyFrame:
        """Return what is known of all persons, where that was asked before; more persons than needed do no harm."""
        if key in self._whole._known:
            return self._whole._known[key][1].lazy()
        return super().remember(key, owner, make)


class _EntryTables(BucketTables):
    """The tables of a bucket, asked about the same entries every time."""

    def __init__(self, whole: BucketTables) -> None:
        super().__init__({})
        self._whole = whole

    def __getitem__(self, name: str) -> pl.LazyFrame:
        return self._whole[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole)

    def __len__(self) -> int:
        return len(self._whole)

    def remember(self, key: Hashable, owner: Any, make: Callable[[], pl.LazyFrame]) -> pl.LazyFrame:
        """Return what is known of the persons: it holds whichever entries are asked about."""
        return self._whole.remember(key, owner, make)

    def remember_of_entries(self, key: Hashable, owner: Any, make: Callable[[], pl.LazyFrame]) -> pl.LazyFrame:
        """Return what ``make`` returns of the entries, made once."""
        return super().remember(key, owner, make)


def remembered(
    tables: Mapping[str, pl.LazyFrame], key: Hashable, owner: Any, make: Callable[[], pl.LazyFrame]
) -> pl.LazyFrame:
    """Return what ``make`` returns, made once per bucket where the tables have a memory."""
    return tables.remember(key, owner, make) if isinstance(tables, BucketTables) else make()


def remembered_of_entries(
    tables: Mapping[str, pl.LazyFrame], key: Hashable, owner: Any, make: Callable[[], pl.LazyFrame]
) -> pl.LazyFrame:
    """Return what ``make`` returns, made once where the tables are asked about one set of entries (`of_entries`)."""
    return tables.remember_of_entries(key, owner, make) if isinstance(tables, _EntryTables) else make()


def batches(buckets: Iterable[BucketTables], most_rows: int) -> Iterator[BucketTables]:
    """Yield the buckets in order, as many together as have ``most_rows`` rows or, by itself, one with more."""
    batch: list[BucketTables] = []
    for bucket in buckets:
        if batch and sum(one.height for one in batch) + bucket.height > most_rows:
            yield BucketTables.together(batch)
            batch = []
        batch.append(bucket)
    if batch:
        yield BucketTables.together(batch)
