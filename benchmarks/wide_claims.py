"""Wide claims as a CSV and the layout that reads them: ``python benchmarks/wide_claims.py LINES FOLDER [--bad 0.25]``.

A line is a claim line of one person and day with up to five diagnoses side by side, about 46 bytes; ten lines a
person. Same arguments, same bytes.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import polars as pl

PERSONS_PER_LINE = 0.1
BLOCK = 1_000_000
CODES = pl.Series([f"{letter}{number:02d}{end}" for letter in "EFGHIJKMNR" for number in range(100) for end in "01259"])
PLACES = pl.Series(["11", "21", "22", "23"])

LAYOUT = """
name = "wide_claims"
description = "claim lines with five diagnoses side by side"

[sources.claims]
files = ["claims.csv", "claims.csv.gz"]
rows_per_line = 2.5
[sources.claims.columns]
person_id = "person"
claim_date = { type = "date", filled = true }
place = "text"
dx = { type = "text", repeat = 5 }
"""
DIAGNOSIS = """
with written as (
    select
        person_id as person, claim_date as date, claim_date as end_date, 'icd10' as system,
        case place when '21' then 'inpatient' when '23' then 'emergency' else 'outpatient' end as setting,
        unnest([dx1, dx2, dx3, dx4, dx5]) as code, unnest(range(1, 6)) as position
    from extract.claims
)
select * from written where code is not null
"""
PERSON = "select distinct person_id as person from extract.claims"


def _block(rng: np.random.Generator, start: int, lines: int, persons: int, bad: float) -> pl.DataFrame:
    """Return claim lines; the share ``bad`` of them has a day that does not exist."""
    day = pl.Series(rng.integers(17_532, 19_722, lines).astype(np.int32)).cast(pl.Date).cast(pl.String)
    wrong = pl.Series(rng.random(lines) < bad)
    filled = rng.geometric(0.4, lines)  # 2.3 diagnoses a line
    codes = {
        f"dx{at + 1}": CODES.gather((len(CODES) * rng.random(lines) ** 3).astype(np.uint32)).zip_with(
            pl.Series(filled > at), pl.repeat(None, lines, dtype=pl.String, eager=True)
        )
        for at in range(5)
    }
    return pl.DataFrame(
        {
            "line": np.arange(start, start + lines),
            "person_id": rng.integers(0, persons, lines) + 10_000_000,
            "claim_date": day.zip_with(~wrong, pl.repeat("2020-02-30", lines, eager=True)),
            "place": PLACES.gather(rng.integers(0, len(PLACES), lines)),
            **codes,
        }
    )


def write(lines: int, folder: Path, bad: float, *, packed: bool) -> None:
    """Write ``layout/`` and ``extract/`` below a folder."""
    for name in ("layout", "extract"):
        (folder / name).mkdir()
    for name, text in (("layout.toml", LAYOUT), ("diagnosis.sql", DIAGNOSIS), ("person.sql", PERSON)):
        (folder / "layout" / name).write_text(text)
    rng, persons = np.random.default_rng(7), max(int(lines * PERSONS_PER_LINE), 1)
    path = folder / "extract" / ("claims.csv.gz" if packed else "claims.csv")
    with gzip.open(path, "wb", 1) if packed else path.open("wb") as stream:
        for start in range(0, lines, BLOCK):
            block = _block(rng, start, min(BLOCK, lines - start), persons, bad)
            stream.write(block.write_csv(include_header=start == 0).encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bad", type=float, default=0.0, help="share of lines whose day does not exist")
    parser.add_argument("--gzip", action="store_true")
    chosen = parser.parse_args()
    write(chosen.lines, chosen.folder, chosen.bad, packed=chosen.gzip)
