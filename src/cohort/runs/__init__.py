"""Runs: results published in one step, kept apart from persons, resumed, verified, compared and retired."""
