"""Claims files with every kind of defect, and an independent strict parser that says what they hold.

``python tests/property/malformed.py 10000 [FIRST]`` loads so many files, seeds FIRST, FIRST + 1, …
"""

from __future__ import annotations

import datetime as dt
import random
import re
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cohort.errors import InputRefusedError
from cohort.ingest.guard import Dialect, inspect
from cohort.ingest.layouts import Layout
from cohort.ingest.sources import Source, SourceColumn
from cohort.ingest.spelling import create_vocabulary
from cohort.ingest.staging import Delivery, Records, stage
from cohort.ingest.workers import engaged


class MalformedError(Exception):
    """The text breaks RFC 4180, its declared encoding, or ends half-way."""


def parse(content: bytes, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """Return the physical line and the cells of every record, header first, reading character by character."""
    try:
        text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError from None
    if not text.endswith("\n") or "\0" in text or re.search(r"\r(?!\n)", text):
        raise MalformedError
    records, ends, line, at = [], set(), 1, 0
    while at < len(text):
        start, cells = line, []
        while True:
            cell, at = (_quoted if text[at] == '"' else _bare)(text, at, delimiter)
            line += cell.count("\n")
            cells.append(cell)
            if text[at] != delimiter:
                break
            at += 1
        end = "\r\n" if text[at] == "\r" else "\n"
        ends.add(end)
        blank = cells == [""] and text[at - 1] != '"'
        records += [] if blank else [(start, cells)]
        at, line = at + len(end), line + 1
    if len(ends) > 1:
        raise MalformedError
    return records


def _bare(text: str, at: int, delimiter: str) -> tuple[str, int]:
    start = at
    while text[at] not in (delimiter, "\n", "\r"):
        if text[at] == '"':
            raise MalformedError
        at += 1
    return text[start:at], at


def _quoted(text: str, at: int, delimiter: str) -> tuple[str, int]:
    cell, at = "", at + 1
    while True:
        end = text.find('"', at)
        if end < 0:
            raise MalformedError
        cell, at = cell + text[at:end], end + 1
        if at < len(text) and text[at] == '"':
            cell, at = cell + '"', at + 1
        elif at < len(text) and text[at] in (delimiter, "\n", "\r"):
            return cell, at
        else:
            raise MalformedError


def columns(width: int) -> dict[str, SourceColumn]:
    """Return the declared columns of a claims source with 9 or more columns."""
    fixed = {"member": "person", "claim": "text", "day": "date", "place": "text", "amount": "number", "days": "integer"}
    fixed |= {f"dx{number}": "text" for number in range(1, width - len(fixed) + 1)}
    return {name: SourceColumn(type=kind, filled=name in ("day", "dx1")) for name, kind in fixed.items()}


def clean(rng: random.Random, width: int) -> list[list[str]]:
    """Return the cells of a sound file, header first."""
    rows = [list(columns(width))]
    for number in range(rng.randint(1, 12)):
        day = dt.date(2020, 1, 1) + dt.timedelta(rng.randrange(800))
        amount = f"{rng.randrange(99999) / 100:.2f}"
        row = [f"{rng.randrange(30):05}", f"C{number}", str(day), rng.choice(["11", "21", ""]), amount, "3"]
        codes = [rng.choice(["M54.5", "E11.9", "I10", "", "", ' "quoted", text ', "two\nlines"]) for _ in rows[0][6:]]
        rows.append([*row, "M545", *codes[1:]])
    return rows


def text_of(rows: list[list[str]], end: str = "\n", delimiter: str = ",") -> str:
    """Write rows as RFC 4180 has it."""

    def cell(value: str) -> str:
        return '"' + value.replace('"', '""') + '"' if re.search(rf'["\n\r{re.escape(delimiter)}]', value) else value

    return "".join(delimiter.join(map(cell, row)) + end for row in rows)


Defect = Callable[[random.Random, list[list[str]]], str | bytes]


def _in_a_line(change: Callable[[random.Random, str], str]) -> Defect:
    def defect(rng: random.Random, rows: list[list[str]]) -> str:
        lines = text_of(rows).splitlines(keepends=True)
        at = rng.randrange(len(lines))
        lines[at] = change(rng, lines[at])
        return "".join(lines)

    return defect


def _insert(what: str) -> Defect:
    def change(rng: random.Random, line: str) -> str:
        at = rng.randrange(len(line))
        return line[:at] + what + line[at:]

    return _in_a_line(change)


def _cell(value: str) -> Defect:
    def defect(rng: random.Random, rows: list[list[str]]) -> str:
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = value
        return text_of(rows)

    return defect


def _remove(what: str) -> Defect:
    def change(rng: random.Random, line: str) -> str:
        places = [match.start() for match in re.finditer(re.escape(what), line)]
        at = rng.choice(places) if places else len(line)
        return line[:at] + line[at + 1 :]

    return _in_a_line(change)


def _extra_line(what: Callable[[random.Random, list[list[str]]], str]) -> Defect:
    def defect(rng: random.Random, rows: list[list[str]]) -> str:
        lines = text_of(rows).splitlines(keepends=True)
        lines.insert(rng.randrange(len(lines) + 1), what(rng, rows) + "\n")
        return "".join(lines)

    return defect


def _mixed_ends(rng: random.Random, rows: list[list[str]]) -> str:
    return "".join(line + rng.choice(["\n", "\r\n"]) for line in text_of(rows).splitlines())


def _truncated(rng: random.Random, rows: list[list[str]]) -> bytes:
    content = text_of(rows).encode()
    return content[: rng.randrange(len(content))]


def _any_byte(rng: random.Random, rows: list[list[str]]) -> bytes:
    content = bytearray(text_of(rows).encode())
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(content))
        content[at : at + rng.randint(0, 1)] = bytes([rng.choice([rng.randrange(256), *b',"\n\r\n ; '])])
    return bytes(content)


def _columns_changed(rng: random.Random, rows: list[list[str]]) -> str:
    at, kind = rng.randrange(len(rows[0])), rng.choice(["drop", "double", "rename", "swap", "header only", "none"])
    if kind == "drop":
        rows = [row[:at] + row[at + 1 :] for row in rows]
    elif kind == "double":
        rows = [[*row, row[at]] for row in rows]
    elif kind == "rename":
        rows[0][at] += rng.choice([" ", "x", "\u00a0"])
    elif kind == "swap":
        order = rng.sample(range(len(rows[0])), len(rows[0]))
        rows = [[row[number] for number in order] for row in rows]
    elif kind == "header only":
        rows[0] = rows[0][:at]
    else:
        rows = rows[1:]
    return text_of(rows)


def _with_twin(rng: random.Random, header: list[str]) -> list[str]:
    """Return a header in which one name stands in the place of another, too."""
    one, other = rng.sample(range(len(header)), 2)
    return [header[one] if at == other else name for at, name in enumerate(header)]


BLANKS = "\t\xa0\u1680\u2003\u2028\u202f\u205f\u3000\u2066\ufeff"
DEFECTS: dict[str, Defect] = {
    "none": lambda rng, rows: text_of(rows),
    "crlf": lambda rng, rows: text_of(rows, "\r\n"),
    "byte order mark": lambda rng, rows: b"\xef\xbb\xbf" + text_of(rows).encode(),
    "all quoted": lambda rng, rows: re.sub(
        r"(?m)^[^\"\n]+$", lambda m: '"' + m[0].replace(",", '","') + '"', text_of(rows)
    ),
    "separator too many": _insert(","),
    "separator at the end": _in_a_line(lambda rng, line: line[:-1] + "," * rng.randint(1, 12) + "\n"),
    "separator missing": _remove(","),
    "other separator in a line": _in_a_line(lambda rng, line: line.replace(",", rng.choice(";\t|"))),
    "other separator": lambda rng, rows: text_of(rows, delimiter=rng.choice(";\t|")),
    "stray quote": _insert('"'),
    "two stray quotes": _insert('""'),
    "quote lost": _remove('"'),
    "quote escaped by backslash": _cell('5\\" pipe'),
    "single quotes": _insert("'"),
    "line broken": _insert("\n"),
    "line end lost": _remove("\n"),
    "return": _insert("\r"),
    "mixed line ends": _mixed_ends,
    "return as line end": lambda rng, rows: text_of(rows).replace("\n", "\r"),
    "nul": _insert("\0"),
    "next line, line separator": _insert("\u0085\u2028"),
    "invisible in a cell": _cell("0\u200b0007"),
    "blank beyond ascii in a cell": lambda rng, rows: _cell(f"00007{rng.choice(BLANKS)}")(rng, rows),
    "composed letter": _cell("e\u0301"),
    "number of a spreadsheet": _cell("1.2E+11"),
    "no day of the calendar": lambda rng, rows: _cell(
        rng.choice(["infinity", "-infinity", "epoch", "0001-01-01 (BC)"])
    )(rng, rows),
    "word for null": _cell("\x01never"),
    "blank line": _extra_line(lambda rng, rows: ""),
    "line of blanks": _extra_line(lambda rng, rows: "   "),
    "line of separators": _extra_line(lambda rng, rows: "," * (len(rows[0]) - 1)),
    "header again": _extra_line(lambda rng, rows: text_of(rows[:1])[:-1]),
    "header lost": lambda rng, rows: text_of(rows[1:]),
    "header in two lines": lambda rng, rows: text_of([rows[0], ["" for _ in rows[0]], *rows[1:]]),
    "header cell twice": lambda rng, rows: text_of([_with_twin(rng, rows[0]), *rows[1:]]),
    "final line end lost": lambda rng, rows: text_of(rows)[:-1],
    "blank lines at the end": lambda rng, rows: text_of(rows) + "\n" * rng.randint(1, 3),
    "quoted by apostrophes": lambda rng, rows: text_of(rows).replace('"', "'"),
    "nothing quoted": lambda rng, rows: "".join(",".join(row) + "\n" for row in rows),
    "separator of two characters": lambda rng, rows: text_of(rows).replace(",", rng.choice([",,", ", ", ",\t"])),
    "separator of a form feed": lambda rng, rows: text_of(rows).replace("\n", "\f\n"),
    "preamble": lambda rng, rows: "Claims 2020\n\n" + text_of(rows),
    "footer": lambda rng, rows: text_of(rows) + f"rows: {len(rows) - 1}\n",
    "two tables": lambda rng, rows: text_of(rows) + "\nmember,born\n00001,1960-01-01\n",
    "columns changed": _columns_changed,
    "bad day": _cell("2020-02-30"),
    "number with a comma": _cell("1,234.50"),
    "exponent": _cell("12E3"),
    "not utf-8": lambda rng, rows: text_of(rows).replace("M54", "M\u00e9").encode("latin-1"),
    "utf-16": lambda rng, rows: text_of(rows).encode("utf-16"),
    "truncated": _truncated,
    "bytes changed": _any_byte,
    "empty": lambda rng, rows: "",
    "header alone": lambda rng, rows: text_of(rows[:1]),
}


def malformed(seed: int) -> tuple[str, int, bytes]:
    """Return the defect, the number of declared columns and the content of file number ``seed``."""
    rng = random.Random(seed)  # noqa: S311 -- no secret
    kind, width = list(DEFECTS)[seed % len(DEFECTS)], rng.choice([9, 40])
    content = DEFECTS[kind](rng, clean(rng, width))
    return kind, width, content.encode() if isinstance(content, str) else content


@dataclass
class Expected:
    """What the independent parser finds: the rows to load, and the lines to reject."""

    rows: list[tuple[object, ...]]
    rejected: list[int]


def expected(content: bytes, declared: dict[str, SourceColumn]) -> Expected:
    """Return what a file holds by the rules of ``sql/README.md``."""
    (_, header), *records = parse(content)
    names = [name.strip().lower() for name in header]
    if any(names.count(name) != 1 for name in declared):
        raise MalformedError
    rows, rejected = [], []
    for line, cells in records:
        try:
            if len(cells) != len(header):
                raise ValueError
            rows.append(tuple(_typed(cells[names.index(name)], name, column) for name, column in declared.items()))
        except ValueError:
            rejected.append(line)
    return Expected(rows, rejected)


def _typed(cell: str, name: str, column: SourceColumn) -> object:
    text = cell.strip(" ")
    needed = column.filled or column.type == "person"
    if not text:
        if needed:
            raise ValueError
        return None
    if column.type == "person" and (
        text.lower() == name
        or any(unicodedata.category(letter) in ("Cc", "Cf", "Zs", "Zl", "Zp") and letter != " " for letter in text)
        or text != unicodedata.normalize("NFC", text)
        or re.fullmatch(r"\d([.,]\d+)?E\+\d+", text)
    ):
        raise ValueError
    patterns = {
        "date": r"\d{4}-\d{2}-\d{2}",
        "number": r"[+-]?(\d{1,15}(\.\d*)?|\.\d+)",
        "integer": r"[+-]?\d{1,18}",
    }
    if column.type in patterns and not re.fullmatch(patterns[column.type], text, re.ASCII):
        raise ValueError
    convert = {"date": dt.date.fromisoformat, "number": float, "integer": int}.get(column.type, str)
    return convert(text)


class Loader:
    """Loads one file at a time as an ingestion does, up to the point where its rows are staged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "work").mkdir()
        (folder / "extract").mkdir()
        self.opened = engaged([folder / "extract"], folder / "work", None, 1, create_vocabulary)
        self.workers = self.opened.__enter__()

    def close(self) -> None:
        """Close the engines."""
        self.opened.__exit__(None, None, None)

    def load(self, content: bytes, declared: dict[str, SourceColumn]) -> Expected:
        """Return what was loaded and rejected.

        Raises
        ------
        InputRefusedError
            If the file is refused as a whole.
        """
        path = self.folder / "extract" / "claims.csv"
        path.write_bytes(content)
        source = Source(files=["claims.csv"], columns=declared)
        layout = Layout("t", self.folder, Dialect(), ("%Y-%m-%d",), (), {"claims": source}, {}, {}, {}, "")
        delivery = Delivery.match("claims", source, inspect(path, layout.dialect))
        account, chunks, rejects = stage(self.workers, delivery, layout, self.folder / "work", shares=4)
        assert account.adds_up
        assert account.lines == content.count(b"\n")
        loaded = [row for chunk in chunks for row in pl.DataFrame(chunk.whole()).rows()]
        assert len(loaded) == account.loaded
        assert bool(rejects) == bool(account.rejected)
        rejected = pl.read_parquet(rejects)["line"].to_list() if rejects else []
        return Expected(loaded, rejected)


def rows_of(pieces: Iterator[Callable[[], Records]]) -> list[tuple[object, ...]]:
    """Return the records of a file as the loader reads them, in order: cells, and whether they are too few or many."""
    rows: dict[int, tuple[object, ...]] = {}
    for make in pieces:
        records = make()
        columns = [column.texts.take(column.codes).to_pylist() for column in records.columns.values()]
        found = zip(*columns, strict=True)
        rows |= {int(number): (*cells, False, False) for number, cells in zip(records.numbers, found, strict=True)}
        rows |= {
            one.record: (*one.cells, one.reason == "short_row", one.reason == "long_row") for one in records.misfits
        }
    return [rows[number] for number in sorted(rows)]


def fate(loader: Loader, seed: int) -> tuple[str, str]:
    """Load one file; return its defect and "loaded", "quarantined" or "refused".

    Raises
    ------
    AssertionError
        If anything was loaded that the independent parser does not find there.
    """
    kind, width, content = malformed(seed)
    declared = columns(width)
    try:
        seen = loader.load(content, declared)
    except InputRefusedError:
        return kind, "refused"
    try:
        wanted = expected(content, declared)
    except (MalformedError, ValueError) as error:
        raise AssertionError(f"file {seed} ({kind}) was loaded but is malformed") from error
    key = [(tuple(map(str, row))) for row in seen.rows]
    assert sorted(key) == sorted(tuple(map(str, row)) for row in wanted.rows), f"file {seed} ({kind}): rows"
    assert seen.rejected == wanted.rejected, f"file {seed} ({kind}): rejected lines"
    return kind, "quarantined" if seen.rejected else "loaded"


def main(number: int, first: int = 0) -> None:
    """Load many files and print how many had which fate."""
    fates: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="cohort-malformed-") as folder:
        loader = Loader(Path(folder))
        for seed in range(first, first + number):
            _, ended = fate(loader, seed)
            fates[ended] = fates.get(ended, 0) + 1
        loader.close()
    print(f"{number:,} files: " + ", ".join(f"{count:,} {ended}" for ended, count in sorted(fates.items())))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
