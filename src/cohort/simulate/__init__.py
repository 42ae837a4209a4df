"""Simulated populations whose truth is known, delivered as a supplier would deliver them."""

from cohort.simulate.run import Simulation, simulate
from cohort.simulate.scenario import Scenario, load_scenario, shipped_scenarios

__all__ = ["Scenario", "Simulation", "load_scenario", "shipped_scenarios", "simulate"]
