"""Labels: what columns, levels, groups and analyses are called on the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cohort.report.numbers import plain
from cohort.results.estimates import ALL

_TRUTH = {"true": "yes", "false": "no"}


@dataclass(frozen=True, slots=True)
class AnalysisTitle:
    """What one analysis of the study is called, the variable that groups it, a note, and the day risk starts after."""

    position: int
    title: str
    by: str | None = None
    note: str = ""
    landmark: int = 0


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels with a sensible answer for what was not named: the name itself, underscores as blanks."""

    names: Mapping[str, str]
    analyses: tuple[AnalysisTitle, ...]

    def term(self, name: str | None) -> str:
        """Return the label of a column, outcome or model term."""
        return plain(self.names.get(name or "", (name or "").replace("_", " ")))

    def level(self, term: str | None, level: str) -> str:
        """Return the label of a level; true and false read yes and no."""
        return plain(self.names.get(f"{term}={level}", _TRUTH.get(level, level)))

    def by(self, position: int) -> str | None:
        """Return the name of the variable that groups an analysis."""
        return next((analysis.by for analysis in self.analyses if analysis.position == position), None)

    def group(self, position: int, group: str) -> str:
        """Return the label of a group with its variable: ``Early opioid: yes``."""
        by = self.by(position)
        if group == ALL:
            return "All"
        level = self.level(by, group)
        return f"{self.term(by)}: {level}" if by and f"{by}={group}" not in self.names else level

    def title(self, position: int, otherwise: str) -> str:
        """Return the title of an analysis."""
        return plain(next((analysis.title for analysis in self.analyses if analysis.position == position), otherwise))

    def landmark(self, position: int) -> int:
        """Return the day after which the persons of an analysis are at risk."""
        return next((analysis.landmark for analysis in self.analyses if analysis.position == position), 0)

    def note(self, position: int) -> str:
        """Return the note of an analysis."""
        return plain(next((analysis.note for analysis in self.analyses if analysis.position == position), ""))

    def order(self, terms: list[str]) -> list[str]:
        """Return terms in the order of the labels, those without a label after them by name."""
        place = {name: number for number, name in enumerate(self.names)}
        return sorted(terms, key=lambda term: (place.get(term, len(place)), term))
