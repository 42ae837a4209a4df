"""Pseudonyms: the published construction, the key's custody, and the refusal to merge two persons."""

import hashlib
import hmac
import stat

import duckdb
import pytest
from ingest_helpers import write_extract, write_layout

from cohort.errors import InputRefusedError
from cohort.ingest.load import ingest
from cohort.ingest.pseudonyms import KEEP_IDS_KEY, make_pseudonyms, read_key, refuse_collisions
from cohort.store.manifest import key_id

IDENTIFIERS = ["1", "00123", "é", "Ω-7", "a" * 100, "NaN", "o'neil", "1e10"]


@pytest.mark.parametrize("key", [b"k" * 32, bytes(range(64)), b"longer than a block of SHA-256 " * 5])
def test_the_pseudonym_is_63_bits_of_the_hmac_of_the_standard_library(key):
    connection = duckdb.connect()
    connection.execute("create table identifier (person varchar)")
    connection.executemany("insert into identifier values (?)", [[name] for name in IDENTIFIERS])
    make_pseudonyms(connection, key)
    found = dict(connection.execute("select person, person_id from pseudonym").fetchall())
    digests = {name: hmac.digest(key, name.encode(), hashlib.sha256) for name in IDENTIFIERS}
    assert found == {name: int.from_bytes(digest[:8], "big") >> 1 for name, digest in digests.items()}


def test_blanks_around_an_identifier_do_not_matter(tmp_path):
    extract = write_extract(tmp_path / "extract", b"ID,BORN\n 7 ,1960-01-01\n", b"ID,DAY,CODE\n7,2020-01-01,A\n")
    store = ingest(extract, write_layout(tmp_path / "tiny"), tmp_path / "store")
    assert store.manifest.unlisted_persons == 0


def test_the_store_makes_its_own_key_and_keeps_it(tmp_path):
    extract, layout = write_extract(tmp_path / "extract"), write_layout(tmp_path / "tiny")
    first = ingest(extract, layout, tmp_path / "store")
    key = tmp_path / "store" / "private" / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_bytes()) == 32
    assert first.manifest.key_id == key_id(key.read_bytes())
    (extract / "people.csv").write_bytes(b"ID,BORN\n1,1960-05-17\n2,1961-01-01\n")
    second = ingest(extract, layout, tmp_path / "store")
    assert second.manifest.key_id == first.manifest.key_id
    known = first.scan("person").collect()["person_id"].item()
    assert known in second.scan("person").collect()["person_id"]


def test_a_key_file_must_be_private_and_long_enough(tmp_path):
    path = tmp_path / "key"
    with pytest.raises(InputRefusedError, match="cannot be read"):
        read_key(tmp_path, path, keep_ids=False)
    path.write_bytes(b"k" * 32)
    path.chmod(0o644)
    with pytest.raises(InputRefusedError, match="mode 0600"):
        read_key(tmp_path, path, keep_ids=False)
    path.chmod(0o600)
    assert read_key(tmp_path, path, keep_ids=False) == b"k" * 32
    path.write_bytes(b"k" * 31)
    with pytest.raises(InputRefusedError, match="fewer than 32 bytes"):
        read_key(tmp_path, path, keep_ids=False)


def test_kept_identifiers_use_the_published_key_and_nothing_else(tmp_path):
    assert read_key(tmp_path, None, keep_ids=True) == KEEP_IDS_KEY
    with pytest.raises(InputRefusedError, match="exclude each other"):
        read_key(tmp_path, tmp_path / "key", keep_ids=True)


def test_two_identifiers_on_one_pseudonym_are_refused():
    refuse_collisions(0)
    with pytest.raises(InputRefusedError, match="1 identifiers share a pseudonym"):
        refuse_collisions(1)
