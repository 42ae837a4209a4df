"""Imports point one way, against the flow (docs/architecture.md)."""

from __future__ import annotations

import ast

import pytest

COMMON = {"time", "errors", "frames", "spec", "shipped", "progress"}
BASE = COMMON | {"store", "codes"}
PERSONS = BASE | {"population", "features", "outcomes"}
RESULTS = PERSONS | {"survival", "effects", "results"}
MAY_IMPORT = {
    **dict.fromkeys(COMMON, COMMON),
    "store": COMMON,
    "codes": BASE,
    "population": PERSONS,
    "features": PERSONS,
    "outcomes": PERSONS,
    "survival": COMMON,
    "effects": COMMON | {"survival"},
    "results": RESULTS,
    "report": RESULTS,
    "engines": BASE,
    "ingest": BASE | {"engines"},
    "simulate": COMMON,
    "checks": BASE | {"ingest", "report", "results"},
}
"""Room → the rooms it may import from, besides itself. The application above them may import everything."""


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cohort."):
            yield node.module.split(".")[1]


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_only_what_lies_below_it(root, room):
    package = root / "src" / "cohort"
    files = [package / f"{room}.py"] if (package / f"{room}.py").is_file() else list((package / room).rglob("*.py"))
    assert files
    found = {(path.name, target) for path in files for target in imported(path)}
    assert {pair for pair in found if pair[1] not in MAY_IMPORT[room] | {room}} == set()
