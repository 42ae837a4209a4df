"""Receipts: every number of a published report worked out again from the store, and what differs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import polars as pl

from cohort.errors import StudyError
from cohort.results.estimates import KEY, SCHEMA
from cohort.results.history import earlier_releases
from cohort.results.provenance import Provenance
from cohort.runs.folders import Run
from cohort.runs.receipt import changed_files, recall

if TYPE_CHECKING:
    from markupsafe import Markup

    from cohort.engines.engine import Progress
    from cohort.result import Result
    from cohort.store.store import Store

MOST = 50
"""How many differences of one file are named; more are counted."""

_UNSEEN = ("style", "script", "title")


@dataclass(frozen=True, slots=True)
class Receipt:
    """How many numbers and files were held against what the store gives, what differs, and what is good to know."""

    numbers: int
    differences: tuple[str, ...]
    notes: tuple[str, ...]


def verify_run(run: Run, progress: Progress | None = None) -> Receipt:
    """Work out a run again from its store and hold what was released against it.

    Held against each other are the released files and their hashes, every cell of the estimates and of the attrition,
    and every text of the page, which is made again with the provenance that it printed.

    Raises
    ------
    StudyError, InputRefusedError
        If there is no such run, or its study, store or snapshot is gone.
    """
    study, store = recall(run.released)
    history = run.private_facts().get("history")
    earlier = earlier_releases(Path(history), study.population_sha256) if history else ()
    result = study.run(store, progress, history=earlier)  # a release that is in the history is repeated as it was
    recorded = _recorded(result.provenance, run.released_facts())
    quality = _quality(recorded, store, result)
    with TemporaryDirectory(prefix="cohort-verify-") as temporary:
        again = Path(temporary)
        from cohort.report.document import write_report

        write_report(replace(result, provenance=recorded).content(quality), again)
        cells, differing = _differences(run.released, again)
    files = changed_files(run)
    compared = cells + len(run.private_facts()["files"])
    return Receipt(compared, (*files, *differing), tuple(_other_software(recorded, result.provenance)))


def _differences(released: Path, again: Path) -> tuple[int, list[str]]:
    """Return how many cells were compared, and what differs."""
    cells, said = 0, []
    for name, key in (("estimates.parquet", KEY), ("estimates.csv", KEY), ("attrition.csv", ("step",))):
        mine, theirs = (_table(folder / name) for folder in (released, again))
        cells += theirs.height * theirs.width
        said += _first(f"{name}: {text}" for text in _cells(mine, theirs, key))
    pages = [_texts(folder / "report.html") for folder in (released, again)]
    cells += sum(any(letter.isdigit() for letter in text) for text in pages[1])
    return cells, [*said, *_first(f"report.html: {text}" for text in _lines(*pages))]


def _table(path: Path) -> pl.DataFrame:
    """Return a released table as text, cell by cell as it stands there."""
    try:
        frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError):
        return SCHEMA.to_frame().cast(pl.String)
    return frame.select(pl.all().cast(pl.String).fill_null(""))


def _cells(released: pl.DataFrame, again: pl.DataFrame, key: tuple[str, ...]) -> Iterator[str]:
    """Yield each cell that differs, and each row that only one side has."""
    if released.columns != again.columns:
        yield "the columns are not those that are released"
        return
    columns = [name for name in again.columns if name not in key]
    both = released.join(again, on=key, how="full", suffix="_again", coalesce=True, maintain_order="left_right")
    for row in both.iter_rows(named=True):
        where = ", ".join(f"{name} {row[name]}" for name in key if row[name])
        if all(row[name] is None for name in columns):
            yield f"{where}: the row is missing"
        elif all(row[f"{name}_again"] is None for name in columns):
            yield f"{where}: no such row comes from the store"
        else:
            yield from (
                f"{where}: {name} is {row[name] or 'empty'}, the store gives {row[f'{name}_again'] or 'nothing'}"
                for name in columns
                if row[name] != row[f"{name}_again"]
            )


def _lines(released: list[str], again: list[str]) -> Iterator[str]:
    """Yield what is printed and what would be, wherever the two pages part."""
    matcher = difflib.SequenceMatcher(None, released, again, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes() if released != again else ():
        if kind != "equal":
            mine, theirs = (" ".join(texts)[:120] for texts in (released[a:b], again[c:d]))
            yield f"{mine!r} is printed, the store gives {theirs!r}"


class _Texts(HTMLParser):
    """What a reader sees of a page and what figures are drawn from: texts, and the numbers in attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside.append(tag)
        self.found += [value for name, value in attrs if value and name in ("d", "points", "aria-label", "alt")]

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if text and not (self._inside and self._inside[-1] in _UNSEEN):
            self.found.append(text)


def _texts(path: Path) -> list[str]:
    parser = _Texts()
    try:
        parser.feed(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return []
    return parser.found


def _first(texts: Iterator[str]) -> list[str]:
    """Return the first differences, and how many more there are."""
    found = list(texts)
    return found[:MOST] + [f"and {len(found) - MOST:,} more differences"] * (len(found) > MOST)


def _recorded(now: Provenance, facts: dict[str, Any]) -> Provenance:
    """Return the provenance that comes from the store, with the software and options that a run printed."""
    try:
        return replace(now, **{name: facts[name] for name in ("versions", "seeds", "options", "code_sha256")})
    except KeyError:
        raise StudyError("run.json is not as cohort run wrote it; run the study again") from None


def _quality(recorded: Provenance, store: Store, result: Result) -> Markup | None:
    """Return the section of data quality, counted again, if the report has one."""
    if "quality_sha256" not in recorded.options:
        return None
    from cohort.checks.check import check

    return result.quality(check(store))


def _other_software(recorded: Provenance, now: Provenance) -> list[str]:
    """Say what is installed now and what the report was made with, where the two differ."""
    names = sorted({**recorded.versions, **now.versions})
    versions = [(name, recorded.versions.get(name, "none"), now.versions.get(name, "none")) for name in names]
    said = [f"made with {name} {then}, verified with {here}" for name, then, here in versions if then != here]
    if not said and recorded.code_sha256 != now.code_sha256:
        return ["made with other code of the same version of cohort"]
    return said
