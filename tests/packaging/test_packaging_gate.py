"""The release gate's room is the only place from which a released file is written."""

from __future__ import annotations

import ast

WRITERS = {
    "results/publication.py",  # the gate's writer
    "results/estimates.py",  # the table whose files it stages
    "report/document.py",  # what else the gate's writer stages, made from `Released`
    "report/files.py",
    "report/publication.py",  # tables for a manuscript, made from the same
}
KEPT = {
    "study.py": "the study file, which holds no data",
    "explain.py": "the picture of a design, before any data is read",
    "why.py": "where a run's store is, for the data holder",
    "cli.py": "nothing but messages",
}
"""Modules of the application that write what is no result."""
WRITE = {"write_text", "write_bytes", "write_csv", "write_parquet", "write_json", "write_ndjson", "write_ipc"}
WRITE |= {"write_excel", "write_avro", "sink_csv", "sink_parquet", "sink_ndjson", "savefig", "dump"}
MODES = {"w", "a", "x", "wb", "ab", "xb", "w+", "r+", "wt"}


def writes(path) -> bool:
    """Return whether a module calls something that writes a file; what is written into a buffer is none."""
    tree = ast.parse(path.read_text())
    buffers = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _name(node.value).endswith("IO")
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        modes = {part.value for part in given if isinstance(part, ast.Constant) and isinstance(part.value, str)}
        buffered = any(isinstance(part, ast.Name) and part.id in buffers for part in given)
        to_a_file = _name(call) in WRITE and given and not buffered  # without a target the text is returned
        if to_a_file or (_name(call) == "open" and modes & MODES):
            return True
    return False


def _name(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def test_no_module_that_sees_results_writes_a_file_but_the_gates_own(root):
    package = root / "src" / "cohort"
    rooms = [package / "results", package / "report", package / "survival", package / "effects"]
    seen = [path for room in rooms for path in room.rglob("*.py")] + list(package.glob("*.py"))
    found = {path.relative_to(package).as_posix() for path in seen if writes(path)}
    assert found - set(KEPT) == WRITERS | {"multiverse.py"}  # a specification curve, written by the table's own writer


def test_a_multiverse_writes_with_the_gates_function_only(root):
    tree = ast.parse((root / "src/cohort/multiverse.py").read_text())
    called = {
        getattr(node.func, "attr", getattr(node.func, "id", ""))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    assert called & WRITE == {"write_csv"}
    imported = {
        (node.module, name.name) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names
    }
    assert ("cohort.results.estimates", "write_csv") in imported
