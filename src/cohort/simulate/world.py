"""One block of the simulated world: persons, their pain, their death and who observes them, before any extract."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cohort.simulate.care import Visits, draw_visits
from cohort.simulate.course import Course, Plan, chronification_days, draw_plan, follow
from cohort.simulate.enrolment import Enrolment, draw_enrolment
from cohort.simulate.flares import Flares, draw_flares
from cohort.simulate.population import Persons, death_days, draw_persons
from cohort.simulate.scenario import Scenario
from cohort.simulate.streams import Block


@dataclass(frozen=True, slots=True)
class World:
    """What happened to one block of persons under usual care, and the possible visits it was picked from."""

    scenario: Scenario
    block: Block
    persons: Persons
    plan: Plan
    course: Course
    flares: Flares
    visits: Visits
    enrolment: Enrolment

    @property
    def happened(self) -> Visits:
        """Return the visits for the pain under usual care; enrolment and death are not yet looked at."""
        return self.visits.take(self.visits.happens(self.course))


def draw_world(scenario: Scenario, block: Block) -> World:
    """Return one block of the world, a pure function of scenario and block."""
    persons = draw_persons(scenario, block)
    plan = draw_plan(scenario, persons, block)
    course = follow(scenario, plan, plan.would_treat)
    death = death_days(scenario, persons, np.min(chronification_days(scenario, course), axis=1))
    flares = draw_flares(scenario, plan, block)
    visits = draw_visits(scenario, plan, flares, block)
    enrolment = draw_enrolment(scenario, persons, visits, course, death, block)
    return World(scenario, block, persons, plan, course, flares, visits, enrolment)
