"""The release gate's writer: the only place from which a released file comes.

What is not `Released` is refused, and every file appears whole, in one order, the last one last: whoever sees it finds
the others beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from cohort.errors import CohortError
from cohort.results.disclosure import Released
from cohort.results.estimates import write_csv

TABLES = ("estimates.csv", "estimates.parquet", "attrition.csv")
"""The files that every release has."""


def write_released(
    released: Released, texts: Mapping[str, str], folder: Path, more: Callable[[Path], object] = lambda _: None
) -> None:
    """Write the released tables and the texts made from them into a folder, over an older release.

    Parameters
    ----------
    released
        What passed the gate.
    texts
        File name to text, in the order in which they appear, after everything else.
    more
        Writes what else is made from the released results, files and folders, into the folder it is given.

    Raises
    ------
    CohortError
        If something else than released results is handed over.
    """
    if not isinstance(released, Released):
        raise CohortError("only released results are written; pass what disclosure.release returned")
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".report-") as temporary:
        staged, old = Path(temporary) / "new", Path(temporary) / "old"
        staged.mkdir()
        old.mkdir()
        more(staged)
        rest = sorted(path.name for path in staged.iterdir())
        released.estimates.write(staged)
        write_csv(released.attrition.to_polars(), staged / "attrition.csv")
        for name, text in texts.items():
            (staged / name).write_text(text, encoding="utf-8", newline="\n")
        for name in (*TABLES, *rest, *texts):
            if (folder / name).is_dir() and not (folder / name).is_symlink():
                (folder / name).rename(old / name)
            (staged / name).replace(folder / name)
