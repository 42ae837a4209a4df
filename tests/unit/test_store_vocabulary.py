"""The words of the data dictionary are the words a study may use."""

from __future__ import annotations

from typing import get_args

from cohort.codes.records import Setting
from cohort.population.criteria import SexIs
from cohort.store.tables import SETTINGS, SEXES


def test_settings_of_care():
    assert get_args(Setting) == SETTINGS


def test_sexes():
    assert get_args(SexIs.model_fields["sex"].annotation) == SEXES
