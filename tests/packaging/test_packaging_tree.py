"""What the repository must and must not hold."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib

import pytest

ALLOWED_IMPORTERS = {
    "pandas": ("survival/_lifelines/",),
    "lifelines": ("survival/_lifelines/", "bench/peers.py"),  # the latter times it, each time in a process of its own
}


def tracked(root):
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout, so there is no list of tracked files")
    return [root / name for name in listed.stdout.splitlines()]


def test_no_file_names_a_package_registry_or_a_download(root):
    address = re.compile(
        r"https?://\S+/(simple|packages)/|https?://\S+\.(whl|tar\.gz|zip)\b|py" + r"pi\.|file" + "s.pythonhosted"
    )
    texts = [
        path for path in tracked(root) if path.suffix in {".py", ".toml", ".md", ".txt", ".sql", "", ".html", ".j2"}
    ]
    assert texts
    found = [path.name for path in texts if path.is_file() and address.search(path.read_text(errors="ignore"))]
    assert found == []


def test_every_dependency_says_why(root):
    lines = (root / "pyproject.toml").read_text().splitlines()
    bounds = [line for line in lines if re.match(r'    "[A-Za-z0-9_-]+[><=]', line)]
    assert len(bounds) >= 15
    assert [line for line in bounds if not re.search(r",\s+# \S.{9,}", line)] == []


@pytest.mark.parametrize("library", sorted(ALLOWED_IMPORTERS))
def test_only_these_modules_import(root, library):
    package = root / "src" / "cohort"
    importers = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == library for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == library)
    }
    assert [name for name in importers if not name.startswith(ALLOWED_IMPORTERS[library])] == []


def test_modules_and_functions_stay_small(root):
    package = root / "src" / "cohort"
    long_modules = [str(p) for p in package.rglob("*.py") if p.read_text().count("\n") > 500]
    long_functions = [
        f"{path.relative_to(package)}:{node.name}"
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 60
    ]
    assert (long_modules, long_functions) == ([], [])


def test_the_wheel_carries_sql_and_examples(root):
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    forced = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert forced == {"sql": "cohort/_sql", "examples": "cohort/_examples"}
