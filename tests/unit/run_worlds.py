"""A store of a few persons, and a study on it, that the tests of runs share."""

from __future__ import annotations

from pathlib import Path

from ingest_helpers import LAYOUT, write_layout

import cohort as co

SPANS = """
[sources.spans]
files = ["spans.csv"]
[sources.spans.columns]
ID = "person"
BEGAN = "date"
ENDED = "date"
"""
ENROLMENT = "select ID as person, BEGAN as start_date, ENDED as end_date from extract.spans"
ALWAYS = ("2018-01-01", "2022-12-31")


def write_people(folder: Path, people: dict[int, tuple]) -> Path:
    """Write an extract: person → (year of birth, (enrolled from, to), visits as (day, code))."""
    folder.mkdir()
    persons, spans, visits = ["ID,BORN,SEX"], ["ID,BEGAN,ENDED"], ["ID,DAY,CODE"]
    for number, (born, span, records) in people.items():
        persons.append(f"{number},{born}-01-01,female")
        spans.append(f"{number},{span[0]},{span[1]}")
        visits += [f"{number},{day},{code}" for day, code in records]
    for name, lines in (("people", persons), ("spans", spans), ("visits", visits)):
        (folder / f"{name}.csv").write_text("\n".join([*lines, ""]))
    return folder


def load(folder: Path, store: Path, people: dict[int, tuple], **options: object) -> co.Store:
    """Ingest persons as the content of a store."""
    layout = write_layout(store.parent / "layout", LAYOUT + SPANS, enrolment=ENROLMENT)
    return co.ingest(write_people(folder, people), layout, store, keep_ids=True, **options)


def study(codes: tuple[str, ...] = ("M545",), minimum: int = 0, age: int = 18) -> co.Study:
    """Return a study of first records of some codes."""
    backs = co.Codelist.from_rows("backs", [{"system": "icd10", "code": code} for code in codes])
    people = (
        co.Cohort("Back pain")
        .enter_at_first(co.diagnosis(backs), washout_days=180)
        .require_age(age, 100)
        .require_enrolled(co.Window(-365, 0))
    )
    return co.Study(
        people,
        outcome=co.chronification(backs, after_days=90, within_days=365),
        analyses=[co.incidence_rate()],
        disclosure=co.DisclosureRule(minimum=minimum),
    )


PEOPLE = {
    number: (1970, ALWAYS, [("2020-03-01", "M545")] + [("2020-08-01", "M545")] * (number % 3 == 0))
    for number in range(1, 41)
}
