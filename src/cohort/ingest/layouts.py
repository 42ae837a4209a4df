"""Layouts: how one supplier names things, as a folder of SQL with a ``layout.toml`` (see ``sql/README.md``)."""

from __future__ import annotations

import csv
import fnmatch
import hashlib
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import duckdb
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from cohort.errors import InputRefusedError, StudyError
from cohort.ingest.guard import Dialect
from cohort.store.tables import TABLES

_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
Name = Annotated[str, Field(pattern=_NAME)]


def sql_root() -> Path:
    """Return the folder of SQL files: inside the installed package, else beside ``src`` in the checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_sql", package.parents[1] / "sql"):
        if folder.is_dir():
            return folder
    raise InputRefusedError(f"the SQL files are missing from {package}; install cohort again")


@cache
def shipped_sql(name: str) -> str:
    """Return one shipped SQL file, by its path below ``sql/``."""
    return (sql_root() / name).read_text(encoding="utf-8")


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SourceColumn(_Declared):
    """One column that the layout reads.

    ``type``: ``person`` is the supplier's identifier of a person. ``optional``: the file may lack the column, which
    is then null. ``filled``: a line without a value is rejected. ``repeat``: stands for ``name1 … nameN``.
    """

    type: Literal["person", "text", "date", "integer", "number"]
    optional: bool = False
    filled: bool = False
    repeat: int | None = Field(None, ge=1, le=200)


def _column(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class Source(_Declared):
    """One source table: its files, columns, and how many store rows a line makes on average."""

    files: list[str] = Field(min_length=1)
    columns: dict[Name, Annotated[SourceColumn, BeforeValidator(_column)]] = Field(min_length=1)
    optional: bool = False
    rows_per_line: float = 1.0

    @property
    def expanded(self) -> dict[str, SourceColumn]:
        """Return every column by its own name, repeated ones written out."""
        written: dict[str, SourceColumn] = {}
        for name, column in self.columns.items():
            names = [f"{name}{number}" for number in range(1, column.repeat + 1)] if column.repeat else [name]
            written |= dict.fromkeys(names, column)
        return written

    @property
    def person(self) -> str | None:
        """Return the column that identifies the person, if the table is about persons."""
        return next((name for name, column in self.columns.items() if column.type == "person"), None)


class _Text(_Declared):
    delimiter: str = Field(",", pattern=r'^[^"\r\n\w ]$')
    encoding: Literal["utf-8", "latin-1"] = "utf-8"
    date_format: list[str] = Field(["%Y-%m-%d"], min_length=1)


class _File(_Declared):
    """``layout.toml`` as written."""

    name: str
    description: str
    dialect: _Text = _Text()
    views: list[Name] = []
    sources: dict[Name, Source] = Field(min_length=1)


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
        tables = {name: folder / f"{name}.sql" for name in TABLES if (folder / f"{name}.sql").is_file()}
        views = {name: folder / f"{name}.sql" for name in declared.views}
        if not tables:
            raise StudyError(f"{folder} has no SQL file named after a store table ({', '.join(TABLES)})")
        missing = [path.name for path in views.values() if not path.is_file()]
        if missing:
            raise StudyError(f"{folder / 'layout.toml'} names views without a file: {', '.join(missing)}")
        persons = {name: _person_columns(source) for name, source in declared.sources.items()}
        if max(persons.values()) != 1:
            raise StudyError(
                f"{folder / 'layout.toml'}: a source has one column of type person, or none; one must have it"
            )
        codes = sorted((sql_root() / "codes").glob("*.csv")) + sorted(folder.glob("*.csv"))
        return cls(
            name=declared.name,
            folder=folder,
            dialect=Dialect(declared.dialect.delimiter, declared.dialect.encoding),
            date_formats=tuple(declared.dialect.date_format),
            sources=declared.sources,
            views={name: _select(path) for name, path in views.items()},
            tables={name: _select(path) for name, path in tables.items()},
            codes={path.stem: _code_table(path) for path in codes},
            sha256=_hash(folder / "layout.toml", *views.values(), *tables.values(), *codes, *_shipped()),
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


def _person_columns(source: Source) -> int:
    return sum(column.type == "person" for column in source.expanded.values())


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
    if not rows or any(len(row) != len(rows[0]) for row in rows) or not all(re.match(_NAME, name) for name in rows[0]):
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


def _hash(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
