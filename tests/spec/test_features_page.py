"""The page on features by themselves: its example runs, and what it names is there."""

from __future__ import annotations

import importlib
import re


def test_the_example_of_the_page_runs(root):
    page = (root / "docs" / "features.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    exec(compile(example, "features.md", "exec"), {})  # noqa: S102 # our own page


def test_every_module_of_the_page_exists(root):
    page = (root / "docs" / "features.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(cohort\.[a-z_.]+)`", page))
    assert named
    for name in named:
        importlib.import_module(name)
