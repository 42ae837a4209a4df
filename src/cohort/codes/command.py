"""``cohort codelist``: what a new version of a list changes, what a list does on a store. `cohort.cli` registers it.

Both print CSV. Codes that few persons have are left out of the second, so that its output may be passed on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

if TYPE_CHECKING:
    import polars as pl

    from cohort.codes.codelist import Codelist
    from cohort.store.store import Store

app = typer.Typer(name="codelist", help="Compare codelists, and hold one against a store.", no_args_is_help=True)

ListArgument = Annotated[str, typer.Argument(help="Name of a shipped list, or path of a CSV file.")]


@app.command()
def diff(old: ListArgument, new: ListArgument) -> None:
    """Print the codes that NEW adds to OLD and removes from it, as CSV; nothing more if there are none."""
    from cohort.codes.coverage import compare

    typer.echo(compare(_list(old), _list(new)).write_csv(), nl=False)


@app.command()
def coverage(
    codelist: ListArgument,
    store: Annotated[Path, typer.Option("--store", help="Folder of the store.")],
    like: Annotated[
        str, typer.Option(help="A broader list: its codes that the list lacks are orphans.")
    ] = "pain_conditions",
    minimum: Annotated[int, typer.Option(min=1, help="Codes of fewer persons are left out, and counted.")] = 11,
) -> None:
    """Print, as CSV, the rows that each code of a list decides in a store, and the akin codes that it misses."""
    import polars as pl

    from cohort.codes.coverage import coverage, orphans
    from cohort.store.store import Store

    chosen, opened = _list(codelist), Store.open(store)
    used = code_use(opened)
    known = used.filter(pl.col("persons") >= minimum).lazy()
    listed = coverage(known, chosen).select(pl.lit("listed").alias("kind"), "system", "code", "category", "rows")
    missed = orphans(known, chosen, like=_list(like)).select(
        pl.lit("orphan").alias("kind"), "system", "code", pl.lit("").alias("category"), "rows"
    )
    typer.echo(pl.concat([listed.collect(), missed.collect()]).write_csv(), nl=False)
    if few := used.height - known.collect().height:
        typer.echo(f"{few:,} distinct codes of fewer than {minimum} persons are left out", err=True)


def code_use(store: Store) -> pl.DataFrame:
    """Return how often a store has each code: ``system, code, rows, persons`` (Int64), sorted, bucket after bucket."""
    import polars as pl

    from cohort.codes.records import Coded

    of_bucket = []
    for number in range(store.buckets):
        tables = store.bucket(number)
        coded = [tables[name].select("person_id", "system", "code") for name in get_args(Coded)]
        counts = {"rows": pl.len(), "persons": pl.col("person_id").n_unique()}
        of_bucket.append(pl.concat(coded).group_by("system", "code").agg(**counts).collect())
    return pl.concat(of_bucket).group_by("system", "code").agg(pl.all().cast(pl.Int64).sum()).sort("system", "code")


def _list(given: str) -> Codelist:
    from cohort.codes.codelist import Codelist

    return Codelist.read(given) if given.endswith((".csv", ".csv.gz")) else Codelist.shipped(given)
