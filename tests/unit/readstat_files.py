"""A SAS file for tests: pyreadstat's library can write one, to which pyreadstat itself lends no function."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import pytest

_STRING, _DOUBLE = 0, 5
MISSING_A = object()
"""The special missing value .A of SAS."""


def write_sas7bdat(path: Path, columns: dict[str, tuple[str | None, Sequence[object]]]) -> None:
    """Write columns, name → (format, values); a value is a text, a number, None or `MISSING_A`."""
    library, content = _library(), bytearray()

    @ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    def append(data: int, size: int, _: int) -> int:
        content.extend(ctypes.string_at(data, size))
        return size

    writer = ctypes.c_void_p(library.readstat_writer_init())
    library.readstat_set_data_writer(writer, append)
    variables = [_variable(library, writer, name, *column) for name, column in columns.items()]
    rows = list(zip(*(values for _, values in columns.values()), strict=True))
    assert library.readstat_begin_writing_sas7bdat(writer, None, ctypes.c_long(len(rows))) == 0
    for row in rows:
        library.readstat_begin_row(writer)
        for variable, value in zip(variables, row, strict=True):
            _insert(library, writer, variable, value)
        library.readstat_end_row(writer)
    assert library.readstat_end_writing(writer) == 0
    library.readstat_writer_free(writer)
    path.write_bytes(content)


def _variable(
    library: ctypes.CDLL, writer: ctypes.c_void_p, name: str, written_as: str | None, values: Sequence[object]
) -> ctypes.c_void_p:
    kind = _STRING if any(isinstance(value, str) for value in values) else _DOUBLE
    width = max(len(str(value).encode()) for value in values) if kind == _STRING else 0
    added = ctypes.c_void_p(library.readstat_add_variable(writer, name.encode(), kind, ctypes.c_size_t(width)))
    if written_as:
        library.readstat_variable_set_format(added, written_as.encode())
    return added


def _insert(library: ctypes.CDLL, writer: ctypes.c_void_p, variable: ctypes.c_void_p, value: object) -> None:
    if value is None:
        library.readstat_insert_missing_value(writer, variable)
    elif value is MISSING_A:
        library.readstat_insert_tagged_missing_value(writer, variable, ctypes.c_char(b"A"))
    elif isinstance(value, str):
        library.readstat_insert_string_value(writer, variable, value.encode())
    else:
        library.readstat_insert_double_value(writer, variable, ctypes.c_double(value))


def _library() -> ctypes.CDLL:
    package = Path(pytest.importorskip("pyreadstat").__file__).parent
    compiled = next(package.glob("_readstat_writer*.so"), None)
    library = ctypes.CDLL(str(compiled)) if compiled else None
    if not hasattr(library, "readstat_begin_writing_sas7bdat"):
        pytest.skip("this build of pyreadstat hides the writer of sas7bdat")
    library.readstat_writer_init.restype = ctypes.c_void_p
    library.readstat_add_variable.restype = ctypes.c_void_p
    return library
