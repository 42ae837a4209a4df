"""The shipped lists are what the builder makes of the facts, byte for byte."""

from __future__ import annotations

import runpy


def test_the_builder_makes_the_shipped_files(root, shared, tmp_path):
    builder = runpy.run_path(str(root / "tools/build_codelists.py"))
    builder["main"](shared / "facts", tmp_path)
    for room in ("codes", "features"):
        built = {file.name: file.read_bytes() for file in (tmp_path / room / "data").iterdir()}
        shipped = {file.name: file.read_bytes() for file in (root / "src/cohort" / room / "data").iterdir()}
        assert built.keys() == shipped.keys()
        assert [name for name in built if built[name] != shipped[name]] == []
