"""The page on features by themselves: its example runs, and what it names is there."""

from __future__ import annotations

import importlib
import re

import polars as pl


def test_the_example_of_the_page_runs(root):
    page = (root / "docs" / "features.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    made: dict[str, object] = {}
    exec(compile(example, "features.md", "exec"), made)  # noqa: S102 # our own page
    frames = [value for value in made.values() if isinstance(value, pl.DataFrame)]
    assert frames
    assert all(frame.height for frame in frames), "every frame that the page makes has rows to show"


def test_every_module_of_the_page_exists(root):
    page = (root / "docs" / "features.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(cohort\.[a-z_.]+)`", page))
    assert named
    for name in named:
        importlib.import_module(name)
