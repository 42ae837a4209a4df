"""The same rows in any order, on one thread or two, give the same bytes."""

import random
from pathlib import Path

import pytest

from cohort.ingest.load import ingest

ROWS = 150_000  # more than one row group of the diagnosis table


@pytest.fixture(scope="module")
def extracts(tmp_path_factory):
    """Write one extract twice, the second time shuffled."""
    draw = random.Random(11)  # noqa: S311 -- made-up rows, not secrets
    persons = [f"{number},19{draw.randint(30, 99)}-01-0{draw.randint(1, 9)},,F,Ohio" for number in range(3000)]
    conditions = [
        f"20{draw.randint(10, 19)}-0{draw.randint(1, 9)}-1{draw.randint(0, 9)},"
        f"{draw.randrange(3000)},{draw.randrange(99)}"
        for _ in range(ROWS)
    ]
    medications = [f"2020-01-0{draw.randint(1, 9)},{draw.randrange(3000)},{draw.randrange(5)}" for _ in range(5000)]
    folders = []
    for name in ("once", "shuffled"):
        folder = tmp_path_factory.mktemp(name)
        write(folder / "patients.csv", "ID,BIRTHDATE,DEATHDATE,GENDER,STATE", persons)
        write(folder / "conditions.csv", "START,PATIENT,CODE", conditions)
        write(folder / "medications.csv", "START,PATIENT,CODE", medications)
        folders.append(folder)
        for rows in (persons, conditions, medications):
            draw.shuffle(rows)
    return folders


def write(path: Path, header: str, rows: list[str]) -> None:
    path.write_text("\n".join([header, *rows, ""]))


@pytest.mark.parametrize("buckets", [1, 7, 64])
def test_files_are_the_same_bytes(extracts, tmp_path, buckets):
    runs = []
    for number, (folder, threads) in enumerate([(extracts[0], 1), (extracts[1], 2)]):
        store = ingest(folder, "synthea", tmp_path / str(number), buckets=buckets, keep_ids=True, threads=threads)
        runs.append(
            {
                name: [(file.bucket, file.rows, file.sha256) for file in files]
                for name, files in store.manifest.tables.items()
            }
        )
    assert runs[0] == runs[1]
    assert {len(files) for files in runs[0].values() if files} == {buckets}  # tables that were not delivered have none
    assert sum(rows for _, rows, _ in runs[0]["diagnosis"]) > 122_880
