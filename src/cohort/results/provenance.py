"""Provenance: what a result was made from, and with what.

Everything but the two clock times is a function of study, data and software, so two runs of the same study on the
same data differ only in ``started`` and ``finished``. Those two go to ``run.json`` and nowhere else.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

LIBRARIES = ("polars", "pyarrow", "duckdb", "numpy", "scipy", "lifelines", "pandas", "matplotlib", "jinja2", "pydantic")
"""The libraries whose version can change a number or a figure."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of the extract: base name, SHA-256 of its bytes, size in bytes."""

    name: str
    sha256: str
    bytes: int

    @classmethod
    def of(cls, path: Path) -> InputFile:
        """Hash a file on disk; only its base name is kept, since folders can name people and places."""
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return cls(path.name, digest, path.stat().st_size)


@dataclass(frozen=True, slots=True)
class CodelistUsed:
    """One codelist of the study: name, version, number of codes, SHA-256 of its content, where it comes from."""

    name: str
    version: str
    codes: int
    sha256: str
    source: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a run read, ran and when; `started` and `finished` are UTC and stay out of everything byte-stable.

    ``options`` are what else decides a byte of the report, such as the hash of the check that it shows.
    """

    study_sha256: str
    store_sha256: str
    inputs: tuple[InputFile, ...]
    codelists: tuple[CodelistUsed, ...]
    versions: Mapping[str, str]
    seeds: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    unsealed: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    """Position of an analysis → why the study shows its estimates past closed gates."""
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    code_sha256: str = ""
    disclosure: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    started: dt.datetime | None = None
    finished: dt.datetime | None = None

    @property
    def run_id(self) -> str:
        """Return a name for what was computed, the same whenever and wherever that is done: no part is a clock time."""
        return hashlib.sha256(json.dumps(self._made_from(), sort_keys=True).encode()).hexdigest()[:16]

    def content(self) -> dict[str, Any]:
        """Return all but the clock times, in a fixed order: safe to print into byte-stable files."""
        return {"run_id": self.run_id, **self._made_from()}

    def _made_from(self) -> dict[str, Any]:
        return {
            "study_sha256": self.study_sha256,
            "store_sha256": self.store_sha256,
            "versions": dict(sorted(self.versions.items())),
            "code_sha256": self.code_sha256,
            "seeds": dict(sorted(self.seeds.items())),
            "unsealed": [{"analysis": number, "reason": why} for number, why in sorted(self.unsealed.items())],
            "options": dict(sorted(self.options.items())),
            "disclosure": dict(self.disclosure),
            "codelists": [asdict(used) for used in sorted(self.codelists, key=lambda used: (used.name, used.version))],
            "inputs": [asdict(file) for file in sorted(self.inputs, key=lambda file: (file.name, file.sha256))],
        }

    def to_json(self) -> str:
        """Return everything as indented JSON, clock times in UTC to the second."""
        clock = {"started": _utc(self.started), "finished": _utc(self.finished)}
        return json.dumps({**self.content(), **clock}, indent=2, ensure_ascii=False) + "\n"


def installed_versions(libraries: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Return the versions of Python, of this package and of the named libraries, without importing them."""
    found = {"python": platform.python_version()}
    for name in ("cohort", *libraries):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    if found["cohort"] == "not installed":  # run from a checkout that was never installed
        from cohort import __version__

        found["cohort"] = __version__
    return found


@functools.cache
def installed_code() -> str:
    """Return the SHA-256 of this package as it is on disk: a checkout changes between versions."""
    package, digest = Path(__file__).resolve().parents[1], hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            content = path.read_bytes()
            digest.update(f"{path.relative_to(package).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _utc(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(dt.UTC).isoformat(timespec="seconds")
