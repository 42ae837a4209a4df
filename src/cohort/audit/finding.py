"""What the auditor finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: ``error`` stops the run, ``warning`` stands in the report."""

    severity: Literal["error", "warning"]
    code: str
    message: str
