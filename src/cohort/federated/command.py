"""``cohort counts`` and ``cohort combine``: the commands; `cohort.cli` registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cohort.errors import StudyError
from cohort.progress import LogFormat, LogOption, Reporter


def counts(
    study: Annotated[Path, typer.Argument(help="Study file (TOML), the same at every site.")],
    store: Annotated[str, typer.Option("--store", help="Folder or URL of this site's store.")],
    out: Annotated[Path, typer.Option("--out", help="File to write, such as site_a.counts.")],
    site: Annotated[str | None, typer.Option(help="Name of the site; default: the file's.")] = None,
    as_of: Annotated[int | None, typer.Option(min=1, help="Snapshot of the store; default: the newest.")] = None,
    history: Annotated[
        Path | None, typer.Option(help="Folder that remembers earlier releases; default: in the store, for its owner.")
    ] = None,
    log_format: LogOption = LogFormat.TEXT,
) -> None:
    """Write what this site's persons add up to under the study's disclosure rule, for `cohort combine`."""
    from cohort.federated.site import site_counts
    from cohort.results.history import NO_HISTORY, writable_history
    from cohort.store.store import Store
    from cohort.study import Study

    if out.is_dir():
        raise StudyError(f"{out} is a folder; give the file to write, such as {out / 'site_a.counts'}")
    with Reporter(as_json=log_format is LogFormat.JSON) as reporter:
        opened, plan = Store.open(store, as_of=as_of), Study.from_toml(study)
        remembered = history or writable_history(opened.path)
        if remembered is None and not plan.disclosure.off:
            reporter.warn("no_history", NO_HISTORY)
        made = site_counts(plan, opened, site or out.stem, reporter, history=remembered)
    made.write(out)
    days = "every day apart" if made.width == 1 else f"days in intervals of {made.width}"
    typer.echo(f"{out}: {made.cells.height:,} cells, {days}")


def combine(
    files: Annotated[list[Path], typer.Argument(help="Files of `cohort counts`, one a site.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for what is written; made if absent.")],
    one_baseline: Annotated[
        bool, typer.Option("--one-baseline", help="Take one baseline hazard for all sites; default: one for each.")
    ] = False,
) -> None:
    """Estimate from several sites' counts as from their pooled persons, and write the report."""
    from cohort.federated.pooled import combine as combine_sites

    pooled = combine_sites(files, one_baseline=one_baseline)
    typer.echo(f"report: {pooled.report(out)}")
    pooled.raise_if_not_estimable()
