"""A cluster prints the same bytes as one machine, survives what clusters do, and says no person's value when it fails.

Each cluster lives in a process of its own, since a process has one Java machine. ``make engines`` installs PySpark and
Dask.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cohort as co

STUDY = "low_back_pain.toml"
FILES = ("estimates.csv", "estimates.parquet", "attrition.csv")
PROGRAM = Path(__file__).with_name("on_a_cluster.py")


def absent(engine: str) -> str | None:
    """Return why an engine cannot be tried here."""
    package = {"spark": "pyspark", "dask": "distributed"}[engine]
    if importlib.util.find_spec(package) is None:
        return f"{package} is not installed; `make engines` installs it"
    if engine == "spark" and shutil.which("java") is None:
        return "Spark needs Java, which is not installed"
    return None


spark = pytest.mark.skipif(absent("spark") is not None, reason=absent("spark") or "")
dask = pytest.mark.skipif(absent("dask") is not None, reason=absent("dask") or "")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("engines")
    co.simulate("low_back_pain", persons=800, seed=5, layout="tuva", out=folder / "extract")
    co.ingest(folder / "extract", "tuva", folder / "store", buckets=5, keep_ids=True)
    return folder / "store"


@pytest.fixture(scope="module")
def expected(root, store) -> dict[str, bytes]:
    co.Study.from_toml(root / "examples" / STUDY).run(store).report(store.parent / "local")
    return {name: (store.parent / "local" / name).read_bytes() for name in FILES}


def on_cluster(kind: str, task: str, root: Path, store: Path, out: Path) -> dict[str, str]:
    """Run one task on one cluster; return what it printed last."""
    command = [sys.executable, PROGRAM, kind, task, root / "examples" / STUDY, store, out]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


KINDS = [
    pytest.param("local[2]", marks=spark),
    pytest.param("local-cluster[2,1,1024]", marks=spark),
    pytest.param("dask", marks=dask),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_on_a_cluster_prints_the_same_bytes(kind, root, store, expected, tmp_path):
    on_cluster(kind, "study", root, store, tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == expected


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[2]])
def test_a_bucket_that_fails_is_named_without_a_value_of_a_person(kind, root, store, tmp_path):
    said = on_cluster(kind, "fail", root, store, tmp_path)
    assert said["error"].startswith("bucket 3: ZeroDivisionError at on_a_cluster.py:")
    assert "secret" not in said["error"]
    assert said["refused"].startswith("bucket 0: no such column")


@spark
def test_an_executor_that_dies_is_survived(root, store, expected, tmp_path):
    on_cluster("local-cluster[2,1,1024]", "die", root, store, tmp_path)
    assert (tmp_path / "killed").exists()
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == expected


@dask
def test_a_worker_that_dies_is_survived(root, store, expected, tmp_path):
    on_cluster("dask", "die", root, store, tmp_path)
    assert (tmp_path / "killed").exists()
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == expected


@spark
def test_the_command_line_runs_on_spark(root, store, expected, tmp_path):
    command = [sys.executable, "-m", "cohort.cli", "run", root / "examples" / STUDY, "--store", store]
    command += ["--out", tmp_path, "--engine", "spark", "--master", "local[2]"]
    subprocess.run(command, check=True, capture_output=True)
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == expected


def test_a_master_without_spark_is_a_usage_error(root, store, tmp_path):
    command = [sys.executable, "-m", "cohort.cli", "run", root / "examples" / STUDY, "--store", store]
    done = subprocess.run(
        [*command, "--out", tmp_path, "--master", "local[2]"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--master is for --engine spark" in done.stderr


def test_an_engine_that_is_not_installed_names_its_extra(root, store, tmp_path):
    program = (
        "import sys; sys.modules['pyspark'] = sys.modules['pyspark.sql'] = None; sys.modules['distributed'] = None\n"
        "import cohort as co\n"
        "for engine in (co.engines.spark, co.engines.dask):\n"
        "    try: engine()\n"
        "    except co.CohortError as error: print(error.exit_code, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith("2 ")
    assert "extra `spark`" in first
    assert "extra `dask`" in second
