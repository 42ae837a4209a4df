"""The error tree: one class, and one exit code, for each reader of the message.

A message says what is wrong, where (file and line, or the field of the study file, or a count of persons) and how
to repair it. It never carries a value that belongs to a person: library exceptions quote the offending cell, so
they are translated where they arise, with ``raise ... from None``.
"""

from __future__ import annotations

from typing import ClassVar


class CohortError(Exception):
    """Base of every error that is meant for a user; printed without a traceback."""

    exit_code: ClassVar[int] = 1


class StudyError(CohortError):
    """The command line or the study file asks for something that cannot be done (exit 2)."""

    exit_code = 2


class InputRefusedError(CohortError):
    """An extract, store or frame is not what it claims to be; nothing was committed (exit 3)."""

    exit_code = 3


class LockedError(CohortError):
    """Another run holds the lock (exit 4)."""

    exit_code = 4


class NotEstimableError(CohortError):
    """The data do not determine what the model asks for (exit 5); the report still stands and says so."""

    exit_code = 5

    def __init__(self, reason: str, columns: tuple[str, ...] = ()) -> None:
        """Keep ``reason`` (such as ``monotone_likelihood``) and the columns it concerns apart from the text."""
        self.reason, self.columns = reason, columns
        super().__init__(f"not_estimable: {reason}" + (f"({', '.join(columns)})" if columns else ""))


class ResourceError(CohortError):
    """Out of disk or memory; old results are untouched (exit 6)."""

    exit_code = 6


class ReleaseRefusedError(CohortError):
    """The release gate would have let a protected number out (exit 7)."""

    exit_code = 7


class StoppedError(CohortError):
    """Ctrl-C, a signal or ``--timeout`` stopped the work before its end (exit 8); old results are untouched."""

    exit_code = 8
