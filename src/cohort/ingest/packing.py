"""The rows of a bucket as one integer each, so that sorting them and finding repeats is one sort of numbers.

A column becomes ranks 0 … k-1 that keep its order; the ranks of a row, most significant column first, are the digits of
one number of mixed radix. Where the radices multiply to more than 64 bits, a row is several numbers instead of one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.uint64]
_LIMIT, _FAR = 1 << 64, 1 << 61


@dataclass(frozen=True, slots=True)
class _Coded:
    """How one column is ranked: whole numbers and dates by distance from ``least``, all else by place in ``values``.

    Null, where there is one, has the last rank.
    """

    radix: int
    nulls: bool
    dtype: pl.DataType
    least: int = 0
    values: pl.Series | None = None

    def column(self, ranks: Ints) -> pl.Series:
        """Return the values of ranks."""
        places = pl.Series(ranks.astype(np.int64))
        if self.values is not None:
            return self.values.gather(places.cast(pl.UInt32))
        if self.nulls:
            places = places.set(places == self.radix - 1, None)
        numbers = places + self.least
        return (numbers.cast(pl.Int32) if self.dtype == pl.Date else numbers).cast(self.dtype)


def settle(rows: pl.DataFrame, order: Sequence[str], longest: str | None = None) -> tuple[pl.DataFrame, int]:
    """Return the distinct rows in order, nulls last, and how many rows were distinct.

    Parameters
    ----------
    rows
        Any rows, in any order.
    order
        All columns, in the order of sorting.
    longest
        Column of which only the greatest value is kept where all others are equal.
    """
    coded, ranks = {}, {}
    for name in order:
        coded[name], ranks[name] = _coded(rows[name])
    radices = {name: column.radix for name, column in coded.items()}
    if longest is None:
        ranks = _distinct(ranks, radices, order)
        distinct = len(ranks[order[0]])
    else:
        others = [name for name in order if name != longest]
        ranks = _distinct(ranks, radices, [*others, longest])
        distinct = len(ranks[longest])
        ranks = _last_of_each(ranks, others)
        ranks = _distinct(ranks, radices, order)
    return pl.DataFrame({name: coded[name].column(ranks[name]) for name in rows.columns}), distinct


def _coded(column: pl.Series) -> tuple[_Coded, Ints]:
    nulls = column.null_count() > 0
    if column.dtype.is_integer() or column.dtype == pl.Date:
        physical = column.to_physical()
        least, greatest = _bounds(physical)
        if least > -_FAR and greatest < _FAR:
            places = _numbers(physical, greatest + 1) - least
            return _Coded(greatest - least + 1 + nulls, nulls, column.dtype, least), places.view(np.uint64)
    if not isinstance(column.dtype, pl.Enum):
        values = column.drop_nulls().unique().sort()
        if column.dtype != pl.String:
            found = column.replace_strict(values, range(len(values)), default=None, return_dtype=pl.UInt32)
            return _by_value(_numbers(found, len(values)), values, nulls)
        column = column.cast(pl.Enum(values))
    # stays an Enum: a writer then takes the dictionary as it is. Only the words that occur need digits
    words = pl.Series(column.dtype.categories).cast(column.dtype)  # type: ignore[attr-defined] # an Enum by now
    places = _numbers(column.to_physical(), len(words))
    occurs = np.bincount(places, minlength=len(words) + 1)[:-1] > 0
    present = words.cast(pl.String).filter(occurs)
    ranks = np.append(np.cumsum(occurs) - occurs, len(present))[places]
    return _by_value(ranks, present.cast(pl.Enum(present)), nulls)


def _by_value(ranks: npt.NDArray[np.int64], values: pl.Series, nulls: bool) -> tuple[_Coded, Ints]:
    values = values.extend_constant(None, 1) if nulls else values
    return _Coded(max(len(values), 1), nulls, values.dtype, values=values), ranks.view(np.uint64)


def _numbers(column: pl.Series, missing: int) -> npt.NDArray[np.int64]:
    """Return whole numbers, ``missing`` for null."""
    return column.cast(pl.Int64).fill_null(missing).to_numpy()


def _bounds(physical: pl.Series) -> tuple[int, int]:
    """Return the least and the greatest whole number, (0, -1) if there is none."""
    least, greatest = physical.min(), physical.max()
    return (0, -1) if least is None or greatest is None else (int(least), int(greatest))  # type: ignore[arg-type] # whole


def _distinct(ranks: dict[str, Ints], radices: dict[str, int], order: Sequence[str]) -> dict[str, Ints]:
    """Return the distinct rows in order."""
    groups = _groups(radices, order)
    keys = [_pack(ranks, radices, group) for group in groups]
    if len(keys) == 1:
        keys = [np.sort(keys[0])]
    else:
        sequence = np.lexsort(keys[::-1])
        keys = [key[sequence] for key in keys]
    first = _changes(keys)
    unpacked: dict[str, Ints] = {}
    for group, key in zip(groups, keys, strict=True):
        unpacked |= _unpack(key[first], radices, group)
    return unpacked


def _groups(radices: dict[str, int], order: Sequence[str]) -> list[list[str]]:
    """Return the columns in runs whose radices multiply to less than 64 bits."""
    groups: list[list[str]] = [[]]
    for name in order:
        if math.prod(radices[one] for one in groups[-1]) * radices[name] >= _LIMIT:
            groups.append([])
        groups[-1].append(name)
    return groups


def _pack(ranks: dict[str, Ints], radices: dict[str, int], group: Sequence[str]) -> Ints:
    packed = ranks[group[0]].copy()
    for name in group[1:]:
        packed *= np.uint64(radices[name])
        packed += ranks[name]
    return packed


def _unpack(packed: Ints, radices: dict[str, int], group: Sequence[str]) -> dict[str, Ints]:
    unpacked: dict[str, Ints] = {}
    for name in reversed(group[1:]):
        quotient = packed // np.uint64(radices[name])  # with the product, several times faster than divmod
        packed, unpacked[name] = quotient, packed - quotient * np.uint64(radices[name])
    return unpacked | {group[0]: packed}


def _changes(keys: Sequence[Ints]) -> npt.NDArray[np.bool_]:
    """Return which of the sorted rows differ from the row before them."""
    changes = np.ones(len(keys[0]), bool)
    changes[1:] = False
    for key in keys:
        changes[1:] |= key[1:] != key[:-1]
    return changes


def _last_of_each(ranks: dict[str, Ints], others: Sequence[str]) -> dict[str, Ints]:
    """Return the last row of every run that is equal in the other columns."""
    last = np.append(_changes([ranks[name] for name in others])[1:], True) if len(ranks[others[0]]) else slice(0)
    return {name: values[last] for name, values in ranks.items()}
