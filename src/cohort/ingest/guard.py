"""An independent look at the raw bytes of a delimited text file, before any parser is believed.

CSV readers, strict ones included, load some malformed files silently wrong. This pass knows nothing of columns or
types. It counts physical lines, checks every quote, line end and character, and hashes the content; the loader then
asserts that the parser accounts for exactly these lines. Memory is one block, whatever the size of the file.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import stat
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cohort.errors import InputRefusedError

BLOCK = 1 << 23
MAX_LINE = 2_000_000
"""Longest physical line in bytes; without a limit a file without line ends would be held in memory whole."""
MAX_COLUMNS = 4096
_NEWLINE, _RETURN, _QUOTE = 10, 13, 34
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a supplier writes delimited text: one ASCII delimiter, quote ``"`` doubled inside quotes, an encoding."""

    delimiter: str = ","
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the bytes of one file say.

    ``bytes`` is the size on disk, ``sha256`` the hash of the content after decompression, ``lines`` all physical
    lines, ``continuation`` those that start inside quotes, ``columns`` the names in the first line. Of Parquet, with
    rows and a footer, ``lines`` are the rows and ``kinds`` says what its columns are; so it is of a statistical file,
    whose columns are read from where they were ``rewritten``.
    """

    path: Path
    bytes: int
    sha256: str
    columns: tuple[str, ...]
    lines: int
    blank: int
    continuation: int
    state: tuple[int, ...] = field(repr=False)
    kinds: tuple[str, ...] = ()
    rewritten: Path | None = None

    @property
    def header(self) -> int:
        """Return the number of lines that are the header."""
        return 0 if self.kinds else 1

    @property
    def records(self) -> int:
        """Return the number of data records, the header excluded."""
        return self.lines - self.header - self.blank - self.continuation


@dataclass(slots=True)
class _Scan:
    """Running state of the pass: totals so far, and whether the next block starts inside quotes."""

    name: str
    dialect: Dialect
    lines: int = 0
    blank: int = 0
    continuation: int = 0
    crlf: bool | None = None
    inside: int = 0
    as_utf8: bool | None = None

    def refuse(self, problem: str, block: bytes, position: int) -> InputRefusedError:
        line = self.lines + block.count(b"\n", 0, position) + 1
        return InputRefusedError(
            f"{self.name}, line {line}: {problem}; nothing was loaded. Ask the supplier for the file again"
        )

    def feed(self, block: bytes) -> npt.NDArray[np.int64] | range:
        """Check one block of whole lines; return which of them (0 = its first) start a record."""
        self._check_characters(block)
        data = np.frombuffer(block, np.uint8)
        newline = data == _NEWLINE
        if self._is_plain(block, newline):
            lines = _lines(block, newline)
            self.lines, self.crlf = self.lines + lines, False
            return range(lines)
        ends = np.flatnonzero(newline)
        if not block.endswith(b"\n"):
            ends = np.append(ends, len(block))
        starts = np.concatenate(([0], ends[:-1] + 1))
        starts_inside = (
            self._check_quotes(block, data, ends) if self.inside or b'"' in block else np.zeros(len(ends), bool)
        )
        length = ends - starts
        if int(length.max()) > MAX_LINE:
            raise self.refuse(f"more than {MAX_LINE:,} bytes", block, int(starts[length.argmax()]))
        empty = (length == 0) | ((length == 1) & (data[np.minimum(starts, len(data) - 1)] == _RETURN))
        record = ~starts_inside & ~empty
        beyond = np.flatnonzero(np.diff(starts[record], append=len(block)) > MAX_LINE)
        if len(beyond):  # of a record that began in an earlier block, the parser's blocks tell: they hold whole records
            raise self.refuse(f"a record of more than {MAX_LINE:,} bytes", block, int(starts[record][beyond[0]]))
        self._check_line_ends(block, data, ends, starts_inside)
        self.lines += len(ends)
        self.continuation += int(starts_inside.sum())
        self.blank += int((empty & ~starts_inside).sum())
        return np.flatnonzero(record)

    def _is_plain(self, block: bytes, newline: npt.NDArray[np.bool_]) -> bool:
        """Return whether every line is a record and nothing is left to check: most blocks, and many times faster."""
        if (
            self.inside
            or self.crlf
            or b'"' in block
            or b"\r" in block
            or newline[0]
            or (newline[1:] & newline[:-1]).any()
        ):
            return False
        reached = 0
        while len(block) - reached > MAX_LINE:
            ended = block.rfind(b"\n", reached, reached + MAX_LINE) + 1
            if not ended:
                return False
            reached = ended
        return True

    def _check_characters(self, block: bytes) -> None:
        if (position := block.find(b"\0")) >= 0:
            raise self.refuse("a NUL byte", block, position)
        if block.isascii() or self.as_utf8 is False:
            return
        try:
            block.decode("utf-8")
            self.as_utf8 = True
        except UnicodeDecodeError as error:
            self.as_utf8, position = False, error.start
            if self.dialect.encoding == "utf-8":
                raise self.refuse("a byte that is not UTF-8, the declared encoding", block, position) from None

    def _check_line_ends(
        self,
        block: bytes,
        data: npt.NDArray[np.uint8],
        ends: npt.NDArray[np.int64],
        starts_inside: npt.NDArray[np.bool_],
    ) -> None:
        """Refuse bare carriage returns, and line ends of two kinds (inside quotes either may stand)."""
        returns = block.count(b"\r")
        if returns and returns != block.count(b"\r\n"):
            raise self.refuse("a carriage return without a line feed", block, _bare_return(block))
        if not returns and not self.crlf:
            self.crlf = False
            return
        ended_inside = np.append(starts_inside[1:], bool(self.inside))
        outside = ends[~ended_inside & (ends < len(block))]
        with_return = (outside > 0) & (data[outside - 1] == _RETURN)
        if self.crlf is None and len(outside):
            self.crlf = bool(with_return[0])
        other = outside[with_return != bool(self.crlf)]
        if len(other):
            raise self.refuse("a line end of another kind than before", block, int(other[0]))

    def _check_quotes(
        self, block: bytes, data: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Check that every quote opens or closes a whole field; return which lines start inside quotes.

        Quotes alternate between opening and closing; a doubled quote closes and opens again at once. So an opening
        quote must follow a delimiter, a line start or a closing quote, and a closing one must precede a delimiter,
        a line end or an opening quote.
        """
        quotes = np.flatnonzero(data == _QUOTE)
        opening, closing = quotes[self.inside :: 2], quotes[1 - self.inside :: 2]
        edge = np.array([_NEWLINE], np.uint8)
        padded = np.concatenate((edge, data, edge))
        before, after = padded[opening], padded[closing + 2]
        delimiter = ord(self.dialect.delimiter)
        bad_opening = opening[~np.isin(before, (delimiter, _NEWLINE, _QUOTE))]
        bad_closing = closing[~np.isin(after, (delimiter, _NEWLINE, _RETURN, _QUOTE))]
        bad = np.concatenate((bad_opening, bad_closing))
        if len(bad):
            raise self.refuse("a quote inside an unquoted field, or text after a closing quote", block, int(bad.min()))
        inside = (self.inside + np.searchsorted(quotes, ends)) % 2 == 1
        starts_inside = np.concatenate(([bool(self.inside)], inside[:-1]))
        self.inside = int(inside[-1])
        return starts_inside


def inspect(path: Path, dialect: Dialect, progress: Callable[[int], None] | None = None) -> Inspection:
    """Read a file once, byte by byte, and say what is in it.

    Parameters
    ----------
    path
        A regular file, plain, gzip or zstd (by its first bytes).
    dialect
        Delimiter and encoding that the layout declares.
    progress
        Called with the number of bytes on disk read so far.

    Raises
    ------
    InputRefusedError
        If the file is empty, truncated, not what the dialect says, or breaks a quoting rule; names file and line.
    """
    state = file_state(path)
    scan, digest = _Scan(path.name, dialect), hashlib.sha256()
    columns: tuple[str, ...] = ()
    ended = False
    with ThreadPoolExecutor(1) as aside:
        for block in _blocks(path, progress):
            hashed = aside.submit(digest.update, block)
            first = scan.lines == 0
            content = block.removeprefix(_BOM) if first else block
            if not content:
                break
            header = content[: content.find(b"\n") + 1] or content
            if first:
                _check_header(header, scan)
            ended = block.endswith(b"\n")
            scan.feed(content)
            if first:
                columns = _columns(header, path, dialect)
            hashed.result()
    _check_end(path, scan, ended, bool(columns))
    if file_state(path) != state:
        raise InputRefusedError(f"{path.name} changed while it was read; wait until its delivery has ended")
    return Inspection(
        path, path.stat().st_size, digest.hexdigest(), columns, scan.lines, scan.blank, scan.continuation, state
    )


@dataclass(frozen=True, slots=True)
class Block:
    """Some whole records of a file: their bytes, the number of the first (0 = first after the header), their lines.

    ``lines`` are the physical lines (1 = header) on which records start; ``multiline`` says whether some go on.
    """

    content: bytes
    first: int
    lines: npt.NDArray[np.int64] | range
    multiline: bool


def record_blocks(inspection: Inspection, dialect: Dialect, size: int) -> Iterator[Block]:
    """Yield the records of a file that was inspected, in blocks of about ``size`` bytes."""
    scan, record = _Scan(inspection.path.name, dialect, lines=1), 0
    multiline, plain = inspection.continuation > 0, inspection.continuation == inspection.blank == 0
    for number, block in enumerate(_blocks(inspection.path, None, size, multiline)):
        content = block[block.find(b"\n") + 1 or len(block) :] if number == 0 else block  # without the header
        if not content:
            continue
        first = scan.lines + 1
        if plain:
            scan.lines += _lines(content, np.frombuffer(content, np.uint8) == _NEWLINE)
            lines: npt.NDArray[np.int64] | range = range(first, scan.lines + 1)
        else:
            lines = np.asarray(scan.feed(content)) + first
        yield Block(content, record, lines, multiline)
        record += len(lines)


def _lines(block: bytes, newline: npt.NDArray[np.bool_]) -> int:
    """Return the number of lines in a block, the last one perhaps without its end."""
    return int(np.count_nonzero(newline)) + (not block.endswith(b"\n"))


def file_state(path: Path) -> tuple[int, ...]:
    """Return device, inode, size and modification time, which change when a file is replaced or grows."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise InputRefusedError(f"{path.name} is not a regular file")
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def packed_as(path: Path) -> Literal["none", "gzip", "zstd"]:
    """Return how a file is packed, by its first bytes, whatever its name says."""
    with path.open("rb") as handle:
        start = handle.read(4)
    if start.startswith(b"\x1f\x8b"):
        return "gzip"
    return "zstd" if start == b"\x28\xb5\x2f\xfd" else "none"


def _blocks(
    path: Path, progress: Callable[[int], None] | None, size: int = BLOCK, whole_records: bool = False
) -> Iterator[bytes]:
    """Yield blocks of whole lines, or of whole records; only the last may lack its line end."""
    rest = b""
    with ExitStack() as stack:
        raw = stack.enter_context(path.open("rb"))
        stream: IO[bytes] | gzip.GzipFile | pa.CompressedInputStream = raw
        packed = packed_as(path)
        if packed == "gzip":
            stream = stack.enter_context(gzip.GzipFile(fileobj=raw))
        elif packed == "zstd":
            stream = stack.enter_context(pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd"))
        try:
            while chunk := stream.read(size):
                cut = _end_of_records(rest, chunk) if whole_records else chunk.rfind(b"\n") + 1
                block = b"".join((rest, memoryview(chunk)[:cut])) if cut else b""
                rest = chunk[cut:] if cut else rest + chunk
                if len(rest) > MAX_LINE:
                    raise InputRefusedError(f"{path.name} has a line of more than {MAX_LINE:,} bytes")
                if block:
                    yield block
                if progress:
                    progress(raw.tell())
        except (EOFError, gzip.BadGzipFile, zlib.error, OSError):
            if packed == "none":
                raise
            raise InputRefusedError(f"{path.name} is a damaged or truncated {packed} file; fetch it again") from None
    if rest:
        yield rest


def _end_of_records(rest: bytes, chunk: bytes) -> int:
    """Return where in a chunk the last line ends that does not end inside quotes; ``rest`` stood before it."""
    cut, quotes = chunk.rfind(b"\n") + 1, rest.count(b'"')
    while cut and (quotes + chunk.count(b'"', 0, cut)) % 2:
        cut = chunk.rfind(b"\n", 0, cut - 1) + 1
    return cut


def _check_header(line: bytes, scan: _Scan) -> None:
    """Refuse a header that is UTF-16 or has a stray quote, which would swallow the records below it."""
    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise scan.refuse("a UTF-16 byte order mark; the layout declares " + scan.dialect.encoding, line, 0)
    if line.count(b'"') % 2:
        raise scan.refuse("an unbalanced quote in the header", line, 0)


def _columns(line: bytes, path: Path, dialect: Dialect) -> tuple[str, ...]:
    """Return the names in the header line."""
    text = line.decode(dialect.encoding).rstrip("\r\n")
    try:
        names = tuple(name.strip() for name in next(csv.reader([text], delimiter=dialect.delimiter), []))
    except csv.Error:
        names = ()
    if not names or len(names) > MAX_COLUMNS:
        raise InputRefusedError(f"{path.name}: the first line is not a header of 1 to {MAX_COLUMNS:,} columns")
    return names


def _check_end(path: Path, scan: _Scan, ended: bool, any_content: bool) -> None:
    """Refuse a file that stops half-way: in quotes, or without the final line end or a count that proves it whole."""
    if not any_content:
        raise InputRefusedError(f"{path.name} is empty, without even a header; fetch it again")
    if scan.as_utf8 and scan.dialect.encoding != "utf-8":
        raise InputRefusedError(
            f"{path.name} is UTF-8, although the layout declares {scan.dialect.encoding}: every letter beyond ASCII "
            "would become two others; correct dialect.encoding"
        )
    if scan.inside:
        raise InputRefusedError(f"{path.name} ends inside a quoted field: a stray quote, or the file is truncated")
    declared = sidecar_count(path)
    records = scan.lines - 1 - scan.blank - scan.continuation
    if declared is not None and declared != records:
        raise InputRefusedError(f"{path.name} has {records:,} records, its count file says {declared:,}")
    if declared is None and not ended:
        raise InputRefusedError(
            f"{path.name} does not end with a line end, so it may be truncated; fetch it again, "
            f"or put the number of its records into {path.name}.count"
        )


def sidecar_count(path: Path) -> int | None:
    """Return the number of records that ``<name>.count`` beside the file states."""
    try:
        return int(path.with_name(path.name + ".count").read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise InputRefusedError(f"{path.name}.count does not hold a single whole number") from None


def _bare_return(block: bytes) -> int:
    position = block.find(b"\r")
    while block[position + 1 : position + 2] == b"\n":
        position = block.find(b"\r", position + 1)
    return position
