"""Seven registry files of seven shapes, each taken by a mapping of its columns, against queries over the raw files."""

from __future__ import annotations

import datetime as dt
import hashlib

import duckdb
import pytest
from layout_helpers import fates, keyed, load, stored

FILES = {  # mapping → file, records, persons, and its measurements as a query by hand
    "cdystonia": (
        "cdystonia",
        631,
        109,
        "select site || '/' || id, date '2000-01-01' + 7 * week::int, 'TWSTRS', twstrs::double, 'points' from raw",
    ),
    "btheb_wide": (
        "prom_bdi_BtheB",
        100,
        100,
        """
        select id, date '2000-01-01', 'BDI', "bdi.pre"::double, 'points' from raw where "bdi.pre" <> ''
        union all select id, date '2000-03-01', 'BDI', "bdi.2m"::double, 'points' from raw where "bdi.2m" <> ''
        union all select id, date '2000-04-01', 'BDI', "bdi.3m"::double, 'points' from raw where "bdi.3m" <> ''
        union all select id, date '2000-06-01', 'BDI', "bdi.5m"::double, 'points' from raw where "bdi.5m" <> ''
        union all select id, date '2000-09-01', 'BDI', "bdi.8m"::double, 'points' from raw where "bdi.8m" <> ''
        """,
    ),
    "btheb_long": (
        "prom_bdi_BtheB_long",
        400,
        97,  # three never came back
        """
        select id, (date '2000-01-01' + to_months(time::int))::date, 'BDI', bdi::double, 'points'
        from raw where bdi <> ''
        """,
    ),
    "migraine": (
        "migraine_kosteckidillon",
        4152,
        133,
        """
        select distinct id, date '1994-01-01' + dos::int, 'headache', (headache = 'yes')::int::double, '1 = yes'
        from raw
        """,  # one person has two identical lines of one day
    ),
    "licorice_gargle": (
        "licorice_gargle",
        235,
        233,  # two have no pain score at all
        """
        select person, day, instrument, value::double, null from (
            select
                '{sha}/' || row_number() over () as person,
                unnest([date '2000-01-01', '2000-01-01', '2000-01-01', '2000-01-01', '2000-01-02']) as day,
                unnest(['throat pain, 30 minutes', 'pain on swallowing, 30 minutes', 'throat pain, 90 minutes',
                    'throat pain, 4 hours', 'throat pain, next morning']) as instrument,
                unnest([pacu30min_throatPain, pacu30min_swallowPain, pacu90min_throatPain, postOp4hour_throatPain,
                    pod1am_throatPain]) as value
            from raw
        ) where value <> ''
        """,
    ),
    "supraclavicular": (
        "supraclavicular",
        103,
        103,
        """
        select subject, date '2000-01-01', 'VRS at rest', vps_rest::double, null from raw
        union all select subject, date '2000-01-01', 'VRS on movement', vps_movement::double, null from raw
        """,
    ),
    "backpain": (
        "backpain_anderson",
        101,
        101,
        """
        select '{sha}/' || row_number() over (), date '2000-01-22', 'global change',
            list_position(['worse', 'same', 'slight.improvement', 'moderate.improvement', 'marked.improvement',
                'complete.relief'], pain)::double, 'grade, 6 = complete relief'
        from raw
        """,
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_every_value_of_the_file_is_stored(shared, root, tmp_path, name):
    file, records, persons, query = FILES[name]
    folder = shared / "data" / "registry_pain"
    store = load(folder, root / "examples" / "registry" / name, tmp_path / "store")
    with duckdb.connect() as connection:
        connection.execute(
            f"create table raw as from read_csv('{folder / file}.csv', all_varchar = true, nullstr = '\x01')"
        )
        digest = hashlib.sha256((folder / f"{file}.csv").read_bytes()).hexdigest()
        expected = connection.execute(query.replace("{sha}", digest[:16])).fetchall()
    assert stored(store, "measurement") == keyed(expected)
    assert store.scan("measurement").collect()["person_id"].n_unique() == persons
    assert fates(store) == {f"{file}.csv": (records, 0)}


def test_a_person_is_an_identifier_within_its_site(shared, root, tmp_path):
    store = load(shared / "data" / "registry_pain", root / "examples" / "registry" / "cdystonia", tmp_path / "store")
    assert store.scan("person").collect().height == 109  # 19 identifiers, used again at 9 sites
    assert set(store.scan("person").collect()["sex"]) == {"female", "male"}


def test_the_long_form_needs_no_mapping(tmp_path):
    extract = tmp_path / "extract"
    extract.mkdir()
    (extract / "measurements_2024.csv").write_text(
        "person,date,instrument,value\n"
        "a,2024-01-01,nrs,7\na,2024-02-01,NRS,NA\na,2024-03-01,NRS,0\nb,2024-01-05,NRS,11\nb,2024-01-09,VAS,55\n"
    )
    (extract / "persons.csv").write_text("person,birth_date,sex\na,1980-02-29,F\nb,,male\n")
    (extract / "observation.csv").write_text("person,start_date,end_date\nb,2024-01-01,\n")
    store = load(extract, "registry", tmp_path / "store", max_reject_rate=0.3)
    assert stored(store, "measurement") == keyed(
        [
            ("a", dt.date(2024, 1, 1), "NRS", 7.0, "points"),
            ("a", dt.date(2024, 3, 1), "NRS", 0.0, "points"),
            ("b", dt.date(2024, 1, 9), "VAS", 55.0, "mm"),
        ]
    )
    assert store.account.tables["measurement"].rejected == {"implausible:NRS": 1}
    assert stored(store, "enrolment") == keyed(
        [
            ("a", dt.date(2024, 1, 1), dt.date(2024, 3, 1)),  # from the first to the last visit
            ("b", dt.date(2024, 1, 1), dt.date(2024, 3, 1)),  # an open end: the last date in the data
        ]
    )
    assert stored(store, "person") == keyed(
        [("a", dt.date(1980, 2, 29), "female", None, None), ("b", None, "male", None, None)]
    )
