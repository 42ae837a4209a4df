"""The command line: from extracts to reports, and what keeps both in order.

Every command shows a bar per step on a terminal and one log line per step elsewhere, and ends with the exit code of
`cohort.errors`. Imports are inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from cohort.bench import command as benchmarks
from cohort.checks import command as checks
from cohort.codes import command as codes
from cohort.errors import CohortError, ResourceError, StoppedError, StudyError
from cohort.federated import command as federated
from cohort.progress import LogFormat, LogOption, Reporter
from cohort.runs import command as runs
from cohort.shipped import shipped
from cohort.stopping import Stop, end_now, stop_on_signals

app = typer.Typer(
    name="cohort",
    help="Claims and registry extracts in; how long pain lasts, who becomes chronic, who responds to treatment out.",
    epilog="Exit codes: 0 done · 2 usage or study file · 3 input refused · 4 another run holds the lock · "
    "5 model not estimable (the report still stands) · 6 out of disk or memory · 7 release gate refused · "
    "8 stopped before the end (Ctrl-C, SIGTERM, --timeout).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, and those can be a person's
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


StoreOption = Annotated[Path, typer.Option("--store", help="Folder of the store.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder for what is written; made if absent.")]


def _persons(text: str | int) -> int:
    """Return a number of persons, which may be written as 1e6."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (number >= 1 and number.is_integer()):
        raise typer.BadParameter("give a whole number of at least 1, such as 20000 or 1e6")
    return int(number)


PersonsOption = Annotated[
    int, typer.Option(parser=_persons, metavar="NUMBER", help="Number of persons to simulate, such as 20000 or 1e6.")
]


@app.command()
def demo(
    out: OutOption = Path("demo"), persons: PersonsOption = 20_000, log_format: LogOption = LogFormat.TEXT
) -> None:
    """Simulate claims, ingest them, run the example study, and say where the report is."""
    study = shipped("examples") / "low_back_pain.toml"
    simulate(out / "extracts", persons=persons, log_format=log_format)
    ingest(out / "extracts", layout="tuva", store=out / "store", log_format=log_format)
    runs.run(study, store=str(out / "store"), out=out / "report", log_format=log_format)


@app.command()
def simulate(
    out: OutOption,
    scenario: Annotated[str, typer.Option(help="Shipped scenario, or path of a scenario file.")] = "low_back_pain",
    persons: PersonsOption = 20_000,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 7,
    layout: Annotated[str, typer.Option(help="Layout of the extract files.")] = "tuva",
    dirt: Annotated[float, typer.Option(min=0.0, max=1.0, help="From spotless (0) to hostile (1).")] = 0.0,
    file_format: Annotated[
        Literal["csv", "csv.gz", "parquet"], typer.Option("--format", help="Format of the extract files.")
    ] = "csv",
    log_format: LogOption = LogFormat.TEXT,
) -> None:
    """Write the extracts of a simulated population whose truth is known."""
    from cohort.simulate.run import simulate as write_extracts

    with Reporter(as_json=log_format is LogFormat.JSON) as reporter:
        made = write_extracts(
            scenario,
            persons=persons,
            seed=seed,
            layout=layout,
            out=out,
            dirt=dirt,
            format=file_format,
            progress=lambda done, total: reporter("simulate", done, total),
        )
    typer.echo(f"{made.persons:,} persons in {len(made.files)} files under {out}, their truth in {out / 'truth'}")


@app.command()
def ingest(
    extracts: Annotated[Path, typer.Argument(help="Folder with the supplier's files.")],
    layout: Annotated[str, typer.Option(help="Shipped layout, or path of a layout folder.")],
    store: StoreOption,
    buckets: Annotated[int | None, typer.Option(min=1, max=256, help="Default: chosen from the data's size.")] = None,
    add: Annotated[
        bool, typer.Option("--add", help="Add to what the store holds (and keep lines for more), instead of replacing.")
    ] = False,
    key_file: Annotated[Path | None, typer.Option(help="Key of the pseudonyms (mode 0600).")] = None,
    keep_ids: Annotated[bool, typer.Option("--keep-ids", help="Identifiers are already pseudonyms.")] = False,
    link_table: Annotated[
        Path | None, typer.Option(help="Write which identifier a pseudonym is (Parquet, in a private folder).")
    ] = None,
    max_reject_rate: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="More rejected lines refuse the load.")
    ] = 0.001,
    extracted_on: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Day of the extract, default today; no event is later."),
    ] = None,
    engine: Annotated[
        Literal["local", "spark", "dask"], typer.Option(help="Where files are read and buckets written.")
    ] = "local",
    master: Annotated[str | None, typer.Option(help="Spark master; default: that of its settings.")] = None,
    log_format: LogOption = LogFormat.TEXT,
) -> None:
    """Load extract files into a store, with an account of every line."""
    from cohort.engines.named import engine_named
    from cohort.ingest.load import ingest as load

    chosen = engine_named(engine, master)
    with Reporter(as_json=log_format is LogFormat.JSON) as reporter:
        loaded = load(
            extracts,
            layout,
            store,
            buckets=buckets,
            add=add,
            key_file=key_file,
            keep_ids=keep_ids,
            link_table=link_table,
            max_reject_rate=max_reject_rate,
            extracted_on=extracted_on.date() if extracted_on else None,
            engine=chosen,
            progress=reporter,
        )
    typer.echo(str(loaded.account))


app.command()(checks.check)
app.add_typer(codes.app)
app.command()(benchmarks.bench)


for command in (runs.verify, runs.run, runs.diff, runs.prune, federated.counts, federated.combine):
    app.command()(command)


@app.command()
def push(
    store: Annotated[Path, typer.Argument(help="Folder of the store.")],
    target: Annotated[str, typer.Argument(help="Where it is copied to, such as s3://bucket/store.")],
) -> None:
    """Copy a store to an object store, without what is private; studies read it there (run --store s3://…)."""
    from cohort.store.places import place
    from cohort.store.push import push as send

    sent = send(store, place(target))
    typer.echo(f"{target}: {sent.snapshots} snapshots, {sent.files:,} files, {sent.bytes:,} bytes sent")


@app.command()
def why(
    run: Annotated[Path, typer.Argument(help="Folder that a run has written.")],
    person: Annotated[str, typer.Argument(help="Pseudonym (person_id), or - for the identifier on standard input.")],
    extracts: Annotated[Path | None, typer.Option(help="Folder of the loaded files: say which lines rows are.")] = None,
    layout: Annotated[Path | None, typer.Option(help="Folder of the layout, if it is your own.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="Key of the pseudonyms, if it is not the store's own.")] = None,
    keep_ids: Annotated[bool, typer.Option("--keep-ids", help="The store was ingested with --keep-ids.")] = False,
) -> None:
    """Replay one person: each rule, its verdict, and the rows that decided it. Shows personal data on the terminal."""
    from cohort.ingest.pseudonyms import key_of, pseudonym_of
    from cohort.ingest.source_lines import lines_of
    from cohort.runs.receipt import recall
    from cohort.why import why

    study, store = recall(run)
    if person == "-":  # arguments are seen by others on the machine, an identifier must not be
        key = key_of(store.path, store.manifest.key_id, key_file, keep_ids)
        number = pseudonym_of(key, sys.stdin.readline())
    elif person.isdecimal():
        number = int(person)
    else:
        raise StudyError("PERSON is a pseudonym, a whole number; give an identifier on standard input (PERSON = -)")
    found = why(study, store, number)
    lines = lines_of(extracts, store, number, layout, key_file, keep_ids) if extracts else None
    typer.echo(found.text(lines))


@app.command()
def circe(
    file: Annotated[Path, typer.Argument(help="OHDSI cohort definition (Circe expression, JSON).")],
    descendants: Annotated[
        Path | None, typer.Option(help="CSV: system, code, descendant; for SNOMED and RxNorm, from a vocabulary.")
    ] = None,
    entry_only: Annotated[
        bool, typer.Option("--entry-only", help="Read who enters and when; follow-up is yours to say.")
    ] = False,
) -> None:
    """Print an OHDSI cohort definition as the cohort of a study file; what cannot be said is refused by name."""
    import tomli_w

    from cohort.circe.expression import from_circe

    cohort = from_circe(file, descendants=descendants, entry_only=entry_only)
    typer.echo(tomli_w.dumps({"cohort": cohort.model_dump(exclude_none=True)}), nl=False)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the study file, for editors that complete and check its keys."""
    typer.echo((resources.files("cohort") / "study.schema.json").read_text("utf-8"), nl=False)


def main() -> None:
    """Run the command line; every failure ends in its documented exit code and a message without a traceback."""
    os.umask(0o077)
    stop_on_signals()
    try:
        app()
    except Stop as stop:
        _fail(StoppedError(f"{stop}; nothing half-done counts, and the same command begins again"))
    except CohortError as error:
        _fail(error)
    except MemoryError:
        _fail(ResourceError("out of memory; old results are untouched. Use more buckets or a larger machine"))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _fail(ResourceError("the disk is full; old results are untouched. Free space and run again"))
        _fail(_without_values(error))
    except Exception as error:
        if os.environ.get("COHORT_DEBUG"):
            raise
        _fail(_without_values(error))


def _without_values(error: Exception) -> CohortError:
    """Return what may be said of an error that nobody foresaw: its kind and place, not its text."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    reason = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
    return CohortError(
        f"unexpected {type(error).__name__}{reason} at {Path(place.filename).name}:{place.lineno}; please report it. "
        "COHORT_DEBUG=1 shows the traceback, which may quote values of persons"
    )


def _fail(error: CohortError) -> NoReturn:
    print(f"cohort: error: {error}", file=sys.stderr)
    if isinstance(error, StoppedError):  # threads may still be at work
        sys.stderr.flush()
        end_now(error.exit_code)
    sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
