"""Every definition of an outcome against its slow oracle, on small generated worlds in which every boundary is hit."""

from __future__ import annotations

import datetime as dt

import outcome_oracles as oracles
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cohort as co
from cohort.outcomes import outcome as make
from cohort.outcomes.dating import bounded, dated
from cohort.store.tables import TABLES

CODES = {"A": "M54", "B": "G43", "J": "J00"}
AGENTS = {"X": "N02AA01", "Y": "N02AX02"}
PAIN = co.Codelist.from_rows("pain", [{"system": "icd10cm", "code": CODES[name], "category": name} for name in "AB"])
DRUG = co.Codelist.from_rows("drug", [{"system": "atc", "code": AGENTS[name], "category": name} for name in "XY"])
PEOPLE = range(1, 5)

person, day = st.sampled_from(PEOPLE), st.integers(-20, 50)
settings_of_care = st.sampled_from(["inpatient", *3 * ["outpatient"]])
diagnoses = st.lists(
    st.tuples(person, day, st.integers(0, 8), st.sampled_from("AABJ"), settings_of_care), min_size=30, max_size=80
)
dispensings = st.lists(
    st.tuples(person, day, st.sampled_from("XY"), st.none() | st.integers(0, 15)), min_size=30, max_size=80
)
scores = st.lists(st.tuples(person, day, st.integers(0, 10)), min_size=30, max_size=80)
ends = st.fixed_dictionaries({n: st.tuples(st.integers(0, 60), st.none() | st.integers(0, 60)) for n in PEOPLE})
few, some, more = st.integers(1, 8), st.integers(9, 16), st.integers(2, 25)

DIAGNOSES = {
    "ci_nyc": {"apart_days": few, "within_days": some},
    "icd11_episode": {"longer_than_days": few, "gap_days": few},
    "medicare_new_onset": {"further": st.integers(1, 4)},
    "ccw": {"within_days": few},
    "va_musculoskeletal": {"within_days": few},
    "ohdsi_era": {"persistence_days": few},
}
SUPPLIES = {
    "consort": {"longer_than_days": few, "supply_days": more, "fills": st.integers(2, 5), "gap_days": few},
    "opera": {"episode_days": few, "supply_days": more, "covered_percent": st.integers(0, 99), "gap_days": more},
    "group_health": {"supply_days": more},
    "opioid_cds": {"supply_days": more},
    "landsman_blumberg": {"supply_days": more, "within_days": more},
    "brummett": {"after_days": few, "within_days": some},
}
TREATMENTS = {
    "discontinuation": {"gap_days": st.integers(0, 20)},
    "re_initiation": {"gap_days": st.integers(0, 8), "within_days": some},
    "switch": {"gap_days": few, "within_days": few},
    "add_on": {"gap_days": few, "overlap_days": few},
}
PERSONS = ("ccw", "va_musculoskeletal", "consort", "opera", "group_health", "opioid_cds")
"""Definitions that hold of a person whatever the index date: whoever meets them by then is a prevalent case."""
LANDMARKS = ("ci_nyc", "icd11_episode", "medicare_new_onset", "brummett")
"""Definitions that only look forward from index: nobody can meet them by their landmark."""


def definitions(kind):
    """Return a strategy of outcomes of one kind, with settings small enough that worlds hit their boundaries."""
    rule = st.fixed_dictionaries((DIAGNOSES | SUPPLIES | TREATMENTS)[kind])
    if kind in TREATMENTS:
        return rule.map(lambda given: getattr(make, kind)(DRUG, **given))
    codes = PAIN if kind in DIAGNOSES else DRUG
    return rule.map(lambda given: make.chronification(codes, definition=kind, **given))


def date(number):
    return oracles.EPOCH + dt.timedelta(days=number)


def world(diagnosed=(), dispensed=(), scored=()):
    rows = {
        "diagnosis": [(n, date(a), date(a + b), "icd10cm", CODES[c], s, None) for n, a, b, c, s in diagnosed],
        "dispensing": [(n, date(a), "atc", AGENTS[x], None, s) for n, a, x, s in dispensed],
        "measurement": [(n, date(a), "NRS", float(v), None) for n, a, v in scored],
    }
    return {
        name: pl.DataFrame(rows.get(name, []), schema=table.schema, orient="row").lazy()
        for name, table in TABLES.items()
    }


def entries_of(followed):
    rows = [(n, oracles.EPOCH, censor, death) for n, (censor, death) in followed.items()]
    schema = {"person_id": pl.Int64, "index_date": pl.Date, "censor_day": pl.Int64, "death_day": pl.Int64}
    frame = pl.LazyFrame(rows, schema=schema, orient="row")
    return frame.with_columns(stop=pl.min_horizontal("censor_day", "death_day"))


def exits(outcome, tables, followed):
    """Return {person: (time, what)} and the persons who cannot have the event."""
    entries = entries_of(followed)
    prevalent = outcome.prevalent(tables, entries.select("person_id", "index_date"))
    gone = set() if prevalent is None else set(prevalent.collect()["person_id"])
    found = dated(outcome.days(tables, entries), entries).collect()
    days = {row["person_id"]: (row["event_day"], row["unjudged_day"]) for row in found.to_dicts()}
    return {n: _first(*days.get(n, (None, None)), *followed[n]) for n in followed if n not in gone}, gone


def _first(event, unjudged, censor, death):
    """Events precede deaths, deaths precede censorings."""
    ends = [(event, 1), (death, 2), (censor, 3), (unjudged, 3)]
    return min((day, what) for day, what in ends if day is not None)


def settle(pairs, censor, death):
    """Return when an entry leaves, from days and the days by which they are known."""
    stop = censor if death is None else min(censor, death)
    died = death is not None and death <= censor
    judged = [day for day, known in pairs if known is not None and known <= stop]
    lost = [day for day, known in pairs if known is None or (known > stop and not died)]
    return _first(min(judged, default=None), min(lost, default=None), censor, death)


@pytest.mark.parametrize("kind", [*DIAGNOSES, *SUPPLIES, *TREATMENTS])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_claims_definitions_agree_with_their_oracle(kind, data):
    outcome = data.draw(definitions(kind))
    diagnosed, dispensed, followed = data.draw(diagnoses), data.draw(dispensings), data.draw(ends)
    found, gone = exits(outcome, world(diagnosed, dispensed), followed)
    oracle = getattr(oracles, kind)
    expected, prevalent = {}, set()
    for n, (censor, death) in followed.items():
        coded = [(a, a + b, c, s) for m, a, b, c, s in diagnosed if m == n]
        filled = [(a, x, s) for m, a, x, s in dispensed if m == n]
        if kind in TREATMENTS:
            pairs = oracle(outcome, filled, censor if death is None else min(censor, death))
        else:
            pairs = {(day, day) for day in oracle(outcome, coded, filled)}
        if kind in PERSONS and any(day <= 0 for day, _ in pairs):
            prevalent.add(n)
        else:
            expected[n] = settle(pairs, censor, death)
    assert gone == prevalent
    assert found == expected
    if kind in LANDMARKS:
        assert all(time > outcome.landmark for time, what in found.values() if what == 1)


@settings(max_examples=40, deadline=None)
@given(scores, ends, st.integers(0, 10), st.integers(1, 60))
def test_registry_pain_lies_between_two_visits(scored, followed, at_least, after):
    outcome = make.chronification(definition="registry_pain", at_least=float(at_least), after_days=after)
    tables = world(scored=scored)
    found, _ = exits(outcome, tables, followed)
    rows = [(n, oracles.EPOCH, outcome.landmark, time, int(what == 1)) for n, (time, what) in found.items()]
    schema = {"person_id": pl.Int64, "index_date": pl.Date, "entry": pl.Int64, "time": pl.Int64, "cause": pl.Int64}
    table = pl.LazyFrame(rows, schema=schema, orient="row")
    free = outcome.seen_free(tables, entries_of(followed))
    bounds = {row["person_id"]: row for row in bounded(table, free).collect().to_dicts()}
    for n, (censor, death) in followed.items():
        chronic, unchronic = oracles.registry_pain(outcome, [(a, v) for m, a, v in scored if m == n])
        time, what = settle({(day, day) for day in chronic}, censor, death)
        assert found[n] == (time, what)
        before = [d for d in unchronic if d < time or (d == time and what != 1)]
        assert bounds[n]["lower"] == max([outcome.landmark, *before])
        assert bounds[n]["upper"] == (time if what == 1 else None)


@pytest.mark.parametrize("missing", ["observed", "non_response"])
@settings(max_examples=40, deadline=None)
@given(
    scores,
    ends,
    st.sampled_from([30, 50]),
    st.integers(0, 5),
    st.tuples(st.integers(-40, 0), st.integers(-40, 0)),
    st.tuples(st.integers(1, 40), st.integers(0, 40)),
)
def test_registry_response_agrees_with_its_oracle(missing, scored, followed, fall, least, baseline, target):
    outcome = make.registry_response(
        missing,
        fall_percent=fall,
        minimum_baseline=float(least),
        baseline=co.Window(*sorted(baseline)),
        target_day=sum(target),
        tolerance_days=target[1] - 1 if target[1] else 0,
    )
    found, gone = exits(outcome, world(scored=scored), followed)
    for n, (censor, death) in followed.items():
        own = [(a, v) for m, a, v in scored if m == n]
        eligible, pairs = oracles.registry_response(outcome, own, censor, death)
        assert eligible == (n not in gone)
        if eligible:
            assert found[n] == settle(pairs, censor, death)


MORPHINE = "00002255002"
"""Tablets of 15 mg in CDC's table of products; a milligram is a morphine milligram equivalent in every version."""
DOSES = {
    "dose_escalation": {"rise_percent": st.sampled_from([20, 50, 100]), "windows": st.integers(1, 3)},
    "taper": {"fall_percent": st.sampled_from([15, 25, 50]), "minimum": st.sampled_from([7.5, 30.0])},
}


@pytest.mark.parametrize("kind", DOSES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_doses_agree_with_their_oracle(kind, data):
    codes = co.Codelist.from_rows("morphine", [{"system": "ndc", "code": MORPHINE}])
    outcome = getattr(make, kind)(
        codes=codes, window_days=data.draw(few), **data.draw(st.fixed_dictionaries(DOSES[kind]))
    )
    fill = st.tuples(person, st.integers(-12, 30), st.integers(1, 4), st.integers(1, 12))
    fills, followed = data.draw(st.lists(fill, min_size=10, max_size=40)), data.draw(ends)
    rows = [(n, date(a), "ndc", MORPHINE, float(tablets * supply), supply) for n, a, tablets, supply in fills]
    tables = world() | {"dispensing": pl.LazyFrame(rows, schema=TABLES["dispensing"].schema, orient="row")}
    found, gone = exits(outcome, tables, followed)
    for n, (censor, death) in followed.items():
        own = [(a, 15 * tablets, supply) for m, a, tablets, supply in fills if m == n]
        eligible, pairs = getattr(oracles, kind)(outcome, own)
        assert eligible == (n not in gone)
        if eligible:
            assert found[n] == settle(pairs, censor, death)
