"""What a study will do, before it reads anything: the protocol, the findings of the audit, and the design diagram."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cohort.errors import StudyError
from cohort.protocol import protocol
from cohort.study import Study
from cohort.timeline import timeline

_WIDTH = 100
"""Columns of the table where there is no terminal."""


def explain(study: Study, folder: Path) -> Path:
    """Print the protocol and the findings, write ``design.svg`` into a folder and return its path.

    Raises
    ------
    StudyError
        After all is printed, if the design has errors: such a study would not run.
    """
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    console.print(_table(study))
    for line in _findings(study):
        console.print(line)
    path = _write_diagram(study, folder)
    errors = sum(finding.severity == "error" for finding in study.audit())
    if errors:
        raise StudyError(f"{errors} design {'error stops' if errors == 1 else 'errors stop'} this study; see above")
    return path


def _table(study: Study) -> Table:
    """Return the protocol in the manner of HARPER: section, item, and what this study says.

    References
    ----------
    Wang SV et al. HARmonized Protocol Template to Enhance Reproducibility of hypothesis evaluating real-world evidence
    studies on treatment effects. Pharmacoepidemiol Drug Saf 2023;32:44-55. doi:10.1002/pds.5507.
    """
    table = Table("Section", "Item", "In this study", title=Text(study.title), title_justify="left")
    shown = ""
    for section, item, text in protocol(study):
        if shown and section != shown:
            table.add_section()
        table.add_row(*(Text(cell) for cell in (section if section != shown else "", item, text)))
        shown = section
    return table


def _findings(study: Study) -> Iterator[Text]:
    """Yield one line per finding; texts of a study are never read as markup."""
    findings = study.audit()
    yield Text(f"Audit of the design: {len(findings) or 'no'} finding{'' if len(findings) == 1 else 's'}.")
    for finding in findings:
        yield Text(f"{finding.severity} ({finding.code}): {finding.message}")


def _write_diagram(study: Study, folder: Path) -> Path:
    from cohort.report.figures_design import design, standalone
    from cohort.store.files import make_folder

    make_folder(folder)
    path = folder / "design.svg"
    path.write_text(standalone(design(timeline(study))), encoding="utf-8", newline="\n")
    return path
