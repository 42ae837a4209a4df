"""One fixed binary tree along which 256 lanes of persons are added, whichever bucket holds which of them.

Float addition is not associative, so the digits of a sum depend on who adds what to what. A lane's rows are added up
in person order and the lanes along this tree: lane l with l + 128, then l + 64, … down to one node. Buckets add what
they hold and pass on the nodes that wait for a sibling.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cohort.survival.cox_sums import Arrays

Nodes = dict[tuple[int, int], Arrays]
"""Sums by (level, index): lanes at level 0, all of them together at the last level."""

LANES = 256
_LEVELS = LANES.bit_length() - 1


def nodes_of(lanes: list[int], parts: Iterable[Arrays]) -> Nodes:
    """Return the nodes of one bucket, whose ``parts`` belong to its ``lanes``."""
    return merge({(0, lane): part for lane, part in zip(lanes, parts, strict=True)}, close=False)


def gather(parts: Iterable[Nodes]) -> Arrays:
    """Return the sum of all buckets' nodes, in whatever order the buckets come."""
    nodes: Nodes = {}
    for part in parts:
        nodes = merge({**nodes, **part}, close=False)
    return merge(nodes, close=True)[_LEVELS, 0]


def merge(nodes: Nodes, *, close: bool) -> Nodes:
    """Add up what can be added along the tree, into the arrays of the nodes given.

    A node waits for its sibling, which another bucket may hold; with ``close`` there is none to wait for. Which of
    two nodes comes first depends on their place in the tree alone.
    """
    waiting: dict[int, dict[int, Arrays]] = {}
    for (level, index), part in nodes.items():
        waiting.setdefault(level, {})[index] = part
    merged: Nodes = {}
    for level in range(_LEVELS):
        half, here = LANES >> (level + 1), waiting.get(level, {})
        for index in {found % half for found in here}:
            left, right = here.get(index), here.get(index + half)
            if left is not None and right is not None:
                for a, b in zip(left, right, strict=True):
                    np.add(a, b, out=a)
                waiting.setdefault(level + 1, {})[index] = left
            elif close:
                waiting.setdefault(level + 1, {})[index] = left or right  # type: ignore[assignment]  # one of them is
            else:
                merged.update({(level, k): here[k] for k in (index, index + half) if k in here})
    merged.update({(_LEVELS, index): part for index, part in waiting.get(_LEVELS, {}).items()})
    return merged
