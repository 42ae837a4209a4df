"""Layouts that can be simulated: what the files are called, how their rows come from a block, what dirt they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from cohort.simulate import extracts_nordic, extracts_omop, extracts_registry
from cohort.simulate.dirt import Roles
from cohort.simulate.extracts import tuva
from cohort.simulate.extracts_nordic import nordic_registry
from cohort.simulate.extracts_omop import omop
from cohort.simulate.extracts_registry import registry
from cohort.simulate.world import World


@dataclass(frozen=True, slots=True)
class ExtractLayout:
    """One supplier's way of delivering.

    Attributes
    ----------
    frames
        From one block and the number of persons asked for to the rows of each file.
    roles
        Per file, the columns that carry defects; none = never soiled.
    """

    frames: Callable[[World, int], dict[str, pl.DataFrame]]
    roles: Mapping[str, Roles | None]


LAYOUTS = {
    "tuva": ExtractLayout(
        tuva,
        {
            "eligibility": {"date": "enrollment_start_date"},
            "medical_claim": {"date": "claim_start_date", "person": "person_id", "amount": "paid_amount"},
            "pharmacy_claim": {
                "date": "dispensing_date",
                "person": "person_id",
                "amount": "paid_amount",
                "quantity": "quantity",
            },
        },
    ),
    "nordic_registry": ExtractLayout(nordic_registry, extracts_nordic.ROLES),
    "registry": ExtractLayout(registry, extracts_registry.ROLES),
    "omop": ExtractLayout(omop, extracts_omop.ROLES),
}
"""Name → layout."""
