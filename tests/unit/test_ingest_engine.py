"""The locked-down engine: what it refuses, and what it says when something goes wrong."""

import duckdb
import pytest

from cohort.errors import InputRefusedError, ResourceError, StudyError
from cohort.ingest.engine import sandbox, translated


@pytest.mark.parametrize(
    "query",
    [
        "select * from read_text('/etc/hostname')",
        "copy (select 1) to '/tmp/cohort_must_not_exist'",
        "attach '/tmp/cohort_must_not_exist.db'",
        "install httpfs",
        "set enable_external_access = true",
        "set memory_limit = '1TB'",
    ],
)
def test_the_sandbox_holds(tmp_path, query):
    with sandbox([tmp_path], tmp_path) as connection, pytest.raises(duckdb.Error):
        connection.execute(query)


def test_a_memory_limit_must_be_a_size(tmp_path):
    with sandbox([tmp_path], tmp_path, "512MB", 1) as connection:
        assert connection.execute("select current_setting('threads')").fetchone() == (1,)
    with pytest.raises(StudyError, match="write it as 4GB"), sandbox([tmp_path], tmp_path, "lots"):
        pass


@pytest.mark.parametrize(
    ("raised", "ours"),
    [
        (duckdb.OutOfMemoryException("x SECRET"), ResourceError),
        (duckdb.IOException("No space left on device SECRET"), ResourceError),
        (duckdb.ConversionException("Could not convert SECRET"), InputRefusedError),
        (duckdb.InvalidInputException("CSV Error on Line: 8\nOriginal Line: SECRET"), InputRefusedError),
    ],
)
def test_messages_of_the_library_are_replaced(raised, ours):
    with pytest.raises(ours) as refused, translated("t.csv"):
        raise raised
    assert "SECRET" not in str(refused.value)
    assert refused.value.__suppress_context__
    assert str(refused.value).startswith("t.csv")
    if "Line: 8" in str(raised):
        assert "t.csv, line 8" in str(refused.value)


def test_the_settings_are_what_the_sandbox_promises(tmp_path):
    with sandbox([tmp_path / "extract"], tmp_path, "512MB") as connection:
        promised = {
            "enable_external_access": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "lock_configuration": True,
            "temp_directory": str(tmp_path / "spill"),
        }
        seen = {name: connection.execute(f"select current_setting('{name}')").fetchone()[0] for name in promised}
        folders = connection.execute("select current_setting('allowed_directories')").fetchone()[0]
        databases = connection.execute("select path from duckdb_databases() where not internal").fetchall()
    assert seen == promised
    assert {folder.rstrip("/") for folder in folders} >= {str(tmp_path), str(tmp_path / "extract")}
    assert databases == [(None,)], "in memory only"


@pytest.mark.parametrize(
    "query", ["load httpfs", "select * from 'https://localhost/x.parquet'", "load '/tmp/x.duckdb_extension'"]
)
def test_no_extension_is_loaded(tmp_path, query):
    with sandbox([tmp_path], tmp_path) as connection, pytest.raises(duckdb.Error):
        connection.execute(query)
