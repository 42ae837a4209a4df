"""Every field of a scenario refuses what it cannot mean: exit 2, with the file and the field named."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from cohort.errors import StudyError
from cohort.simulate import load_scenario

WHOLE = load_scenario("low_back_pain").model_dump(mode="python")
TABLES = [name for name, value in WHOLE.items() if isinstance(value, dict)]
NAMED = ("procedures", "strategies")


def leaves(table: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


def impossible(value: Any) -> list[Any]:
    """Return values of which none can stand in the place of ``value``."""
    if isinstance(value, bool):
        return ["yes", 2]
    if isinstance(value, int | float):
        return [-99_999, 99_999.5, float("nan"), "much"]
    if isinstance(value, dt.date):
        return ["2016-02-30", "soon"]
    if isinstance(value, str) or value is None:
        return ["No Such Thing!", 7]
    return [[], impossible(value[0])[:1] * len(value), "many"]


def written(path: tuple[str, ...], value: Any) -> str:
    """Return a scenario file that differs from the shipped one in one field; a named table is written whole."""
    *tables, field = path
    here = "\n".join(f"{name} = {toml(old)}" for name, old in siblings(tables).items() if name != field)
    head = f"[{'.'.join(tables)}]\n" if tables else ""
    return f'base = "low_back_pain"\n{head}{here}\n{field} = {toml(value)}\n'


def siblings(tables: list[str]) -> dict[str, Any]:
    if not set(tables) & set(NAMED):
        return {}
    inner: Any = WHOLE
    for name in tables:
        inner = inner[name]
    return inner


def toml(value: Any) -> str:
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    return json.dumps(value)


FIELDS = [
    (path, wrong)
    for path, value in leaves({name: WHOLE[name] for name in TABLES})
    for wrong in impossible(value)
    # free text, and a place that any text may name
    if not (path in {("persons", "regions")} and wrong != [])
]


@pytest.mark.parametrize(("path", "wrong"), FIELDS, ids=lambda value: json.dumps(value)[:60])
def test_a_field_refuses_what_it_cannot_mean(tmp_path, path, wrong):
    file = tmp_path / "mine.toml"
    file.write_text(written(path, wrong))
    with pytest.raises(StudyError) as refused:
        load_scenario(file)
    assert refused.value.exit_code == 2
    assert str(file) in str(refused.value)
    # a rule about several fields names their table, then the fields
    named = str(refused.value).replace(f"{'.'.join(path[:-1])}: ", f"{'.'.join(path[:-1])}.")
    assert ".".join(path) in named or f"{path[0]}.supply_days, supply_shares and {path[-1]}" in named


@pytest.mark.parametrize("path", [path for path, _ in leaves({name: WHOLE[name] for name in TABLES})], ids=".".join)
def test_an_unknown_field_beside_each_is_named(tmp_path, path):
    unknown = (*path[:-1], "surprise")
    (tmp_path / "mine.toml").write_text(written(unknown, 0.5))
    with pytest.raises(StudyError, match=r"surprise"):
        load_scenario(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[care]\nseeks_care = 0.0", "truth.strategies"),
        ("[truth]\neligible_after_days = 3650", "truth: nobody can be eligible"),
        ("[care.visits_per_30_days]\nfrozen = 1.0", "care.visits_per_30_days.frozen"),
        ("[care.procedures.physical_therapy]\nfrozen = 0.1", "care.procedures.physical_therapy.frozen"),
        ("[care.procedures.dancing]\nacute = 0.1", "care.procedures.dancing"),
        ("[care.procedures.physical_therapy]\nacute = 0.7\n[care.procedures.psychotherapy]\nacute = 0.7", "care"),
        ("[opioid]\nlong_term = [0.1]", "opioid: supply_days, supply_shares and long_term"),
        ("[dispensing]\ntablets_per_day = [2]", "dispensing: tablets_per_day and tablets_shares"),
        ("[truth.strategies.one]\nopioid = true", "truth.strategies"),
        ('[[comorbidity]]\nconcept = "mi"\nprevalence_at_60 = 1.5\nlog_odds_per_decade = 0.1', "comorbidity.0"),
        ('[[cooccurring]]\nconcept = "mi"\nprevalence = 0.5\nlog_odds_sensitization = 50', "cooccurring.0"),
    ],
)
def test_what_fields_cannot_mean_together_is_refused(tmp_path, text, field):
    file = tmp_path / "mine.toml"
    file.write_text(f'base = "low_back_pain"\nname = "mine"\n{text}\n')
    with pytest.raises(StudyError) as refused:
        load_scenario(file)
    assert refused.value.exit_code == 2
    assert field in str(refused.value)
