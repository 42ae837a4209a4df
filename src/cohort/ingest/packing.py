"""The rows of a bucket as one integer each, so that sorting them and finding repeats is one sort of numbers.

A column becomes ranks 0 … k-1 that keep its order; the ranks of a row, most significant column first, stand side by
side in the bits of one number. Where a row needs more than 64 bits, it is several numbers instead of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

Ranks = npt.NDArray[np.unsignedinteger[Any]]
Keys = npt.NDArray[np.uint64]
_BITS, _FAR, _SMALL = 64, 1 << 61, 1 << 31


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

    @property
    def bits(self) -> int:
        """Return how many bits a rank needs."""
        return (self.radix - 1).bit_length()

    def column(self, ranks: Ranks) -> pl.Series:
        """Return the values of ranks."""
        if self.values is not None:
            return self.values.gather(pl.Series(ranks))
        numbers = np.empty(len(ranks), np.int32 if self.dtype in (pl.Date, pl.Int32, pl.Int16) else np.int64)
        np.add(ranks, self.least, out=numbers, dtype=np.int64, casting="unsafe")
        return pl.Series(pa.array(numbers, mask=ranks == self.radix - 1 if self.nulls else None)).cast(self.dtype)


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
    bits = {name: column.bits for name, column in coded.items()}
    if longest is None or coded[longest].radix == 1:
        ranks = _distinct(ranks, bits, order)
        distinct = len(ranks[order[0]])
    else:
        others = [name for name in order if name != longest]
        ranks = _distinct(ranks, bits, [*others, longest])
        distinct = len(ranks[longest])
        ranks = _distinct(_last_of_each(ranks, others), bits, order)
    return pl.DataFrame({name: coded[name].column(ranks[name]) for name in rows.columns}), distinct


def _coded(column: pl.Series) -> tuple[_Coded, Ranks]:
    nulls = column.null_count() > 0
    if column.dtype.is_integer() or column.dtype == pl.Date:
        physical = column.to_physical()
        least, greatest = _bounds(physical)
        if least > -_FAR and greatest < _FAR:
            coded = _Coded(greatest - least + 1 + nulls, nulls, column.dtype, least)
            return coded, _distances(_numbers(physical, greatest + 1), coded)
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
    if not occurs.all():
        places = np.append(np.cumsum(occurs) - occurs, len(present)).take(places)
    return _by_value(places, present.cast(pl.Enum(present)), nulls)


def _by_value(places: npt.NDArray[np.signedinteger[Any]], values: pl.Series, nulls: bool) -> tuple[_Coded, Ranks]:
    values = values.extend_constant(None, 1) if nulls else values
    coded = _Coded(max(len(values), 1), nulls, values.dtype, values=values)
    return coded, _distances(places, coded)


def _distances(numbers: npt.NDArray[np.signedinteger[Any]], coded: _Coded) -> Ranks:
    ranks: Ranks = np.empty(len(numbers), np.uint32 if coded.radix <= _SMALL else np.uint64)
    np.subtract(numbers, coded.least, out=ranks, dtype=np.int64, casting="unsafe")
    return ranks


def _numbers(column: pl.Series, missing: int) -> npt.NDArray[np.signedinteger[Any]]:
    """Return whole numbers, ``missing`` for null."""
    return (column.cast(pl.Int64).fill_null(missing) if column.null_count() else column).to_numpy()


def _bounds(physical: pl.Series) -> tuple[int, int]:
    """Return the least and the greatest whole number, (0, -1) if there is none."""
    least, greatest = physical.min(), physical.max()
    return (0, -1) if least is None or greatest is None else (int(least), int(greatest))  # type: ignore[arg-type] # whole


def _distinct(ranks: dict[str, Ranks], bits: dict[str, int], order: Sequence[str]) -> dict[str, Ranks]:
    """Return the distinct rows in order."""
    groups = _groups(bits, order)
    keys = [_pack(ranks, bits, group) for group in groups]
    if len(keys) == 1:
        keys[0].sort()
    else:
        sequence = np.lexsort(keys[::-1])
        keys = [key[sequence] for key in keys]
    first = _changes(keys)
    unpacked: dict[str, Ranks] = {}
    for group, key in zip(groups, keys, strict=True):
        kept = key if first.all() else key[first]
        unpacked |= _unpack(kept, bits, {name: ranks[name].dtype for name in group})
    return unpacked


def _groups(bits: dict[str, int], order: Sequence[str]) -> list[list[str]]:
    """Return the columns in runs that fit into 64 bits."""
    groups: list[list[str]] = [[]]
    for name in order:
        if sum(bits[one] for one in groups[-1]) + bits[name] > _BITS:
            groups.append([])
        groups[-1].append(name)
    return groups


def _pack(ranks: dict[str, Ranks], bits: dict[str, int], group: Sequence[str]) -> Keys:
    packed = ranks[group[0]].astype(np.uint64)
    for name in group[1:]:
        packed <<= np.uint64(bits[name])
        packed |= ranks[name]
    return packed


def _unpack(packed: Keys, bits: dict[str, int], dtypes: dict[str, np.dtype[Any]]) -> dict[str, Ranks]:
    unpacked: dict[str, Ranks] = {}
    shift, shifted = 0, np.empty_like(packed)
    for name, dtype in reversed(dtypes.items()):
        if bits[name]:
            np.right_shift(packed, np.uint64(shift), out=shifted)
            shifted &= np.uint64((1 << bits[name]) - 1)
            shift += bits[name]
        unpacked[name] = shifted.astype(dtype) if bits[name] else np.zeros(len(packed), dtype)
    return unpacked


def _changes(keys: Sequence[Ranks]) -> npt.NDArray[np.bool_]:
    """Return which of the sorted rows differ from the row before them."""
    changes = np.ones(len(keys[0]), bool)
    np.not_equal(keys[0][1:], keys[0][:-1], out=changes[1:])
    for key in keys[1:]:
        changes[1:] |= key[1:] != key[:-1]
    return changes


def _last_of_each(ranks: dict[str, Ranks], others: Sequence[str]) -> dict[str, Ranks]:
    """Return the last row of every run that is equal in the other columns."""
    last = np.append(_changes([ranks[name] for name in others])[1:], True) if len(ranks[others[0]]) else slice(0)
    return {name: values[last] for name, values in ranks.items()}
