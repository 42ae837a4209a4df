"""Layouts: how one supplier names things, as a folder of SQL with a ``layout.toml`` (see ``sql/README.md``)."""

from __future__ import annotations

import csv
import datetime as dt
import fnmatch
import hashlib
import itertools
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import duckdb
from pydantic import BeforeValidator, Field, ValidationError

from cohort.errors import InputRefusedError, StudyError
from cohort.ingest.guard import Dialect
from cohort.ingest.mapping import Mapping, compile_mappings
from cohort.ingest.sources import NAME, Declared, Name, Source
from cohort.shipped import shipped
from cohort.store.tables import TABLES


def sql_root() -> Path:
    """Return the folder of SQL files."""
    return shipped("sql")


@cache
def shipped_sql(name: str) -> str:
    """Return one shipped SQL file, by its path below ``sql/``."""
    return (sql_root() / name).read_text(encoding="utf-8")


class _Text(Declared):
    delimiter: str = Field(",", pattern=r'^[\x01-\x7f&&[^"\r\n\w ]]$')
    encoding: Literal["utf-8", "latin-1"] = "utf-8"
    date_format: list[str] = Field(["%Y-%m-%d"], min_length=1)
    missing: list[str] = Field([])


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class _File(Declared):
    """``layout.toml`` as written."""

    name: str
    description: str
    dialect: _Text = _Text()
    views: list[Name] = Field([])
    claims: list[Name] = Field([])
    kept: list[Name] = Field([])
    sources: dict[Name, Source] = Field({})
    tables: dict[str, Annotated[list[Mapping], BeforeValidator(_listed)]] = Field({})
    plausible: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] = Field({})


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout, read and checked: what ``layout.toml`` declares, its SQL by table, its helper views and code tables."""

    name: str
    folder: Path
    dialect: Dialect
    date_formats: tuple[str, ...]
    sources: dict[str, Source]
    views: dict[str, str]
    tables: dict[str, str]
    codes: dict[str, list[list[str]]]
    sha256: str
    missing: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @classmethod
    def read(cls, layout: str | Path) -> Layout:
        """Read a layout by its shipped name or the path of its folder.

        Raises
        ------
        StudyError
            If there is no such layout, or a file of it is not as ``sql/README.md`` describes.
        """
        folder = _folder(layout)
        declared = _declaration(folder / "layout.toml")
        _check_date_formats(declared.dialect.date_format, folder / "layout.toml")
        mapped = _mapped(declared, folder)
        tables, views = _sql_files(folder, declared)
        if not tables and not mapped:
            raise StudyError(f"{folder} maps no store table and has no SQL file named after one ({', '.join(TABLES)})")
        codes = sorted((sql_root() / "codes").glob("*.csv")) + sorted(folder.glob("*.csv"))
        written = {name: _select(path) for name, path in tables.items()}
        written |= {name: sql for name, (_, sql) in mapped.items()}
        return cls(
            name=declared.name,
            folder=folder,
            dialect=Dialect(declared.dialect.delimiter, declared.dialect.encoding),
            date_formats=tuple(declared.dialect.date_format),
            missing=tuple(declared.dialect.missing),
            claims=tuple(declared.claims),
            kept=tuple(declared.kept),
            sources=declared.sources
            | {name: source for sources, _ in mapped.values() for name, source in sources.items()},
            views={name: _select(path) for name, path in views.items()},
            tables={name: written[name] for name in TABLES if name in written},
            codes=_with_ranges({path.stem: _code_table(path) for path in codes}, declared),
            sha256=_hash(
                folder / "layout.toml",
                *views.values(),
                *tables.values(),
                *codes,
                *_shipped(),
                texts=[sql for _, sql in mapped.values()],
            ),
        )

    def find(self, folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
        """Return the files of every source, and the names of the files that the layout does not use.

        Raises
        ------
        InputRefusedError
            If the folder or a required source is absent, or a file lies outside the folder.
        """
        if not folder.is_dir():
            raise InputRefusedError(f"{folder} is not a folder; give the folder that holds the extract's files")
        found = {name: _glob(folder, source.files) for name, source in self.sources.items()}
        missing = [name for name, source in self.sources.items() if not found[name] and not source.optional]
        if missing:
            asked = "; ".join(f"{name}: {' or '.join(self.sources[name].files)}" for name in missing)
            raise InputRefusedError(f"{folder} lacks files that layout {self.name} needs ({asked})")
        used = {path for paths in found.values() for path in paths}
        unused = sorted(path.name for path in folder.iterdir() if path.is_file() and path not in used)
        return found, unused


def _folder(layout: str | Path) -> Path:
    root = sql_root() / "layouts"
    shipped = root / layout
    if isinstance(layout, str) and re.fullmatch(r"[a-z0-9_]+", layout) and shipped.is_dir():
        return shipped
    if Path(layout).is_dir():
        return Path(layout)
    names = sorted(path.name for path in root.iterdir() if path.is_dir())
    raise StudyError(f"there is no layout {str(layout)!r}; shipped are {', '.join(names)}, or give a folder's path")


def _declaration(path: Path) -> _File:
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise StudyError(f"{path.parent} has no layout.toml; sql/README.md shows one") from None
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{path}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StudyError(f"{path}, {where}: {first['msg']}; sql/README.md lists the keys") from None


def _check_date_formats(formats: list[str], path: Path) -> None:
    """Refuse formats of which two read one text as two days, such as 01/02/2020."""
    days = [dt.datetime(year, month, day) for year in (2003, 2011) for month in range(1, 13) for day in range(1, 13)]
    for one, other in itertools.permutations(formats, 2):
        if any(_read(day.strftime(one), other) not in (None, day) for day in days):
            raise StudyError(
                f"{path}, dialect.date_format: {one} and {other} read the same text as different days; keep one of "
                "them, or make a layout for each kind of file"
            )


def _read(text: str, date_format: str) -> dt.datetime | None:
    try:
        return dt.datetime.strptime(text, date_format)
    except ValueError:
        return None


def _sql_files(folder: Path, declared: _File) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the SQL files of the store tables and of the layout's views."""
    tables = {name: folder / f"{name}.sql" for name in TABLES if (folder / f"{name}.sql").is_file()}
    views = {name: folder / f"{name}.sql" for name in declared.views}
    missing = [path.name for path in views.values() if not path.is_file()]
    for key, named in (("claims", declared.claims), ("kept", declared.kept)):
        if strange := set(named) - set(views):
            raise StudyError(f"{folder / 'layout.toml'}, {key}: {min(strange)} is none of its views")
    if missing:
        raise StudyError(f"{folder / 'layout.toml'} names views without a file: {', '.join(missing)}")
    persons = {name: _person_columns(source) for name, source in declared.sources.items()}
    if max(persons.values(), default=1) != 1:
        raise StudyError(f"{folder / 'layout.toml'}: a source has one column of type person, or none; one must have it")
    return tables, views


def _mapped(declared: _File, folder: Path) -> dict[str, tuple[dict[str, Source], str]]:
    """Return the sources and the statement of every table that is mapped instead of written in SQL."""
    unknown = set(declared.tables) - set(TABLES)
    twice = [name for name in declared.tables if (folder / f"{name}.sql").is_file()]
    if unknown:
        raise StudyError(f"{folder / 'layout.toml'}: tables.{min(unknown)} is no store table ({', '.join(TABLES)})")
    if twice:
        raise StudyError(f"{folder}: {twice[0]} is both mapped in layout.toml and written in {twice[0]}.sql; keep one")
    return {name: compile_mappings(name, mappings) for name, mappings in declared.tables.items()}


def _with_ranges(codes: dict[str, list[list[str]]], declared: _File) -> dict[str, list[list[str]]]:
    """Return the code tables with the layout's own plausible ranges in place of shipped ones."""
    header, *rows = codes["plausible_range"]
    own = {instrument.lower() for instrument in declared.plausible}
    kept = [row for row in rows if row[header.index("code")].lower() not in own]
    for instrument, (low, high) in declared.plausible.items():
        values = {"code": instrument, "low": str(low), "high": str(high), "source": f"layout {declared.name}"}
        kept.append([values.get(name, "") for name in header])
    return codes | {"plausible_range": [header, *kept]}


def _person_columns(source: Source) -> int:
    return sum(column.type in ("person", "record") for column in source.expanded.values())


def _select(path: Path) -> str:
    """Return the text of an SQL file that holds exactly one select statement, so that a layout can only read."""
    sql = path.read_text(encoding="utf-8").rstrip().removesuffix(";")
    try:
        kinds = [statement.type for statement in duckdb.extract_statements(sql)]
    except duckdb.Error as error:
        raise StudyError(f"{path}: {str(error).splitlines()[0]}") from None
    if kinds != [duckdb.StatementType.SELECT]:
        raise StudyError(f"{path} must hold exactly one select statement")
    return sql


def _code_table(path: Path) -> list[list[str]]:
    """Return the rows of a code table, the header first."""
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.reader(handle, strict=True))
    if not rows or any(len(row) != len(rows[0]) for row in rows) or not all(re.match(NAME, name) for name in rows[0]):
        raise StudyError(f"{path} is not a code table: a header of plain names, and as many cells in every row")
    return rows


def _glob(folder: Path, patterns: list[str]) -> list[Path]:
    """Return matching files in name order; the case of names does not matter."""
    wanted = [pattern.lower().split("/") for pattern in patterns]
    depth = max(len(parts) for parts in wanted)
    paths = [
        path for path in _walk(folder, depth) if any(_matches(path.relative_to(folder), parts) for parts in wanted)
    ]
    for path in paths:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InputRefusedError(f"{path.name} leads out of {folder}; put the file itself there")
        if re.search(r"[*?\[\]{}\n\r]", str(path)):
            raise InputRefusedError(f"a file in {folder} has a pattern character in its path; rename it")
    return sorted(paths)


def _walk(folder: Path, depth: int) -> list[Path]:
    """Return what lies in a folder and, down to ``depth`` levels, in its subfolders; folders themselves left out."""
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    deeper = [found for path in inside if depth > 1 and path.is_dir() for found in _walk(path, depth - 1)]
    return [path for path in inside if not path.is_dir()] + deeper


def _matches(path: Path, pattern: list[str]) -> bool:
    parts = [part.lower() for part in path.parts]
    return len(parts) == len(pattern) and all(map(fnmatch.fnmatchcase, parts, pattern))


def _shipped() -> list[Path]:
    return sorted((sql_root() / "ingest").rglob("*.sql"))


def _hash(*paths: Path, texts: list[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
