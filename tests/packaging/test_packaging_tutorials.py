"""What the tutorials print runs as printed: every command, every snippet, every line that a scheduler would start."""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import types

import pytest

HAS = {
    "dask": importlib.util.find_spec("distributed") is not None,
    "spark": importlib.util.find_spec("pyspark") is not None and shutil.which("java") is not None,
}


def page(root, name):
    return (root / "docs" / name).read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)


def commands(text, program):
    return [line.strip() for line in re.findall(rf"^    ({program} .*)$", text, flags=re.M)]


def start(arguments, folder, **variables):
    environment = os.environ | variables
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def batch(root, tmp_path_factory):
    """The folder of a batch job, after every command of the page that needs no cluster, and what each printed."""
    folder = tmp_path_factory.mktemp("batch")
    (folder / "examples").symlink_to(root / "examples")
    lines = [line for line in commands(page(root, "batch_reports.md"), "cohort") if "--engine" not in line]
    done = {line: start([sys.executable, "-m", "cohort.cli", *shlex.split(line)[1:]], folder) for line in lines}
    return folder, done


def test_the_scripts_run_in_order(root, tmp_path):
    snippets = blocks(page(root, "scripts.md"), "python")
    assert len(snippets) >= 6
    (tmp_path / "script.py").write_text("\n".join(snippets), encoding="utf-8")
    done = start([sys.executable, "script.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "out/report.html" in done.stdout
    assert "risk_difference" in done.stdout
    assert "effective_size" in done.stdout


def test_the_batch_commands_run(batch):
    folder, done = batch
    verbs = [line.split()[1] for line in done]
    assert verbs == [
        "simulate",
        "ingest",
        "check",
        "run",
        "run",
        "verify",
        "verify",
        "diff",
        "prune",
        "prune",
        "run",
        "run",
    ]
    assert {line: said.stderr for line, said in done.items() if said.returncode != 0} == {}
    assert (folder / "report" / "report.html").is_file()


def test_a_report_is_its_own_receipt_and_does_not_differ_from_itself_made_again(batch):
    _, done = batch
    said = {" ".join(line.split()[1:3]): seen.stdout for line, seen in done.items()}
    assert "all as worked out again from the store" in said["verify report/report.html"]
    assert "0 of " in said["diff report_again"]
    assert said["prune report"] == "runs removed: none; 0 bytes freed\n"


def test_memory_and_processes_print_the_same_bytes(batch):
    folder, _ = batch
    usual, small = ((folder / name / "estimates.csv").read_bytes() for name in ("report", "report_small"))
    assert usual == small


def test_an_earlier_snapshot_gives_the_same_numbers_again(batch):
    folder, _ = batch
    first, again = ((folder / name / "estimates.csv").read_bytes() for name in ("report", "report_again"))
    assert first == again


def test_json_logs_look_as_printed(root, batch):
    _, done = batch
    (printed,) = blocks(page(root, "batch_reports.md"), "json")
    logged = next(said.stderr for line, said in done.items() if line.startswith("cohort run"))
    steps = [line for line in map(json.loads, logged.splitlines()) if "step" in line]
    assert [set(json.loads(printed))] * len(steps) == [set(step) for step in steps]
    assert len(steps) == 2
    assert json.loads(printed)["step"] in {step["step"] for step in steps}


def test_what_cron_and_systemd_start_runs(root, batch, tmp_path):
    text, (folder, _) = page(root, "batch_reports.md"), batch
    (script,) = blocks(text, "sh")
    (folder / "monthly.sh").write_text(script, encoding="utf-8")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "cohort").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cohort.cli "$@"\n', encoding="utf-8")
    (programs / "cohort").chmod(0o755)
    (line,) = blocks(text, "crontab")
    fields, command = re.fullmatch(r"((?:\S+ ){5})(.*)\n", line).groups()
    assert re.fullmatch(r"(?:(?:\d+|\*) ){5}", fields)
    job = command.replace("/srv/pain", shlex.quote(str(folder)))
    before = (folder / "report" / "report.html").read_bytes()
    assert start(["/bin/sh", "-c", job], tmp_path, PATH=f"{programs}:{os.environ['PATH']}").returncode == 0
    assert (folder / "report" / "report.html").read_bytes() == before
    assert (folder / "monthly.log").read_text().count('"step": "check"') == 2
    assert "nothing was computed" in (folder / "monthly.out").read_text()  # the run of the page stands
    service = blocks(text, "ini")[0]
    started = re.search(r"^ExecStart=(.*)$", service, flags=re.M)[1]
    assert shlex.split(started) == ["/bin/sh", shlex.split(command)[4]]  # what was just tried


def test_airflow_starts_what_was_tried(root, batch, monkeypatch):
    """Airflow is not installed here: what the file imports of it is stood in for, and what it would start is run."""
    (source,) = blocks(page(root, "batch_reports.md"), "python")
    folder, _ = batch
    tasks = []

    class Operator:
        def __init__(self, **options):
            tasks.append(self)
            self.options, self.after = options, None

        def __rshift__(self, other):
            other.after = self
            return other

    class Dag:
        def __init__(self, **options):
            self.options = options

        __enter__ = __exit__ = lambda self, *_: None

    names = [
        "airflow",
        "airflow.sdk",
        *(f"airflow.providers{part}" for part in ("", ".standard", ".standard.operators")),
    ]
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(
        sys.modules, "airflow.providers.standard.operators.bash", types.SimpleNamespace(BashOperator=Operator)
    )
    sys.modules["airflow.sdk"].DAG = Dag
    exec(compile(source, "monthly_pain_report.py", "exec"), {"__name__": "dag"})  # noqa: S102 -- our own page
    assert [task.options["task_id"] for task in tasks] == ["load", "check", "report"]
    assert [task.after for task in tasks] == [None, *tasks[:2]]
    for task in tasks:
        line = task.options["bash_command"]
        done = start([sys.executable, "-m", "cohort.cli", *shlex.split(line)[1:]], folder)
        assert done.returncode == 0, done.stderr


def test_the_units_are_units(root, tmp_path):
    service, timer = (configparser.ConfigParser(interpolation=None) for _ in range(2))
    for unit in (service, timer):
        unit.optionxform = str
    one, other = blocks(page(root, "batch_reports.md"), "ini")
    service.read_string(one)
    timer.read_string(other)
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["SuccessExitStatus"] == "5"
    assert timer["Install"]["WantedBy"] == "timers.target"
    if shutil.which("systemd-analyze"):
        when = start(["systemd-analyze", "calendar", timer["Timer"]["OnCalendar"]], tmp_path)
        assert when.returncode == 0, when.stderr


def test_exit_codes_are_those_of_the_errors(root):
    from cohort import errors

    printed = {int(code) for code in re.findall(r"^\| (\d) \|", page(root, "batch_reports.md"), flags=re.M)}
    raised = {one.exit_code for one in vars(errors).values() if isinstance(one, type) and hasattr(one, "exit_code")}
    assert printed == raised | {0}


@pytest.mark.parametrize("engine", ["dask", "spark"])
def test_clusters_print_the_same_numbers(root, batch, engine):
    if not HAS[engine]:
        pytest.skip(f"{engine} is not installed")
    folder, _ = batch
    (line,) = (line for line in commands(page(root, "batch_reports.md"), "cohort") if f"--engine {engine}" in line)
    done = start([sys.executable, "-m", "cohort.cli", *shlex.split(line)[1:]], folder)
    assert done.returncode == 0, done.stderr
    report = folder / f"report_{engine}" / "estimates.csv"
    assert report.read_bytes() == (folder / "report" / "estimates.csv").read_bytes()


def test_the_benchmarks_run_and_leave_the_results_alone(root, tmp_path):
    speed = commands(page(root, "benchmarks.md"), "python")
    validity = commands(page(root, "benchmarks.md"), "cohort")
    assert [line.split()[1] for line in (*speed, *validity)] == ["benchmarks/run.py", "bench"]
    (tmp_path / "benchmarks").symlink_to(root / "benchmarks")
    before = {path: path.stat().st_mtime_ns for path in (root / "benchmarks" / "results").rglob("*")}
    as_modules = {"python": [], "cohort": ["-m", "cohort.cli"]}
    for line in (*speed, *validity):
        program, *arguments = shlex.split(line)
        done = start([sys.executable, *as_modules[program], *arguments], tmp_path)
        assert done.returncode == 0, f"{line}: {done.stderr}"
    assert {path: path.stat().st_mtime_ns for path in (root / "benchmarks" / "results").rglob("*")} == before
    kept = (tmp_path / "scratch" / "validity" / "null_effect.csv").read_text(encoding="utf-8").splitlines()
    assert len(kept) > 16
    assert (tmp_path / "scratch" / "validity.csv").read_text(encoding="utf-8").startswith("scenario,")


def test_the_columns_of_the_benchmarks_are_explained(root):
    text = page(root, "benchmarks.md")
    for results in ("survival.csv", "validity.csv"):
        header = (root / "benchmarks" / "results" / results).read_text(encoding="utf-8").splitlines()[0].split(",")
        assert [column for column in header if f"`{column}`" not in text] == []
    suites = {path.stem for path in (root / "benchmarks" / "config").glob("*.toml")}
    assert set(re.findall(r"^\| `(\w+)` \| [a-z]", text, flags=re.M)) >= suites


@pytest.mark.parametrize("name", ["scripts.md", "batch_reports.md", "benchmarks.md"])
def test_every_link_of_a_tutorial_leads_somewhere(root, name):
    links = re.findall(r"\]\(([^)#]+)\)", page(root, name))
    assert [link for link in links if not (root / "docs" / link).exists()] == []
