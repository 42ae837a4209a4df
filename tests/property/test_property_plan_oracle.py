"""The engine against a row-by-row oracle in plain Python: any cohort definition, any small world, the same answer.

The oracle reads lists of tuples and loops; it shares no code with the engine but the definitions themselves.
"""

from __future__ import annotations

import datetime as dt

import outcome_oracles as oracles
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

import cohort as co
from cohort.outcomes import outcome as make
from cohort.plan import codes_needed, run_bucket
from cohort.population.criteria import AgeBetween, Enrolled, Exclude, IndexBetween, Present, SexIs
from cohort.store.tables import TABLES

EPOCH = dt.date(2020, 2, 1)  # the leap day lies inside, birthdays of 29 February too
LAST = 60  # few days, so that every boundary is hit
PAIN = co.Codelist.from_rows("pain", [{"system": "icd10cm", "code": "M54"}])
CHRONIC = co.Codelist.from_rows("chronic", [{"system": "icd10cm", "code": "G89"}])
DRUG = co.Codelist.from_rows("drug", [{"system": "atc", "code": "N02A"}])
LISTS = {"pain": PAIN, "chronic": CHRONIC, "drug": DRUG}
PREFIX = {"pain": "M54", "chronic": "G89", "drug": "N02A"}
PEOPLE = range(1, 4)

day = st.integers(0, LAST)
date = day.map(lambda n: EPOCH + dt.timedelta(days=n))
birth = st.sampled_from([None, dt.date(2001, 3, 15), dt.date(2002, 2, 28), dt.date(2000, 2, 29), dt.date(1960, 5, 5)])
persons = st.fixed_dictionaries(
    {n: st.tuples(birth, st.sampled_from(["female", "male", None]), st.none() | date) for n in PEOPLE}
)
spans = st.lists(st.tuples(st.sampled_from(PEOPLE), date, st.integers(0, 50)), max_size=8)
diagnoses = st.lists(
    st.tuples(
        st.sampled_from([*PEOPLE, 99]),
        date,
        st.sampled_from(["M545", "M54", "G894", "J00"]),
        st.sampled_from(["inpatient", "outpatient", "unknown"]),
    ),
    min_size=10,
    max_size=40,
)
dispensings = st.lists(
    st.tuples(st.sampled_from(PEOPLE), date, st.sampled_from(["N02AA01", "C09"]), st.none() | st.integers(0, 20)),
    max_size=8,
)
worlds = st.tuples(persons, spans, diagnoses, dispensings)

ends = st.none() | st.integers(-40, 0)
windows = st.tuples(ends, st.integers(0, 20)).map(lambda ab: co.Window(ab[0], (ab[0] or 0) + ab[1]))
closed = st.tuples(st.integers(-20, 0), st.integers(0, 20)).map(lambda ab: co.Window(ab[0], ab[0] + ab[1]))
plain = st.sampled_from(["pain", "chronic"]).map(lambda name: co.diagnosis(LISTS[name]))
sure = st.tuples(st.integers(1, 15), st.none() | st.integers(0, 15)).map(
    lambda ab: co.diagnosis(
        PAIN, evidence="confirmed", apart_days=ab[0], within_days=None if ab[1] is None else ab[0] + ab[1]
    )
)
records = plain | sure | st.just(co.dispensing(DRUG)) | st.just(co.diagnosis(PAIN, settings=["outpatient", "unknown"]))
rules = st.lists(
    st.tuples(date, st.integers(0, 150)).map(lambda ab: IndexBetween(start=ab[0], end=ab[0] + dt.timedelta(days=ab[1])))
    | st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda ab: AgeBetween(minimum=ab[0], maximum=ab[0] + ab[1]))
    | st.just(SexIs(sex="female"))
    | st.tuples(closed, st.integers(0, 10)).map(lambda wb: Enrolled(window=wb[0], bridge_days=wb[1]))
    | st.tuples(records, windows).map(lambda rw: Exclude(record=rw[0], window=rw[1], because="that"))
    | st.tuples(records, windows, st.integers(1, 2)).map(
        lambda rwn: Present(record=rwn[0], window=rwn[1], at_least=rwn[2], because="that")
    ),
    max_size=3,
)
cohorts = st.builds(
    lambda record, washout, nth, rules, until, most, leave, bridge, stop: (
        (
            co.Cohort("generated").enter_at_nth(record, nth)
            if nth
            else co.Cohort("generated").enter_at_first(record, washout_days=washout)
        )
        .model_copy(update={"rules": tuple(rules)})
        .follow_up(until=until, max_days=most, censor_at=[*leave, *stop], bridge_days=bridge)
    ),
    record=records,
    washout=st.none() | st.sampled_from([1, 2, 5, 10, 20]),
    nth=st.none() | st.integers(1, 3),
    rules=rules,
    until=st.none() | date,
    most=st.none() | st.integers(1, 40),
    leave=st.sampled_from([[], ["disenrolment"]]),
    bridge=st.integers(0, 10),
    stop=st.lists(records, max_size=1),
)
outcomes = st.builds(
    lambda after, more, explicit, competing: co.chronification(
        PAIN, after_days=after, within_days=after + more, explicit=explicit, competing=competing
    ),
    after=st.integers(1, 20),
    more=st.integers(0, 20),
    explicit=st.sampled_from([None, CHRONIC]),
    competing=st.sampled_from([[], ["death"]]),
) | st.builds(
    lambda record, start, competing: co.first_record(record, from_day=start, competing=competing),
    record=records,
    start=st.integers(1, 20),
    competing=st.sampled_from([[], ["death"]]),
)
later = st.builds(lambda gap: make.discontinuation(DRUG, gap_days=gap), st.integers(0, 15)) | st.builds(
    lambda apart, more: co.chronification(PAIN, definition="ci_nyc", apart_days=apart, within_days=apart + more),
    st.integers(1, 15),
    st.integers(1, 20),
)
"""Outcomes with an oracle of their own: one that is judged later than it is dated, and one that looks at pairs."""


def tables_of(world):
    people, enrolled, coded, dispensed = world
    rows = {
        "person": [(n, b, s, d, None) for n, (b, s, d) in people.items()],
        "enrolment": [(n, s, s + dt.timedelta(days=d)) for n, s, d in enrolled],
        "diagnosis": [(n, d, d, "icd10cm", c, s, None) for n, d, c, s in coded],
        "procedure": [],
        "dispensing": [(n, d, "atc", c, None, s) for n, d, c, s in dispensed],
    }
    return {
        name: pl.DataFrame(rows.get(name, []), schema=table.schema, orient="row").lazy()
        for name, table in TABLES.items()
    }


class Oracle:
    """One world, one definition, asked person by person."""

    def __init__(self, world, cohort, outcome, data_end):
        self.people, self.enrolled, self.coded, self.dispensed = world
        self.cohort, self.outcome, self.data_end = cohort, outcome, data_end

    def rows(self, record, person):
        prefix = PREFIX[record.codes.name]
        if record.table == "dispensing":
            return [(d, "") for n, d, c, _ in self.dispensed if n == person and c.startswith(prefix)]
        found = [(d, s) for n, d, c, s in self.coded if n == person and c.startswith(prefix)]
        return [(d, s) for d, s in found if not record.settings or s in record.settings]

    def record_days(self, record, person):
        rows = self.rows(record, person)
        if record.evidence == "any":
            return sorted({d for d, _ in rows})
        stays = {d for d, s in rows if s == "inpatient"}
        others = {d for d, s in rows if s != "inpatient"}
        most = record.within_days or 10**6
        return sorted(stays | {d for d in others for e in others if record.apart_days <= (d - e).days <= most})

    def spans(self, person, bridge):
        days = sorted((s, s + dt.timedelta(days=d)) for n, s, d in self.enrolled if n == person)
        merged = []
        for start, end in days:
            if merged and (start - merged[-1][1]).days <= bridge + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            else:
                merged.append((start, end))
        return merged

    def age(self, person, on):
        born = self.people[person][0]
        if born is None:
            return None
        try:
            birthday = born.replace(year=on.year)
        except ValueError:
            birthday = dt.date(on.year, 2, 28)
        return on.year - born.year - (on < birthday)

    def passes(self, rule, person, index):
        if isinstance(rule, IndexBetween):
            return rule.start <= index <= rule.end
        if isinstance(rule, AgeBetween):
            age = self.age(person, index)
            return age is not None and rule.minimum <= age <= rule.maximum
        if isinstance(rule, SexIs):
            return self.people[person][1] == rule.sex
        if isinstance(rule, Enrolled):
            first, last = (index + dt.timedelta(days=d) for d in (rule.window.first, rule.window.last))
            return any(start <= first and last <= end for start, end in self.spans(person, rule.bridge_days))
        inside = [d for d in self.record_days(rule.record, person) if self.within(rule.window, (d - index).days)]
        return len(inside) >= rule.at_least if isinstance(rule, Present) else not inside

    @staticmethod
    def within(window, offset):
        return (window.first is None or offset >= window.first) and (window.last is None or offset <= window.last)

    def candidates(self, person):
        entry = self.cohort.entry
        days = self.record_days(entry.record, person)
        if entry.n is not None:
            return days[entry.n - 1 : entry.n]
        if entry.washout_days is None:
            return days[:1]
        return [d for i, d in enumerate(days) if i == 0 or (d - days[i - 1]).days > entry.washout_days]

    def outcome_days(self, person, index, stop):
        """Return pairs of a day on which the outcome is met and the day by which that is known."""
        outcome = self.outcome
        if outcome.kind == "discontinuation":
            filled = [((d - index).days, c, s) for n, d, c, s in self.dispensed if n == person and c.startswith("N02A")]
            return oracles.discontinuation(outcome, filled, stop)
        if outcome.kind == "ci_nyc":
            coded = [((d - index).days, 0, c[:3], "") for n, d, c, _ in self.coded if n == person and c[:3] == "M54"]
            return {(day, day) for day in oracles.ci_nyc(outcome, coded, [])}
        return {(day, day) for day in self.days_met(person, index)}

    def days_met(self, person, index):
        outcome = self.outcome
        if outcome.kind == "first_record":
            return [(d - index).days for d in self.record_days(outcome.record, person) if d > index]
        second = [
            (d - index).days
            for d in self.record_days(co.diagnosis(PAIN), person)
            if outcome.after_days <= (d - index).days <= outcome.within_days
        ]
        stated = self.record_days(co.diagnosis(CHRONIC), person) if outcome.explicit else []
        return second + [(d - index).days for d in stated if d > index]

    def prevalent(self, person, index):
        chronic = self.outcome.kind == "chronification" and self.outcome.explicit
        return bool(chronic) and index in self.record_days(co.diagnosis(CHRONIC), person)

    def exit(self, person, index):
        end = self.cohort.end
        stops = [(self.data_end - index).days]
        if "disenrolment" in end.censor_at:
            held = [e for s, e in self.spans(person, end.bridge_days) if s <= index <= e]
            stops.append((held[0] - index).days if held else 0)
        if end.until:
            stops.append((end.until - index).days)
        if end.max_days:
            stops.append(end.max_days)
        for record in end.censor_records:
            stops += [(d - index).days for d in self.record_days(record, person) if d > index][:1]
        death = self.people[person][2]
        died = [(death - index).days] if death else []
        pairs = self.outcome_days(person, index, min([*stops, *died]))
        events = [day for day, known in pairs if known <= min([*stops, *died])]
        lost = [day for day, known in pairs if known > min([*stops, *died]) and not (died and died[0] <= min(stops))]
        time = min([*stops, *lost, *events, *died])
        if events and min(events) == time:
            return time, 1
        if died and died[0] == time:
            return time, 2 if "death" in self.outcome.competing else 0
        return time, 0

    def flow(self):
        """Return persons and entries after entry and after each rule."""
        left = {(person, index) for person in self.people for index in self.candidates(person)}
        counts = [(len({person for person, _ in left}), len(left))]
        for rule in self.cohort.rules:
            left = {(person, index) for person, index in left if self.passes(rule, person, index)}
            counts.append((len({person for person, _ in left}), len(left)))
        return counts

    def answer(self):
        rows = {}
        for person in self.people:
            for index in self.candidates(person):
                fine = all(self.passes(rule, person, index) for rule in self.cohort.rules)
                if fine and not self.prevalent(person, index):
                    time, cause = self.exit(person, index)
                    landmark = self.outcome.landmark
                    if time > landmark if landmark else time >= 0:
                        rows[person] = (index, time, cause)
                    break
        return rows


@settings(max_examples=300, deadline=None)
@given(world=worlds, cohort=cohorts, outcome=outcomes | later, data_end=date)
def test_engine_and_oracle_agree(world, cohort, outcome, data_end):
    part = run_bucket(tables_of(world), cohort, outcome, (), codes_needed(cohort, outcome, ()), data_end)
    found = {row["person_id"]: (row["index_date"], row["time"], row["cause"]) for row in part.rows.to_dicts()}
    oracle = Oracle(world, cohort, outcome, data_end)
    assert found == oracle.answer()
    flow = [(step.persons_kept, step.entries_kept) for step in part.attrition.steps]
    assert flow[2 : 3 + len(cohort.rules)] == oracle.flow()
    assert part.attrition.steps[-1].persons_kept == len(found)
