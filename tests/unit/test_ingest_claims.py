"""Claim views of a layout: what stands reaches the tables, the rest is counted, a faulty view is named."""

import json

import pytest
from ingest_helpers import LAYOUT, write_extract, write_layout

from cohort.errors import StudyError
from cohort.ingest.load import ingest
from cohort.store import manifest as manifests

CLAIMS = LAYOUT.replace("\n[sources.people]", 'views = ["bill"]\nclaims = ["bill"]\n\n[sources.people]', 1).replace(
    'CODE = { type = "text", filled = true }',
    'CODE = { type = "text", filled = true }\nCLAIM = "text"\nPAID = "date"\nDEED = "text"',
)
BILL = """select *, ID as person, null::varchar as claim_payer, CLAIM as claim_id, null::varchar as claim_line,
PAID as claim_version, DEED as claim_action from extract.visits"""
DIAGNOSIS = "select ID as person, DAY as date, DAY as end_date, 'icd10' as system, CODE as code from extract.bill"
VISITS = b"""ID,DAY,CODE,CLAIM,PAID,DEED
1,2020-01-01,M545,A,2020-02-02,void
1,2020-01-01,M545,A,2020-02-01,original
1,2020-01-02,M542,B,2020-02-01,
2,2020-01-03,M541,C,2020-02-01,
2,2020-01-03,M543,C,2020-03-01,replacement
"""


def load(tmp_path, visits=VISITS, bill=BILL, declaration=CLAIMS, **options):
    layout = write_layout(tmp_path / "tiny", declaration, diagnosis=DIAGNOSIS, bill=bill)
    return ingest(write_extract(tmp_path / "extract", visits=visits), layout, tmp_path / "store", **options)


@pytest.mark.parametrize("buckets", [1, 4])
def test_only_what_stands_is_stored_and_the_rest_is_counted_by_reason(tmp_path, buckets):
    store = load(tmp_path, buckets=buckets)
    assert sorted(store.scan("diagnosis").collect()["code"]) == ["M542", "M543"]
    count = store.account.claims["bill"]
    assert (count.lines, count.standing, count.superseded) == (5, 2, {"replaced": 1, "void": 1, "voided": 1})
    assert "bill: 5 claim lines = 2 standing + 1 replaced + 1 void + 1 voided" in str(store.account)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bill": BILL.replace(" as claim_version", " as version")}, r"bill\.sql: lacks column claim_version"),
        ({"visits": VISITS.replace(b",void", b",Storno")}, r"bill\.sql: 1 lines have a claim_action that is none of"),
        (
            {"declaration": CLAIMS.replace('claims = ["bill"]', 'claims = ["sums"]')},
            "claims: sums is none of its views",
        ),
    ],
)
def test_a_faulty_claim_view_is_named(tmp_path, change, words):
    with pytest.raises(StudyError, match=words) as refused:
        load(tmp_path, **change)
    assert "Storno" not in str(refused.value)


def test_a_manifest_of_a_version_without_claims_is_whole(tmp_path):
    old = load(tmp_path).manifest.model_copy(update={"number": 2})
    body = old.model_dump_json(exclude={"claims"})
    # as the version before wrote it: the sum over its own text
    path = manifests.path_of(tmp_path / "store", 2)
    path.write_text(f'{{"checksum": "{manifests._checksum(json.loads(body))}", "manifest": {body}}}')
    assert manifests.read(tmp_path / "store", 2).claims == {}
