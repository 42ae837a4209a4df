"""The release gate's writer: the only place from which a released file comes.

What is not `Released` is refused, and every file appears whole, in one order, the last one last: whoever sees it finds
the others beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from cohort.errors import CohortError
from cohort.results.disclosure import Released
from cohort.results.estimates import write_csv

TABLES = ("estimates.csv", "estimates.parquet", "attrition.csv")
"""The files that every release has."""


def write_released(released: Released, texts: Mapping[str, str], folder: Path) -> None:
    """Write the released tables and the texts made from them into a folder, over an older release.

    Parameters
    ----------
    released
        What passed the gate.
    texts
        File name to text, in the order in which they appear.

    Raises
    ------
    CohortError
        If something else than released results is handed over.
    """
    if not isinstance(released, Released):
        raise CohortError("only released results are written; pass what disclosure.release returned")
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".report-") as temporary:
        staged = Path(temporary)
        released.estimates.write(staged)
        write_csv(released.attrition.to_polars(), staged / "attrition.csv")
        for name, text in texts.items():
            (staged / name).write_text(text, encoding="utf-8", newline="\n")
        for name in (*TABLES, *texts):
            (staged / name).replace(folder / name)
