"""Random streams: one per block of persons and topic, so that nothing depends on order, workers or population size.

A block always draws for ``BLOCK`` persons and keeps those that are asked for: person 17 of a run over 100 persons is
person 17 of a run over ten million. Topics have streams of their own, so that a scenario that changes the care of
its persons leaves their pain untouched.

References
----------
Salmon JK, Moraes MA, Dror RO, Shaw DE. Parallel random numbers: as easy as 1, 2, 3. SC11 (2011).
doi:10.1145/2063384.2063405
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK = 4096
"""Persons generated together; fixed, because the streams belong to blocks."""

TOPICS = (
    "person",
    "comorbidity",
    "episode",
    "visit",
    "enrolment",
    "spread",
    "encounter",
    "background",
    "dispensing",
    "dirt_eligibility",
    "dirt_medical_claim",
    "dirt_pharmacy_claim",
    "cost",
    "mechanism",
    "score",
    "dirt_population",
    "dirt_residence",
    "dirt_inpatient",
    "dirt_outpatient",
    "dirt_prescribed_drugs",
    "dirt_deaths",
    "dirt_persons",
    "dirt_observation",
    "dirt_measurements",
    "flares",
    "dirt_person",
    "dirt_death",
    "dirt_observation_period",
    "dirt_visit_occurrence",
    "dirt_condition_occurrence",
    "dirt_procedure_occurrence",
    "dirt_measurement",
    "dirt_drug_exposure",
)
"""Topics in the order of their stream numbers: append, never insert."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block of ``BLOCK`` persons of a population: the seed of the population and the number of the block."""

    seed: int
    number: int

    def stream(self, topic: str) -> np.random.Generator:
        """Return the generator of a topic, from its start."""
        key = np.random.SeedSequence(entropy=self.seed, spawn_key=(self.number, TOPICS.index(topic)))
        return np.random.Generator(np.random.Philox(key))
