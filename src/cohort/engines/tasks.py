"""Work on pieces as it travels to the workers of a cluster, and what comes back: a result, or why there is none."""

from __future__ import annotations

import math
import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from cohort import errors
from cohort.errors import CohortError

Piece = TypeVar("Piece")
Result = TypeVar("Result")


@runtime_checkable
class Cluster(Protocol):
    """What does the same work on many pieces in processes elsewhere, each of which sees the same storage."""

    def each(self, work: Callable[[Piece], Result], pieces: Sequence[Piece], names: Sequence[str]) -> Iterator[Result]:
        """Yield ``work`` of every piece, in the order of the pieces.

        Parameters
        ----------
        work
            A picklable function. It may be tried again or run twice at a time, so whatever it leaves behind must be the
            same, or go by a name of its own.
        pieces, names
            What it is done on, and what messages call it: never by a value of a person.

        Raises
        ------
        CohortError
            If a piece failed: which, and why.
        ResourceError
            If the cluster gave the job up.
        """

    def total(
        self,
        work: Callable[[Piece], Result],
        pieces: Sequence[Piece],
        names: Sequence[str],
        add: Callable[[Result, Result], Result],
    ) -> Result:
        """Return the sum of ``work`` over all pieces, of which there is one at least; see `each` for the rest.

        Neighbouring pieces are added in groups on the cluster, always in the order of the pieces, and the groups here.
        """


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a piece has no result: the class of our error, and its message."""

    kind: str
    text: str

    def raised(self) -> CohortError:
        """Return the error to raise where the work was asked for."""
        found = getattr(errors, self.kind, CohortError)
        made: CohortError = (CohortError if found is errors.NotEstimableError else found)(self.text)
        return made


@dataclass(frozen=True, slots=True)
class Job:
    """The pieces of some work; a worker is told the place of its piece among them."""

    work: Callable[[Any], Any]
    pieces: Sequence[Any]
    names: Sequence[str]

    def attempt(self, at: int) -> bytes:
        """Return the pickled result of a piece, or the pickled `Failure`.

        What a worker raises would be printed by the cluster with its traceback, which may quote a person's values; and
        it would be tried again, though the same piece gives the same error every time.
        """
        try:
            answer = self.work(self.pieces[at])
        except CohortError as error:
            answer = Failure(type(error).__name__, self._named(at, str(error)))
        except MemoryError:
            advice = "out of memory; give workers more of it, or ingest into more buckets"
            answer = Failure("ResourceError", self._named(at, advice))
        except Exception as error:  # noqa: BLE001 -- whatever it is, only its kind and place may travel
            place = traceback.extract_tb(error.__traceback__)[-1]
            said = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
            answer = Failure("CohortError", self._named(at, said))
        return pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)

    def _named(self, at: int, text: str) -> str:
        name = self.names[at]
        return text if name in text else f"{name}: {text}"


def opened(answer: bytes) -> Any:
    """Return what a worker sent back.

    Raises
    ------
    CohortError
        If its piece failed there.
    """
    found = pickle.loads(answer)  # noqa: S301 -- made by our own workers a moment ago
    if isinstance(found, Failure):
        raise found.raised()
    return found


def added(answers: Iterable[bytes], add: Callable[[Any, Any], Any]) -> bytes:
    """Return the pickled sum of what workers said of neighbouring pieces, in order, or the first `Failure` of them."""
    return Job(partial(_sum, add=add), [list(answers)], [""]).attempt(0)


def _sum(answers: list[bytes], add: Callable[[Any, Any], Any]) -> Any:
    return reduce(add, map(opened, answers))


def group_size(pieces: int) -> int:
    """Return how many neighbours are added on the cluster, so that no more sums than that come back."""
    return max(1, math.isqrt(pieces - 1) + 1)
