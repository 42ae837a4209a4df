"""The rows of the design diagram: parts of a study with their days relative to index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cohort.time import Window

Part = Literal[
    "index", "washout", "enrolment", "requirement", "exclusion", "covariates", "exposure", "wait", "late", "risk"
]

TITLES: dict[Part, str] = {
    "index": "Index date",
    "washout": "Washout",
    "enrolment": "Enrolment required",
    "requirement": "Required",
    "exclusion": "Excluded if present",
    "covariates": "Covariates",
    "exposure": "Exposure",
    "wait": "Until the landmark",
    "late": "Delayed entry",
    "risk": "Follow-up, at risk",
}
"""What each part is called, from the past to the end of follow-up."""


@dataclass(frozen=True, slots=True)
class Span:
    """One row of the diagram: a part of the design, what it holds, and its days; none leaves an end open."""

    part: Part
    text: str
    window: Window

    @property
    def title(self) -> str:
        """Return what the row is called."""
        return TITLES[self.part]

    @property
    def days(self) -> str:
        """Return the days as the protocol table writes them; one day alone is named once."""
        if self.part == "risk" and self.window.last is None:
            return f"from day {self.window.first}"
        return f"day {self.window.first}" if self.window.first == self.window.last else str(self.window)
