"""``cohort check``: the command; `cohort.cli` registers it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cohort.errors import StudyError
from cohort.progress import LogFormat, LogOption, Reporter


def check(
    store: Annotated[Path | None, typer.Argument(help="Folder of the store.")] = None,
    thresholds: Annotated[Path | None, typer.Option(help="TOML file with what differs from the shipped rules.")] = None,
    counts: Annotated[
        Path | None, typer.Option(help="With STORE: save the counts there. Without: judge the counts saved there.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for check.html, check.json, check.csv, counts.json.")] = None,
    as_of: Annotated[int | None, typer.Option(min=1, help="Snapshot of the store; default: the newest.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory limit of the engine, such as 4GB.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Print every rule, not only those in trouble.")] = False,
    log_format: LogOption = LogFormat.TEXT,
) -> None:
    """Check a store against the rules of data quality; exit code 3 if it does not pass."""
    from rich.console import Console

    from cohort.checks.check import check as check_store
    from cohort.checks.check import recheck
    from cohort.checks.document import show
    from cohort.store.store import Store

    if store is not None:
        with Reporter(as_json=log_format is LogFormat.JSON) as reporter:
            opened = Store.open(store, as_of=as_of)
            result = check_store(opened, thresholds, out, memory_limit=memory, progress=reporter)
        if counts is not None:
            counts.write_text(result.counts.to_json(), encoding="utf-8")
    elif counts is not None and as_of is None:
        result = recheck(counts, thresholds, out)
    else:
        raise StudyError("give the folder of a store, or --counts FILE with counts of one")
    console = Console()
    show(result, console if console.is_terminal else Console(width=200), every)
    raise typer.Exit(result.exit_code)
