"""Codelists: named, versioned, hashed sets of codes, each row with the source that says the code belongs."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path

import polars as pl

from cohort.codes.files import COLUMNS, SUFFIXES, canonical, parse, stem
from cohort.errors import StudyError

EXCLUDED = "excluded"
"""The label that takes codes out again: codes whose longest matching row carries it do not belong to the list."""

PREFIX_SYSTEMS = ("icd9cm", "icd10", "icd10cm", "icd11", "atc", "ndc", "icd10pcs", "icd9proc")
"""Systems whose codes are hierarchical by position. A nine-digit NDC stands for all packages of a product."""

LEVELS = {"cpt": "hcpcs", "hcpcs": "cpt"}
"""CPT is level I of HCPCS: claims write both into one column, under either name, and they share no code."""


@dataclass(frozen=True, eq=False)
class Codelist:
    """A named set of codes with version and source.

    Attributes
    ----------
    name, version
        What a study file and a report call it.
    rows
        String columns system, code, term, category (the label), source; codes normalised, rows unique and sorted.
        In hierarchical systems a row stands for all codes that begin with it (rule: `cohort.codes.match`).
    """

    name: str
    version: str
    rows: pl.DataFrame

    @classmethod
    def from_rows(cls, name: str, rows: pl.DataFrame | Iterable[Mapping[str, str]], version: str = "") -> Codelist:
        """Build a list from rows with columns system and code, and optionally term, category and source.

        A row without category is labelled with the list's name.

        Raises
        ------
        StudyError
            If a system is unknown or a code is empty; the message counts such rows.
        """
        frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame([dict(row) for row in rows])
        return cls(name, version, canonical(name, frame))

    @classmethod
    def read(cls, path: str | Path, version: str | None = None) -> Codelist:
        """Read a CSV (or .csv.gz) file with header system, code, term, category, source.

        The version comes from the argument or from a first line ``# version: …``; the name is the file's.

        Raises
        ------
        StudyError
            If the file is missing, its header is another one, or a row cannot be a code: with file, line and repair.
        """
        path = Path(path)
        if not path.is_file():
            raise StudyError(f"{path}: no such codelist file; give the path of a CSV file or a shipped list's name")
        stated, rows = parse(path.read_bytes(), str(path))
        return cls.from_rows(stem(path.name), rows, stated if version is None else version)

    @classmethod
    def shipped(cls, name: str) -> Codelist:
        """Return a list that comes with the package.

        Raises
        ------
        StudyError
            If there is none of that name; the message names the nearest.
        """
        names = cls.shipped_names()
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
            raise StudyError(f"no shipped codelist is called {name!r}; the nearest are {', '.join(near)}")
        return _shipped(name)

    @classmethod
    def shipped_names(cls) -> tuple[str, ...]:
        """Return the names of the lists that come with the package, in alphabetical order."""
        files = (file.name for file in (resources.files(__package__) / "data").iterdir())
        return tuple(sorted(stem(file) for file in files if file.endswith(SUFFIXES)))

    @cached_property
    def sha256(self) -> str:
        """Return the hash of the rows: two lists with the same rows have the same hash, whatever their name."""
        lines = ("\x1f".join(row) + "\n" for row in self.rows.iter_rows())
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def systems(self) -> tuple[str, ...]:
        """Return the coding systems of the list, sorted."""
        return tuple(self.rows["system"].unique().sort())

    @property
    def categories(self) -> tuple[str, ...]:
        """Return the labels of the list, sorted, without `EXCLUDED`."""
        return tuple(label for label in self.rows["category"].unique().sort() if label != EXCLUDED)

    @cached_property
    def entries(self) -> pl.DataFrame:
        """Return the rows as matching reads them: ``system, code, category`` and ``listed``, the system in the list.

        A row of CPT holds for codes that a supplier calls HCPCS, and the other way round (`LEVELS`).
        """
        key = ["system", "code", "category"]
        own = self.rows.select(*key, listed="system")
        twins = own.filter(pl.col("system").is_in(list(LEVELS))).with_columns(pl.col("system").replace(LEVELS))
        return pl.concat([own, twins]).unique(key, keep="first", maintain_order=True)

    def contains(self, system: str, code: str) -> bool:
        """Return whether one normalised code belongs to the list: the rule of `cohort.codes.match`, for a few codes."""
        rows, lengths = self._lookup.get(system, ({}, ()))
        if code in rows:
            return rows[code]
        return next((rows[code[:n]] for n in lengths if n < len(code) and code[:n] in rows), False)

    @cached_property
    def _lookup(self) -> dict[str, tuple[dict[str, bool], tuple[int, ...]]]:
        """Return, by system, whether each row's code belongs, and from the longest the lengths that are prefixes."""
        belongs = pl.col("category").ne(EXCLUDED).any().alias("belongs")
        rows: dict[str, dict[str, bool]] = {}
        for system, code, inside in self.entries.group_by("system", "code").agg(belongs).iter_rows():
            rows.setdefault(system, {})[code] = inside
        return {
            system: (codes, tuple(sorted(set(map(len, codes)), reverse=True)) if system in PREFIX_SYSTEMS else ())
            for system, codes in rows.items()
        }

    def only(self, *, category: str | Iterable[str]) -> Codelist:
        """Return the part of the list with the given labels.

        Codes that a longer row gives to another label stay out: such rows are kept, marked `EXCLUDED`.

        Raises
        ------
        StudyError
            If the list has no such label.
        """
        wanted = {category} if isinstance(category, str) else set(category)
        if unknown := sorted(wanted - set(self.categories)):
            known = ", ".join(self.categories)
            raise StudyError(f"codelist {self.name!r} has no category {', '.join(unknown)}; it has {known}")
        kept = self.rows.filter(pl.col("category").is_in(wanted))
        others = self.rows.filter(~pl.col("category").is_in(wanted)).join(kept, on=["system", "code"], how="anti")
        shadows = _refinements(others, kept).select(COLUMNS).with_columns(category=pl.lit(EXCLUDED))
        return Codelist.from_rows(self.name, pl.concat([kept, shadows]), self.version)

    def inherited(self) -> Codelist:
        """Return the list with every longer row also carrying the labels of the shorter rows that it refines.

        For lists whose labels do not exclude each other: hypertensive heart disease with heart failure (I110) is
        also hypertension (I11). Without this the longest row alone decides.
        """
        labelled = self.rows.filter(pl.col("category") != EXCLUDED)
        passed_on = _refinements(labelled, labelled).select(
            "system", "code", "term", category="category_short", source="source_short"
        )
        return Codelist.from_rows(self.name, pl.concat([self.rows, passed_on]), self.version)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Codelist) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return f"Codelist({self.name!r}, version={self.version!r}, {self.rows.height} rows, sha256 {self.sha256[:12]})"

    @property
    def _identity(self) -> tuple[str, str, str]:
        return self.name, self.version, self.sha256


@cache
def _shipped(name: str) -> Codelist:
    """Read a shipped list once per process: every bucket asks for it again."""
    file = next(file for file in (resources.files(__package__) / "data").iterdir() if stem(file.name) == name)
    version, rows = parse(file.read_bytes(), file.name)
    return Codelist.from_rows(name, rows, version)


def _refinements(longer: pl.DataFrame, shorter: pl.DataFrame) -> pl.DataFrame:
    """Return rows of ``longer`` beside each row of ``shorter`` (suffix ``_short``) whose code they begin with."""
    hierarchical = longer.filter(pl.col("system").is_in(PREFIX_SYSTEMS))
    lengths = sorted(set(shorter["code"].str.len_chars()))
    return pl.concat(
        hierarchical.filter(pl.col("code").str.len_chars() > length)
        .with_columns(prefix=pl.col("code").str.head(length))
        .join(shorter, left_on=["system", "prefix"], right_on=["system", "code"], suffix="_short")
        for length in lengths
    )
