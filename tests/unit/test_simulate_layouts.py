"""One population in several layouts is one population, and each layout's dirt is accounted for by the loader."""

from __future__ import annotations

import hashlib
import hmac

import polars as pl
import pytest

from cohort.codes.codelist import Codelist
from cohort.codes.match import matches
from cohort.ingest.load import ingest
from cohort.ingest.pseudonyms import KEEP_IDS_KEY
from cohort.simulate import simulate
from cohort.simulate.layouts import LAYOUTS
from cohort.simulate.vocabulary import concepts, vocabulary

PERSONS = 2500


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The spotless population in every layout, as stores with the published key: a person has one number in all."""
    folder = tmp_path_factory.mktemp("layouts")
    found = {}
    for layout, format in {
        "tuva": "csv",
        "nordic_registry": "parquet",
        "registry": "csv.gz",
        "omop": "parquet",
    }.items():
        simulate(persons=PERSONS, layout=layout, out=folder / layout, format=format)
        found[layout] = ingest(folder / layout, layout, folder / f"{layout}_store", keep_ids=True, buckets=1)
    assert set(found) == set(LAYOUTS)
    return found


def table(store, name, *columns):
    return store.scan(name).select(columns).unique().sort(columns).collect()


@pytest.mark.parametrize("layout", ["nordic_registry", "registry"])
def test_persons_and_observation_are_those_of_the_claims(stores, layout):
    # US claims know a person only if enrolled; the registers list everybody
    observed = table(stores["tuva"], "enrolment", "person_id", "start_date", "end_date")
    assert table(stores[layout], "enrolment", "person_id", "start_date", "end_date").equals(observed)
    columns = ("person_id", "birth_date", "sex", "death_date", "region")
    listed = table(stores[layout], "person", *columns)
    assert listed.height == PERSONS
    claims = table(stores["tuva"], "person", *columns)
    assert listed.join(claims, on="person_id", how="semi").sort(columns).equals(claims)


def test_days_with_a_diagnosis_are_the_same_in_claims_and_registers(stores):
    days = [table(stores[layout], "diagnosis", "person_id", "date") for layout in ("tuva", "nordic_registry")]
    assert days[0].equals(days[1])


def pseudonym(person: str) -> int:
    digest = hmac.new(KEEP_IDS_KEY, person.encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("enrolment", ("start_date", "end_date")),
        ("diagnosis", ("date", "end_date", "system", "code")),
        ("procedure", ("date", "code")),  # the model calls CPT numbers by their name
        ("dispensing", ("date", "system", "code", "quantity", "days_supply")),
    ],
)
def test_omop_holds_what_the_claims_hold(stores, name, columns):
    numbers = range(1, PERSONS + 1)
    named = {pseudonym(str(number)): pseudonym(f"P{number:07d}") for number in numbers}
    claims, omop = (table(stores[layout], name, "person_id", *columns) for layout in ("tuva", "omop"))
    assert claims.height > 500
    renamed = omop.with_columns(pl.col("person_id").replace_strict(named)).sort("person_id", *columns)
    assert renamed.equals(claims)


def test_omop_measurements_are_the_ratings_of_the_registry(stores):
    columns = ["date", "value", "unit"]
    ratings = [
        stores[layout].scan("measurement").select(columns).sort(columns).collect() for layout in ("registry", "omop")
    ]
    assert ratings[0].equals(ratings[1])
    assert stores["omop"].scan("measurement").collect()["instrument"].unique().to_list() == ["LOINC 72514-3"]


@pytest.mark.parametrize("codelist", ["low_back_pain", "chronic_pain_explicit"])
def test_both_code_systems_say_the_same_of_pain(stores, codelist):
    found = [
        matches(stores[layout].scan("diagnosis"), Codelist.shipped(codelist))
        .select("person_id", "date").unique().sort("person_id", "date").collect()
        for layout in ("tuva", "nordic_registry")
    ]  # fmt: skip
    assert found[0].height > 0
    assert found[0].equals(found[1])


def test_every_concept_of_an_encounter_or_drug_has_a_nordic_code():
    nordic = vocabulary("nordic")
    without = {name for name, count in zip(concepts(), nordic.count[:, -1], strict=True) if count == 0}
    visits = {"office_visit", "emergency_visit"}
    procedures = {"physical_therapy", "psychotherapy", "epidural_injection", "occipital_nerve_block", "botulinum_toxin",
                  "stellate_ganglion_block", "ketamine_infusion"}  # fmt: skip
    assert without == visits | procedures  # no part of these registers


def test_ratings_are_whole_numbers_that_rise_with_severity(stores, tmp_path):
    simulate(persons=PERSONS, layout="registry", out=tmp_path)
    lines = pl.read_csv(tmp_path / "measurements.csv", try_parse_dates=True)
    # 15 % are not filled in: 7,800 lines give a standard error of 0.004
    assert lines["value"].null_count() / lines.height == pytest.approx(0.15, abs=0.016)
    values = stores["registry"].scan("measurement").collect()
    assert values["instrument"].unique().to_list() == ["NRS"]
    assert set(values["value"].unique()) == set(map(float, range(11)))
    episodes = pl.read_parquet(tmp_path / "truth/episodes.parquet")
    rated = (
        lines.rename({"person": "person_id"}).drop_nulls("value").sort("date")
        .join_asof(
            episodes.sort("onset_date"),
            left_on="date", right_on="onset_date", by="person_id", check_sortedness=False,
        )
        .group_by("severity").agg(pl.col("value").mean())
    )  # fmt: skip
    mean = dict(rated.iter_rows())
    # the steps are 2 points; ratings end at 10, and states differ a little between severities
    assert 1.4 < mean["moderate"] - mean["mild"] < 2.4
    assert 1.4 < mean["severe"] - mean["moderate"] < 2.4


@pytest.mark.parametrize("format", ["csv", "csv.gz"])
@pytest.mark.parametrize("layout", ["nordic_registry", "registry", "omop"])
def test_the_loader_rejects_what_the_ledger_says_it_must(layout, format, tmp_path):
    simulate(persons=PERSONS, layout=layout, out=tmp_path / "x", dirt=1.0, format=format)
    ledger = pl.read_csv(tmp_path / "x/truth/ledger.csv")
    store = ingest(tmp_path / "x", layout, tmp_path / "s", max_reject_rate=0.02, buckets=1)
    sources = LAYOUTS[layout].roles
    files = [file for name in sources for file in store.path.glob(f"private/rejects/*/{name}-*.parquet")]
    # a table of the store may have the name of a file, and rejects of its own, which have no lines
    rejects = [frame for file in files if "line" in (frame := pl.read_parquet(file)).columns]
    found = pl.concat(frame.select("file", "line") for frame in rejects)
    planted = ledger.filter(expected="rejected").select("file", "line").sort("file", "line")
    assert planted.height > 0
    assert found.sort("file", "line").equals(planted)
