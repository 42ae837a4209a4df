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
EFFECT = """
[[analyses]]
kind = "treatment_effect"
treatment = "early_opioid"
adjust_for = "age + sex + charlson"
horizon_days = 364
unsealed = "to compare engines by numbers"
"""
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
def studies(root, store) -> list[Path]:
    """Return the demo study with a propensity score, and the target trial: clones, censored and weighted."""
    effect = store.parent / STUDY
    effect.write_text((root / "examples" / STUDY).read_text().replace("[disclosure]", EFFECT + "\n[disclosure]"))
    return [effect, root / "examples" / "opioid_target_trial.toml"]


def written(out: Path, studies: list[Path]) -> dict[tuple[str, str], bytes]:
    return {(study.stem, name): (out / study.stem / name).read_bytes() for study in studies for name in FILES}


@pytest.fixture(scope="module")
def expected(store, studies) -> dict[tuple[str, str], bytes]:
    for study in studies:
        co.Study.from_toml(study).run(store).report(store.parent / "local" / study.stem)
    return written(store.parent / "local", studies)


def content(store: Path) -> dict[str, list[list[object]]]:
    tables = co.Store.open(store).manifest.tables
    return {name: [[file.bucket, file.sha256] for file in files] for name, files in tables.items()}


def on_cluster(kind: str, task: str, store: Path, out: Path, studies: list[Path]) -> dict[str, object]:
    """Run one task on one cluster; return what it printed last."""
    command = [sys.executable, PROGRAM, kind, task, store.parent / "extract", store, out, *studies]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


KINDS = [
    pytest.param("local[2]", marks=spark),
    pytest.param("local-cluster[2,1,1024]", marks=spark),
    pytest.param("dask", marks=dask),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_made_and_studies_run_on_a_cluster_are_the_same_bytes(kind, store, studies, expected, tmp_path):
    said = on_cluster(kind, "study", store, tmp_path, studies)
    assert said["content"] == content(store)
    assert written(tmp_path, studies) == expected
    assert written(tmp_path / "left", studies[:1]).items() <= expected.items()
    assert list(tmp_path.glob("cohort-table-*")) == []


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[2]])
def test_a_bucket_that_fails_is_named_without_a_value_of_a_person(kind, store, tmp_path):
    said = on_cluster(kind, "fail", store, tmp_path, [])
    assert said["error"].startswith("bucket 3: ZeroDivisionError at on_a_cluster.py:")
    assert "secret" not in said["error"]
    assert said["refused"].startswith("bucket 0: no such column")


@pytest.mark.parametrize("kind", KINDS[1:])
def test_an_executor_that_dies_is_survived(kind, store, studies, expected, tmp_path):
    said = on_cluster(kind, "die", store, tmp_path, studies[:1])
    assert {path.name for path in tmp_path.glob("killed-*")} == {"killed-reading", "killed-writing", "killed-study"}
    assert said["content"] == content(store)
    assert written(tmp_path, studies[:1]).items() <= expected.items()
    assert [str(path) for path in (tmp_path / "store").rglob(".*")] == []


@spark
def test_the_command_line_runs_on_spark(store, studies, expected, tmp_path):
    on_spark = ["--engine", "spark", "--master", "local[2]"]
    cohort = [sys.executable, "-m", "cohort.cli"]
    load = ["ingest", store.parent / "extract", "--layout", "tuva", "--store", tmp_path / "store", "--buckets", "5"]
    subprocess.run([*cohort, *load, "--keep-ids", *on_spark], check=True, capture_output=True)
    assert content(tmp_path / "store") == content(store)
    run = ["run", studies[0], "--store", tmp_path / "store", "--out", tmp_path / studies[0].stem]
    subprocess.run([*cohort, *run, *on_spark], check=True, capture_output=True)
    assert written(tmp_path, studies[:1]).items() <= expected.items()


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
