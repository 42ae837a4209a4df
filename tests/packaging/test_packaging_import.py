"""``import cohort`` is cheap: a notebook or a batch job pays for a library when it first uses it."""

from __future__ import annotations

import statistics
import subprocess
import sys
import textwrap

import pytest


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_import_loads_no_heavy_library():
    loaded = python("""
        import sys
        import cohort
        heavy = {"pandas", "lifelines", "matplotlib", "polars", "duckdb"}
        print(*sorted({name.split(".")[0] for name in sys.modules} & heavy))
    """)
    assert loaded == ""


def test_a_study_loads_neither_pandas_nor_lifelines_nor_matplotlib():
    loaded = python("""
        import sys
        import cohort as co
        co.Study, co.Store, co.cox, co.ingest
        print(*sorted({name.split(".")[0] for name in sys.modules} & {"pandas", "lifelines", "matplotlib"}))
    """)
    assert loaded == ""


def test_import_takes_less_than_half_a_second():
    """The only timed assertion of the suite: the limit is a promise to users, and ten times what is measured."""
    seconds = python("""
        import subprocess, sys, time
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", "import cohort"], check=True)
            print(time.perf_counter() - start)
    """)
    assert statistics.median(float(line) for line in seconds.splitlines()) < 0.5


def test_every_public_name_is_there():
    import cohort as co

    for name in co.__all__:
        assert getattr(co, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    import cohort as co

    with pytest.raises(AttributeError, match="no attribute 'surival'"):
        _ = co.surival


def test_a_public_function_is_not_hidden_by_the_room_of_its_name():
    kinds = python("""
        import cohort as co
        import cohort.ingest.load, cohort.simulate.run
        print(type(co.ingest).__name__, type(co.simulate).__name__)
    """)
    assert kinds == "function function"
