"""The folder of results: numbered runs that never change, and one link to the newest that is whole.

    out/report.html -> latest/report.html       one link per released file, made once
    out/latest      -> runs/000002              the only thing that a publication replaces
    out/runs/000002/                            what was released; never changed
    out/private/000002/                         mode 0700: study, store and hashes, for `why`, `verify` and `diff`

Nothing here belongs to a person: who was in a run stays in the store (`cohort.runs.ledger`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cohort.errors import StudyError

RUNS, LATEST, PRIVATE = "runs", "latest", "private"


@dataclass(frozen=True, slots=True)
class Run:
    """One run that was published: the folder of results and its number there, counted from 1."""

    out: Path
    number: int

    @property
    def name(self) -> str:
        """Return the run's name in its folders."""
        return f"{self.number:06d}"

    @property
    def released(self) -> Path:
        """Return the folder of what was released."""
        return self.out / RUNS / self.name

    @property
    def private(self) -> Path:
        """Return the folder that only its owner may open."""
        return self.out / PRIVATE / self.name

    def released_facts(self) -> dict[str, Any]:
        """Return what ``run.json`` says."""
        return self._read(self.released / "run.json")

    def private_facts(self) -> dict[str, Any]:
        """Return where the store is, which snapshot was read, and the hash of every released file."""
        return self._read(self.private / "store.json")

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise _not_whole(self.released) from None
        return facts


def find(path: Path) -> Run:
    """Return the run of a folder of results (its newest), of a folder in ``runs``, or of a page in either.

    Raises
    ------
    StudyError
        If there is none.
    """
    folder = path if path.is_dir() else path.parent
    real = (folder / LATEST if (folder / LATEST).is_symlink() else folder).resolve()
    if real.parent.name != RUNS or not real.name.isdigit() or not real.is_dir():
        raise _not_whole(path)
    return Run(real.parent.parent, int(real.name))


def is_run(path: Path) -> bool:
    """Return whether a path looks like a run or a folder of them rather than a store."""
    return path.is_file() or (path / LATEST).is_symlink() or path.resolve().parent.name == RUNS


def newest(out: Path) -> Run | None:
    """Return the run that readers see, if there is one."""
    return find(out) if (out / LATEST / "run.json").is_file() else None


def numbers(out: Path) -> list[int]:
    """Return the numbers of all runs of a folder of results, ascending, whether they came to be seen or not."""
    found = {path.name for folder in (RUNS, PRIVATE) for path in (out / folder).glob("[0-9]*")}
    return sorted(int(name) for name in found if name.isdigit())


def _not_whole(path: Path) -> StudyError:
    return StudyError(f"{path} does not hold a whole run; give the folder that cohort run wrote (--out)")
