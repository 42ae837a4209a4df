"""From the words of a study file to the columns of a model: ``"age + sex + age:sex"`` is parsed here, never evaluated.

The grammar is all there is: names, ``+`` between terms, ``:`` for a product, ``a*b`` for ``a + b + a:b``. Text that is
anything else is refused with its position, so a formula cannot carry code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cohort.errors import InputRefusedError, NotEstimableError, StudyError
from cohort.frames import as_lazy, require_columns

Missing = Literal["refuse", "leave_out"]

_MANY_LEVELS = 20  # from here on a category must have two rows for each
_TOKEN = re.compile(r"[ \t]*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<operator>[+:*]))")


@dataclass(frozen=True, slots=True)
class Term:
    """A product of one or more variables of the frame; one variable is a main effect."""

    variables: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the term as it is written: ``age`` or ``age:sex``."""
        return ":".join(self.variables)


@dataclass(frozen=True, slots=True)
class Design:
    """The columns of a model.

    ``matrix`` is float64, shape (rows kept, columns), column-major; ``names`` its columns; ``term_of`` the index of
    the term each column belongs to; ``kept`` is Boolean, shape (rows of the frame,); ``references`` gives each
    categorical variable's reference level and ``levels`` all of its levels, the reference first.
    """

    terms: tuple[Term, ...]
    names: tuple[str, ...]
    term_of: tuple[int, ...]
    matrix: NDArray[np.float64]
    kept: NDArray[np.bool_]
    references: dict[str, str]
    levels: dict[str, tuple[str, ...]]

    @property
    def n_missing(self) -> int:
        """Return the number of rows left out because a term was missing."""
        return int(self.kept.size - np.count_nonzero(self.kept))


@dataclass(frozen=True, slots=True, eq=False)
class DesignParts:
    """The columns of a model side by side: ``columns`` are p arrays (rows kept,) of numbers or Booleans."""

    names: tuple[str, ...]
    columns: list[NDArray[Any]]
    kept: NDArray[np.bool_]


def parse_terms(formula: str) -> tuple[Term, ...]:
    """Parse ``"early_opioid + age + a*b + age:sex"`` into terms, in the order written, each once.

    Raises
    ------
    StudyError
        If the text leaves the grammar; the message gives the position, counted from 1.
    """
    tokens = list(_tokens(formula))
    terms: list[Term] = []
    for summand in _split(tokens, "+", formula):
        factors = [[name for name, _ in _names(part, formula)] for part in _split(summand, "*", formula)]
        for size in range(1, len(factors) + 1):
            for chosen in combinations(factors, size):
                term = _product(chosen, summand[0][1])
                if not any(set(term.variables) == set(known.variables) for known in terms):
                    terms.append(term)
    return tuple(terms)


def design_matrix(
    frame: Any,
    terms: str | Sequence[Term],
    missing: Missing = "refuse",
    levels: Mapping[str, Sequence[str]] | None = None,
) -> Design:
    """Build the model's columns from a frame.

    Numbers enter as they are, Booleans as 0/1, text as treatment contrasts with the first level in sorted order as
    reference (``sex[male]``), products as products of those columns. Missing values in a term are refused, or with
    ``missing="leave_out"`` those rows are left out. ``levels`` declares the levels of text variables, reference
    first, where one frame does not show them all (a bucket).

    Raises InputRefusedError for an absent or unusable column, an infinite value or missing values that were to be
    refused, and NotEstimableError if a text variable has a single level.
    """
    parsed = parse_terms(terms) if isinstance(terms, str) else tuple(terms)
    if not parsed:
        height = as_lazy(frame).select(pl.len()).collect().item()
        return Design((), (), (), np.empty((height, 0)), np.ones(height, dtype=bool), {}, {})
    table, kept, found = _scan(frame, parsed, missing, levels or {})
    names, term_of, matrix = design_columns(table, parsed, found)
    return Design(parsed, names, term_of, matrix, kept, {name: ls[0] for name, ls in found.items()}, found)


def design_columns(
    table: pl.DataFrame, terms: tuple[Term, ...], levels: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[str, ...], tuple[int, ...], NDArray[np.float64]]:
    """Return names, term and values (n, p) of a model's columns from variables that were checked to be complete."""
    columns = {name: _columns(table[name], levels.get(name)) for name in table.columns}
    return _assemble(terms, columns, table.height)


def design_parts(frame: Any, terms: str, missing: Missing = "refuse") -> DesignParts:
    """Return the columns of `design_matrix` without stacking them: numbers stay where the frame has them."""
    parsed = parse_terms(terms)
    table, kept, levels = _scan(frame, parsed, missing, {})
    names, _, columns = _built(parsed, {name: _columns(table[name], levels.get(name)) for name in table.columns})
    return DesignParts(tuple(names), columns, kept)


def has_text(frame: Any, terms: str) -> bool:
    """Return whether a variable of the terms is text."""
    schema = as_lazy(frame).collect_schema()
    return any(_is_text(pl.Series(dtype=schema[name])) for term in parse_terms(terms) for name in term.variables)


def seen_levels(
    frame: Any, terms: Sequence[Term], missing: Missing = "refuse"
) -> tuple[NDArray[np.bool_], dict[str, tuple[str, ...]]]:
    """Return which rows a design would keep, and the levels of its text variables in those rows, sorted."""
    _, kept, found = _scan(frame, tuple(terms), missing, {})
    return kept, found


def _scan(
    frame: Any, terms: tuple[Term, ...], missing: Missing, levels: Mapping[str, Sequence[str]]
) -> tuple[pl.DataFrame, NDArray[np.bool_], dict[str, tuple[str, ...]]]:
    """Return the terms' variables in the rows kept, which rows those are, and the levels of text variables."""
    variables = list(dict.fromkeys(name for term in terms for name in term.variables))
    lazy = as_lazy(frame)
    require_columns(lazy, {f"term {name}": name for name in variables})
    table = lazy.select(variables).collect()
    kept = _complete(table, missing)
    if not kept.all():
        table = table.filter(pl.Series(kept))
    declared = {name: tuple(values) for name, values in levels.items()}
    return table, kept, {c.name: declared.get(c.name) or _levels(c) for c in table if _is_text(c)}


def _tokens(formula: str) -> Iterator[tuple[str, int]]:
    position = 0
    end = len(formula.rstrip(" \t"))
    while position < end:
        match = _TOKEN.match(formula, position)
        if match is None:
            blanks = len(formula[position:]) - len(formula[position:].lstrip(" \t"))
            raise _refusal(formula, position + blanks, "is neither a name nor one of + : *")
        yield match.group().strip(), match.end() - len(match.group().strip())
        position = match.end()


def _split(tokens: list[tuple[str, int]], operator: str, formula: str) -> list[list[tuple[str, int]]]:
    """Cut a token list at an operator; an empty part is an error at the operator's own position."""
    parts: list[list[tuple[str, int]]] = [[]]
    positions = [position for text, position in tokens if text == operator]
    for token in tokens:
        if token[0] == operator:
            parts.append([])
        else:
            parts[-1].append(token)
    for index, part in enumerate(parts):
        if not part:
            where = positions[min(index, len(positions) - 1)] if positions else 0
            raise _refusal(formula, where, f"has no name on one side of '{operator}'" if positions else "is empty")
    return parts


def _names(part: list[tuple[str, int]], formula: str) -> list[tuple[str, int]]:
    names = _split(part, ":", formula)
    for name in names:
        if len(name) > 1:
            raise _refusal(formula, name[1][1], "follows a name without an operator")
    return [name[0] for name in names]


def _product(factors: Sequence[Sequence[str]], position: int) -> Term:
    variables = tuple(name for factor in factors for name in factor)
    if len(set(variables)) < len(variables):
        raise StudyError(
            f"the term at position {position + 1} multiplies a variable by itself; add the square to the frame as a "
            "column of its own"
        )
    return Term(variables)


def _refusal(formula: str, position: int, fault: str) -> StudyError:
    shown = repr(formula[position : position + 12]) if position < len(formula) else "the end"
    return StudyError(
        f"terms, position {position + 1}: {shown} {fault}; write names joined by +, ':' for a product, or a*b for "
        "a + b + a:b"
    )


def _is_text(column: pl.Series) -> bool:
    return column.dtype == pl.String or isinstance(column.dtype, pl.Enum | pl.Categorical)


def _complete(table: pl.DataFrame, missing: Missing) -> NDArray[np.bool_]:
    if missing not in ("refuse", "leave_out"):
        raise StudyError("missing must be 'refuse' or 'leave_out'")
    kept = np.ones(table.height, dtype=bool)
    counts: dict[str, int] = {}
    for column in table:
        if not (column.dtype.is_numeric() or column.dtype == pl.Boolean or _is_text(column)):
            raise InputRefusedError(
                f"column {column.name} is {column.dtype}; a term must be a number, a Boolean or text"
            )
        if not column.null_count() and not column.dtype.is_float():
            continue
        if column.dtype.is_float() and not column.null_count() and np.isfinite(float(column.sum())):
            continue  # one look; a sum may overflow, so the following decides
        gone = column.is_null() | column.is_nan() if column.dtype.is_float() else column.is_null()
        if column.dtype.is_float() and (infinite := int(column.is_infinite().sum())):
            raise InputRefusedError(
                f"column {column.name} is infinite in {infinite} rows; set them missing or mend them"
            )
        if count := int(gone.sum()):
            counts[column.name] = count
            kept &= ~gone.to_numpy()
    if counts and missing == "refuse":
        listed = ", ".join(f"{name} in {count} rows" for name, count in counts.items())
        raise InputRefusedError(
            f"values are missing: {listed}; fill them, or leave such rows out by missing='leave_out'"
        )
    return kept


def _levels(column: pl.Series) -> tuple[str, ...]:
    levels = tuple(sorted(column.cast(pl.String).unique().to_list()))
    if len(levels) > _MANY_LEVELS and 2 * len(levels) > len(column):
        # their names would be those of terms, and they are values of single persons
        raise InputRefusedError(
            f"column {column.name} is text with {len(levels)} different values in {len(column)} rows; a category "
            "repeats: convert numbers written as text to numbers, and leave out what tells persons apart"
        )
    return levels


def _columns(column: pl.Series, levels: tuple[str, ...] | None) -> dict[str, NDArray[Any]]:
    """Return the columns of one variable by name; text gives one 0/1 column for each level but the first."""
    if levels is None:
        plain = column.dtype == pl.Boolean or column.dtype.is_integer()
        return {column.name: (column if plain else column.cast(pl.Float64)).to_numpy()}
    if len(levels) < 2:
        raise NotEstimableError("single_level", (column.name,))
    text = column.cast(pl.String)
    if unknown := int((~text.is_in(levels)).sum()):
        raise InputRefusedError(f"column {column.name} has levels other than those declared in {unknown} rows")
    return {f"{column.name}[{level}]": (text == level).to_numpy() for level in levels[1:]}


def _assemble(
    terms: tuple[Term, ...], columns: Mapping[str, Mapping[str, NDArray[Any]]], height: int
) -> tuple[tuple[str, ...], tuple[int, ...], NDArray[np.float64]]:
    names, term_of, built = _built(terms, columns)
    matrix = np.empty((height, len(names)), order="F")
    for index, values in enumerate(built):
        matrix[:, index] = values
    return tuple(names), tuple(term_of), matrix


def _built(
    terms: tuple[Term, ...], columns: Mapping[str, Mapping[str, NDArray[Any]]]
) -> tuple[list[str], list[int], list[NDArray[Any]]]:
    """Return the name, the place of the term and the values of each column."""
    names: list[str] = []
    term_of: list[int] = []
    built: list[NDArray[Any]] = []
    for index, term in enumerate(terms):
        product = dict(columns[term.variables[0]])
        for variable in term.variables[1:]:
            product = {
                f"{left}:{right}": np.multiply(a, b, dtype=np.float64)
                for left, a in product.items()
                for right, b in columns[variable].items()
            }
        for name, values in product.items():
            names.append(name)
            term_of.append(index)
            built.append(values)
    return names, term_of, built
