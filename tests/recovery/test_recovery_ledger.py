"""From dirty extract to store: the loader accounts for every defect that the ledger lists."""

from __future__ import annotations

import csv

import polars as pl
import pytest

from cohort.ingest.load import ingest
from cohort.simulate import simulate

SOURCES = ("eligibility", "medical_claim", "pharmacy_claim")
REASONS = {
    "mistyped_date": {"eligibility": "unreadable:enrollment_start_date", "medical_claim": "unreadable:claim_start_date",
                      "pharmacy_claim": "unreadable:dispensing_date"},
    "missing_separator": dict.fromkeys(SOURCES, "short_row"),
    "extra_separator": dict.fromkeys(SOURCES, "long_row"),
}  # fmt: skip


@pytest.fixture(scope="module")
def extract(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    simulate(persons=3000, seed=3, out=folder, dirt=1.0)
    return folder


@pytest.fixture(scope="module")
def ledger(extract):
    return pl.read_csv(extract / "truth/ledger.csv")


@pytest.fixture(scope="module")
def store(extract, tmp_path_factory):
    # at dirt 1, 0.4 % of the lines cannot be read
    return ingest(extract, "tuva", tmp_path_factory.mktemp("store") / "s", max_reject_rate=0.02)


def test_each_unreadable_line_is_rejected_for_its_defect(store, ledger):
    for account in store.manifest.inputs:
        planted = ledger.filter(file=account.name, expected="rejected")["defect"].value_counts().rows()
        assert account.reasons == {REASONS[defect][account.source]: count for defect, count in planted}


def test_the_rejects_name_the_physical_lines_of_the_ledger(store, ledger):
    files = [file for name in SOURCES for file in store.path.glob(f"private/rejects/*/{name}-*.parquet")]
    found = pl.concat(pl.read_parquet(file) for file in files)
    planted = ledger.filter(expected="rejected").select("file", "line").sort("file", "line")
    assert found.select("file", "line").sort("file", "line").equals(planted)


def test_claims_of_persons_who_are_in_no_eligibility_line_are_counted(store, extract, ledger):
    persons = {name: set() for name in SOURCES}
    for name in SOURCES:
        rejected = set(ledger.filter(file=f"{name}.csv", expected="rejected")["line"])
        with (extract / f"{name}.csv").open(encoding="ascii") as file:
            for number, row in enumerate(csv.DictReader(file), 2):
                if number not in rejected:
                    persons[name].add(row["person_id"])
    strangers = (persons["medical_claim"] | persons["pharmacy_claim"]) - persons["eligibility"]
    assert sum(person.startswith("X") for person in strangers) > 0
    assert store.manifest.unlisted_persons == len(strangers)


def test_every_planted_reversal_takes_back_its_line_and_no_other(store, extract, ledger):
    reversals = ledger.filter(defect="reversal")
    for source, view in (("medical_claim", "medical_line"), ("pharmacy_claim", "pharmacy_line")):
        planted = reversals.filter(file=f"{source}.csv").height
        loaded = next(account.loaded for account in store.account.files if account.source == source)
        assert planted > 0
        count = store.account.claims[view]
        assert count.superseded == {"void": planted, "voided": planted}
        assert (count.lines, count.standing) == (loaded, loaded - 2 * planted)
    kept = kept_dispensings(extract, ledger)
    assert store.scan("dispensing").collect().height == len(kept)


def test_planted_dates_of_the_far_future_are_rejected_and_do_not_move_the_end_of_the_data(store, extract, ledger):
    planted = dict.fromkeys(("eligibility", "pharmacy_claim"), 0)
    for source in planted:
        lines = set(ledger.filter(file=f"{source}.csv", defect="impossible_date")["line"])
        with (extract / f"{source}.csv").open(encoding="ascii") as file:
            planted[source] = sum("2999-12-31" in text for number, text in enumerate(file, 1) if number in lines)
    assert min(planted.values()) > 0
    assert store.account.tables["dispensing"].rejected == {"future_date": planted["pharmacy_claim"]}
    assert store.account.tables["enrolment"].rejected == {"future_date": planted["eligibility"]}
    assert store.data_end == store.scan("diagnosis").collect()["date"].max()
    assert store.data_end.year < 2030


def kept_dispensings(extract, ledger):
    """Return the distinct dispensings that neither a reject nor a reversal took away, read without the loader."""
    planted = ledger.filter(file="pharmacy_claim.csv")
    reversed_lines = planted.filter(defect="reversal").select("line", "original_line").rows()
    gone = {number for pair in reversed_lines for number in pair} | set(planted.filter(expected="rejected")["line"])
    with (extract / "pharmacy_claim.csv").open(encoding="ascii") as file:
        rows = [row for number, row in enumerate(csv.DictReader(file), 2) if number not in gone]
    rows = [row for row in rows if row["dispensing_date"] != "2999-12-31"]
    columns = ("person_id", "dispensing_date", "ndc_code", "quantity", "days_supply")
    return {tuple(row[column] for column in columns) for row in rows}
