"""What stands of a claim does not depend on the order in which its lines arrive, and is what the rule says."""

from __future__ import annotations

import datetime as dt
import random
from itertools import permutations

import duckdb
import polars as pl
import pytest

from cohort.ingest.layouts import shipped_sql

DAYS = [None, dt.date(2020, 1, 1), dt.date(2020, 2, 1), dt.date(2020, 3, 1)]
DEEDS = ["denied", "void", "replacement"]  # in this order on one day, after originals
FATE = {"denied": "denied_later", "void": "voided", "replacement": "replaced"}
SCHEMA = {
    "person": pl.Int64,
    "claim_payer": pl.String,
    "claim_id": pl.String,
    "claim_line": pl.String,
    "claim_version": pl.Date,
    "claim_action": pl.String,
    "event": pl.Int64,
}


def rule(events):
    """Return the fate of each event (payer, claim, line, day, action), null = it stands; plain Python, no sorting."""

    def moment(event):
        _, _, _, day, action = event
        return (day or dt.date.min, DEEDS.index(action) + 1 if action in DEEDS else 0)

    def reaches(deed, event):
        same_claim = event[1] is not None and deed[:2] == event[:2]
        whole_claim = deed[2] is None or deed[4] == "replacement"
        return deed[4] in DEEDS and same_claim and (whole_claim or deed[2] == event[2])

    def fate(event):
        if event[4] in ("void", "denied", "not_final"):
            return event[4]
        later = [deed for deed in events if reaches(deed, event) and moment(deed) > moment(event)]
        return FATE[max(later, key=moment)[4]] if later else None

    return [fate(event) for event in events]


def settled(cases):
    """Return the fates that SQL finds in each case: a list of events in their order of arrival."""
    rows = [(person, *event, place) for person, events in enumerate(cases) for place, event in enumerate(events)]
    connection = duckdb.connect()
    connection.register("claim_event", pl.DataFrame(rows, SCHEMA, orient="row"))
    found = connection.sql(shipped_sql("ingest/claims/settled.sql")).pl().sort("person", "event")
    fates = found.group_by("person", maintain_order=True).agg("claim_fate")["claim_fate"].to_list()
    assert found.height == len(rows)
    return fates


def sent(action, day=1, line="1", claim="C", payer="P"):
    return (payer, claim, line, DAYS[day], action)


CASES = {
    "late arrivals stand": ([sent("original"), sent("original", 3, "2")], [None, None]),
    "reversal before its original": ([sent("void", 2), sent("original")], ["void", "voided"]),
    "reversal on the day of its original": ([sent("void"), sent("original")], ["void", "voided"]),
    "reversal of one line": (
        [sent("original"), sent("original", 1, "2"), sent("void", 2, "2")], [None, "voided", "void"],
    ),
    "reversal of the claim": (
        [sent("original"), sent("original", 1, "2"), sent("void", 2, None)], ["voided"] * 2 + ["void"],
    ),
    "reversal of a reversal by a void": (
        [sent("original"), sent("void", 2), sent("void", 3)], ["voided", "void", "void"],
    ),
    "reversal of a reversal by billing again": (
        [sent("original"), sent("void", 2), sent("original", 3)], ["voided", "void", None],
    ),
    "reversal and replacement on one day": (
        [sent("replacement", 2), sent("void", 2), sent("original")], [None, "void", "replaced"],
    ),
    "replacement with fewer lines": (
        [sent("original"), sent("original", 1, "2"), sent("replacement", 2)], ["replaced", "replaced", None],
    ),
    "replacement of a replacement": (
        [sent("replacement", 3), sent("replacement", 2), sent("original")], [None, "replaced", "replaced"],
    ),
    "reversal of a replacement": (
        [sent("original"), sent("replacement", 2), sent("void", 3, None)], ["voided", "voided", "void"],
    ),
    "adjustment of a denied claim": ([sent("denied"), sent("replacement", 2)], ["denied", None]),
    "denial after payment": ([sent("original"), sent("denied", 2)], ["denied_later", "denied"]),
    "denied line of a replacement": (
        [sent("original"), sent("replacement", 2, "2"), sent("denied", 2)], ["replaced", None, "denied"],
    ),
    "duplicate line": ([sent("original"), sent("original")], [None, None]),  # one row by the grain of the table
    "duplicate line with another line number, one taken back": (
        [sent("original"), sent("original", 1, "2"), sent("void", 1, "2")], [None, "voided", "void"],
    ),
    "one claim id, two payers": (
        [sent("original"), sent("original", payer="Q"), sent("void", 2, payer="Q")], [None, "voided", "void"],
    ),
    "one claim id, a payer and none": ([sent("original", payer=None), sent("void", 2)], [None, "void"]),
    "lines without a claim": ([sent("original", claim=None), sent("void", 2, claim=None)], [None, "void"]),
    "version that the supplier has settled": ([sent("not_final", 3), sent("original")], ["not_final", None]),
    "replacement without a day": ([sent("original", 0), sent("replacement", 0)], ["replaced", None]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_cases_by_hand_in_every_order(name):
    events, expected = CASES[name]
    assert rule(events) == expected
    orders = list(permutations(range(len(events))))
    fates = settled([[events[place] for place in order] for order in orders])
    assert fates == [[expected[place] for place in order] for order in orders]


@pytest.mark.parametrize("seed", range(8))
def test_any_six_events_in_every_order(seed):
    draw = random.Random(seed)  # noqa: S311 # a fixed sample, no secret
    actions = ["original", "original", *DEEDS, "not_final", None]
    for _ in range(12):
        events = [
            (
                draw.choice("PQ"),
                draw.choice("CCCD"),
                draw.choice(["1", "2", None]),
                draw.choice(DAYS),
                draw.choice(actions),
            )
            for _ in range(draw.randrange(1, 7))
        ]
        expected = rule(events)
        orders = list(permutations(range(len(events))))
        fates = settled([[events[place] for place in order] for order in orders])
        assert fates == [[expected[place] for place in order] for order in orders]
