"""``cohort run``, ``verify``, ``diff`` and ``prune``: the commands; `cohort.cli` registers them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cohort.errors import InputRefusedError, StudyError
from cohort.progress import LogFormat, LogOption, Reporter

if TYPE_CHECKING:
    from cohort.study import Study

CheckOption = Annotated[
    Path | None, typer.Option(help="counts.json of `cohort check`: the report then says how good the data are.")
]
BiasOption = Annotated[
    Path | None,
    typer.Option(help="Folder of the simulated extracts: show what immortal time does, beside their truth."),
]
Preset = Literal["cms", "nhs", "opensafely", "none"] | None
DisclosureOption = Annotated[
    Preset, typer.Option(help="Rule of a custodian, in place of the study's own; it counts as the study's.")
]
HistoryOption = Annotated[
    Path | None, typer.Option(help="Folder that remembers earlier releases; default: in the store, for its owner.")
]
RunArgument = Annotated[Path, typer.Argument(help="Folder of results (its newest run), or one of its runs/NUMBER.")]


def run(
    study: Annotated[Path, typer.Argument(help="Study file (TOML).")],
    store: Annotated[str | None, typer.Option("--store", help="Folder or URL (s3://…) of the store.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for what is written; made if absent.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print protocol and audit, draw design.svg; read no data.")
    ] = False,
    as_of: Annotated[int | None, typer.Option(min=1, help="Snapshot of the store; default: the newest.")] = None,
    check: CheckOption = None,
    show_bias: BiasOption = None,
    engine: Annotated[
        Literal["local", "spark", "dask"], typer.Option(help="Where the work on persons is done.")
    ] = "local",
    master: Annotated[
        str | None, typer.Option(help="Spark master, such as local[2]; default: that of its settings.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Most memory while buckets are worked on, such as 4GB; local engine only.")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=0, help="Work on buckets in so many processes; local engine only. Default: threads.")
    ] = 0,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Stop after so many seconds (exit 8); the same command goes on.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compute anew although the results of this very run stand.")
    ] = False,
    disclosure: DisclosureOption = None,
    history: HistoryOption = None,
    log_format: LogOption = LogFormat.TEXT,
) -> None:
    """Run a study on a store and publish the report, or explain what it would do. What stands is not computed again."""
    from cohort.engines.named import engine_named
    from cohort.result import raise_if_not_estimable
    from cohort.runs.batch import Job
    from cohort.runs.receipt import estimates_of
    from cohort.stopping import time_limit
    from cohort.store.store import Store
    from cohort.truth import known_truth

    plan = _planned(study, disclosure)
    if explain:
        _explain(plan, out or Path())
        return
    if store is None or out is None:
        raise StudyError("a run needs --store and --out; --explain needs neither")
    chosen = engine_named(engine, master, memory, processes)
    with time_limit(timeout), Reporter(as_json=log_format is LogFormat.JSON) as reporter:
        _warn(plan, reporter)
        data = Store.open(store, as_of=as_of)
        truth = known_truth(show_bias, data) if show_bias else None
        job = Job(plan, data, chosen, out, check=check, force=force, history=history, truth=truth)
        published, new = job.run(reporter)
    stands = "" if new else f", as run {reporter.run_id} left it; nothing was computed (--force does)"
    typer.echo(f"report: {out / 'report.html'}{stands}")
    raise_if_not_estimable(estimates_of(published))


def _planned(study: Path, disclosure: Preset) -> Study:
    """Return the study of a file, under another disclosure rule where one is named."""
    from cohort.results.disclosure_rule import DisclosureRule
    from cohort.study import Study

    plan = Study.from_toml(study)
    return plan if disclosure is None else plan.model_copy(update={"disclosure": DisclosureRule(preset=disclosure)})


def _warn(plan: Study, reporter: Reporter) -> None:
    for finding in plan.audit():
        if finding.severity == "warning":  # errors stop the run, and are its message
            reporter.warn(finding.code, finding.message)


def verify(
    path: Annotated[str, typer.Argument(help="Folder or URL of a store; or report.html or the folder of a run.")],
    log_format: LogOption = LogFormat.TEXT,
) -> None:
    """Hold a store against its manifests, or work out every number of a report again; name all that differs."""
    from cohort.runs.folders import find, is_run
    from cohort.runs.verification import verify_run
    from cohort.store.places import is_remote, place
    from cohort.store.verify import verify as hold_against_manifests

    where = place(path)
    if is_remote(where) or not is_run(where):
        seen = hold_against_manifests(where)
        counted = f"{seen.snapshots} snapshots, {seen.files:,} files, {seen.bytes:,} bytes"
        if seen.problems:
            raise InputRefusedError(f"{counted}: {len(seen.problems)} damaged\n" + "\n".join(seen.problems))
        typer.echo(f"{counted}: all as committed")
        return
    with Reporter(as_json=log_format is LogFormat.JSON) as reporter:
        receipt = verify_run(find(where), reporter)
    for note in receipt.notes:
        typer.echo(f"note: {note}")
    if receipt.differences:
        raise InputRefusedError(
            f"{path}: {len(receipt.differences)} of {receipt.numbers:,} numbers and files differ\n"
            + "\n".join(receipt.differences)
        )
    typer.echo(f"{path}: {receipt.numbers:,} numbers and files, all as worked out again from the store")


def diff(
    run_a: RunArgument,
    run_b: RunArgument,
    out: Annotated[Path | None, typer.Option(help="Write every changed estimate there, as CSV.")] = None,
    log_format: LogOption = LogFormat.TEXT,
) -> None:
    """Say how many persons left and came between two runs, by cause, and which estimates changed."""
    from cohort.results.estimates import write_csv
    from cohort.runs.comparison import compare
    from cohort.runs.folders import find

    with Reporter(as_json=log_format is LogFormat.JSON) as reporter:
        change = compare(find(run_a), find(run_b), reporter)
    typer.echo(change.text())
    if out is not None:
        write_csv(change.estimates, out)


def prune(
    path: Annotated[Path, typer.Argument(help="Folder of a store, or of results.")],
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest snapshots, or runs, stay.")],
) -> None:
    """Remove old snapshots of a store, or old runs of a folder of results; what a published report refers to stays."""
    from cohort.runs.retention import prune_results, prune_store

    removed = prune_store(path, keep) if (path / "manifest").is_dir() else prune_results(path, keep)
    typer.echo(str(removed))


def _explain(plan: Study, folder: Path) -> None:
    from cohort.explain import explain

    typer.echo(f"design diagram: {explain(plan, folder)}")
