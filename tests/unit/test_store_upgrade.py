"""A store of an older version stays readable: the manifest of format 1 as version 0.1.0 wrote it, to the byte."""

import json

import pytest

from cohort.errors import InputRefusedError
from cohort.store import manifest as manifests
from cohort.store.store import Store

FORMAT_1 = """{
 "checksum": "CHECKSUM",
 "manifest": {
  "format": 1,
  "number": 1,
  "created": "2026-11-20T12:00:00Z",
  "layout": "tiny",
  "layout_sha256": "ab",
  "fingerprint": "cd",
  "buckets": 2,
  "key_id": "ef",
  "data_end": "2020-01-31",
  "unlisted_persons": 0,
  "tables": {
   "person": [{"path": "data/000001-cd/person/0000.parquet", "bucket": 0, "rows": 2, "bytes": 10, "sha256": "01"}]
  },
  "inputs": [
   {
    "source": "people", "name": "people.csv", "bytes": 9, "sha256": "02", "lines": 3, "header": 1, "blank": 0,
    "continuation": 0, "loaded": 2, "rejected": 0, "reasons": {}
   }
  ],
  "not_used": [],
  "counts": {
   "person": {"supplied": 2, "stored": 2, "duplicates": 0, "superseded": 0, "incomplete": 0, "repaired": 0}
  }
 }
}"""
CHECKSUM = "ed445a835493027e20dd974168297432734925c6d934e7e808cb42ae4d5da74f"


@pytest.fixture
def older(tmp_path):
    """Return a store whose manifest lacks what was added since (rejected rows per table)."""
    path = manifests.path_of(tmp_path, 1)
    path.parent.mkdir()
    path.write_text(FORMAT_1.replace("CHECKSUM", CHECKSUM))
    return tmp_path


def test_a_manifest_of_format_1_is_read(older):
    store = Store.open(older)
    assert (store.buckets, str(store.data_end)) == (2, "2020-01-31")
    assert store.account.tables["person"].stored == 2
    assert store.account.tables["person"].rejected == {}


def test_its_checksum_still_guards_it(older):
    path = manifests.path_of(older, 1)
    path.write_text(path.read_text().replace('"rows": 2', '"rows": 3'))
    with pytest.raises(InputRefusedError, match="damaged"):
        manifests.read(older, 1)


def test_a_later_format_is_refused_with_the_repair(older):
    path = manifests.path_of(older, 1)
    document = json.loads(path.read_text())
    document["manifest"]["format"] = manifests.FORMAT + 1
    path.write_text(json.dumps(document))
    with pytest.raises(InputRefusedError, match="upgrade cohort or ingest again"):
        manifests.read(older, 1)


def test_of_a_store_without_pharmacy_benefit_nothing_is_said(older):
    assert "pharmacy_benefit" not in Store.open(older).bucket(0)
    assert Store.open(older).scan("pharmacy_benefit").collect().is_empty()
