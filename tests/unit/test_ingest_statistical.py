"""SAS, Stata and SPSS files: every value is the one that the same data in CSV would give, and no cut file is loaded."""

import builtins
import datetime as dt

import polars as pl
import pytest
from ingest_helpers import write_layout
from readstat_files import MISSING_A, write_sas7bdat

from cohort.errors import InputRefusedError
from cohort.ingest import statistical
from cohort.ingest.load import ingest

pyreadstat = pytest.importorskip("pyreadstat", reason="the extra `readers` is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::Warning:pyreadstat")

LAYOUT = """
name = "columns"
description = "one file"

[dialect]
date_format = ["%d.%m.%Y"]

[sources.scores]
files = ["scores*"]
[sources.scores.columns]
ID = "person"
DAY = { type = "date", filled = true }
SITE = "text"
SCORE = "number"
"""
SQL = """
select ID as person, DAY as date, SITE as instrument, SCORE as value from extract.scores where SCORE is not null
"""

IDS = ["00123", "124", "124", "125"]
DAYS = [dt.date(2020, 3, 5), dt.date(1959, 12, 31), dt.date(2020, 2, 29), dt.date(2021, 1, 1)]
SITES = ["back", "knee", "é", "hip"]
SCORES = [7.0, 2.5, None, 3.0]
FRAME = pl.DataFrame({"ID": IDS, "DAY": DAYS, "SITE": SITES, "SCORE": SCORES})
SAS_DAYS = [(day - dt.date(1960, 1, 1)).days for day in DAYS]


def write(frame, path, **options):
    """Write by the kind that the name says."""
    kind = {"zsav": "sav", "xpt": "xport"}.get(path.suffix[1:], path.suffix[1:])
    if path.suffix == ".zsav":
        options["compress"] = True
    if kind == "por":  # this format has no é
        frame = frame.with_columns(pl.col("SITE").replace("é", "e"))
    if kind == "sas7bdat":
        days = [(day - dt.date(1960, 1, 1)).days for day in frame["DAY"]]
        columns = {name: (None, frame[name].to_list()) for name in frame.columns} | {"DAY": ("DATE9.", days)}
        write_sas7bdat(path, columns)
    else:
        getattr(pyreadstat, f"write_{kind}")(frame.to_pandas(), path, **options)


def load(tmp_path, *names, declaration=LAYOUT, store="store", **options):
    layout = write_layout(tmp_path / "columns", declaration, measurement=SQL)
    for name in ("person", "diagnosis", "enrolment"):
        (layout / f"{name}.sql").unlink()
    return ingest(tmp_path / "extract", layout, tmp_path / store, keep_ids=True, **options)


@pytest.fixture
def extract(tmp_path):
    (tmp_path / "extract").mkdir()
    return tmp_path / "extract"


def rows(store):
    return store.scan("measurement").collect().sort(pl.all()).drop("unit").rows()


def of_csv(tmp_path, frame):
    """Return the rows that the same data make as CSV."""
    folder = tmp_path / "extract_csv"
    folder.mkdir()
    frame.with_columns(pl.col("DAY").dt.strftime("%d.%m.%Y")).write_csv(folder / "scores.csv")
    layout = write_layout(tmp_path / "csv", LAYOUT, measurement=SQL)
    for name in ("person", "diagnosis", "enrolment"):
        (layout / f"{name}.sql").unlink()
    return rows(ingest(folder, layout, tmp_path / "store_csv", keep_ids=True))


@pytest.mark.parametrize("ending", ["sas7bdat", "xpt", "dta", "sav", "zsav", "por"])
def test_every_format_gives_the_rows_of_the_same_csv(tmp_path, extract, ending):
    write(FRAME, extract / f"scores.{ending}")
    store = load(tmp_path)
    frame = FRAME.with_columns(pl.col("SITE").replace("é", "e")) if ending == "por" else FRAME
    assert rows(store) == of_csv(tmp_path, frame)
    (file,) = store.account.files
    assert (file.lines, file.header, file.loaded, file.rejected) == (4, 0, 4, 0)
    assert not list((tmp_path / "store" / "private").glob("work-*"))


@pytest.mark.parametrize("ending", ["sas7bdat", "xpt", "dta", "sav", "por"])
def test_a_file_of_many_chunks_is_the_same(tmp_path, extract, ending, monkeypatch):
    monkeypatch.setattr(statistical, "CELLS", 8)  # two rows at a time; the four rows are a whole number of chunks
    write(FRAME, extract / f"scores.{ending}")
    assert load(tmp_path).account.files[0].loaded == 4


@pytest.mark.parametrize("ending", ["sas7bdat", "xpt", "dta", "sav", "por"])
def test_a_numeric_identifier_has_no_point_and_no_invented_zeros(tmp_path, extract, ending):
    write(FRAME.with_columns(ID=pl.Series([123.0, 124.0, 124.0, 125.0])), extract / f"scores.{ending}")
    text = FRAME.with_columns(ID=pl.Series(["123", "124", "124", "125"]))
    if ending == "por":
        text = text.with_columns(pl.col("SITE").replace("é", "e"))
    assert rows(load(tmp_path)) == of_csv(tmp_path, text)


def test_a_format_that_prints_zeros_adds_none_and_a_label_is_no_value(tmp_path, extract):
    """What is stored counts: of SAS's Z5. and of SPSS's value labels, too."""
    columns = {
        "ID": ("Z5.", [123, 124, 124, 125]),
        "DAY": ("DATE9.", SAS_DAYS),
        "SITE": (None, SITES),
        "SCORE": (None, SCORES),
    }
    write_sas7bdat(extract / "scores.sas7bdat", columns)
    frame = FRAME.with_columns(ID=pl.Series(["123", "124", "124", "125"]))
    expected = of_csv(tmp_path, frame)
    assert rows(load(tmp_path)) == expected
    (extract / "scores.sas7bdat").unlink()
    labels = {"SCORE": {7.0: "worst"}}
    pyreadstat.write_sav(frame.to_pandas(), extract / "scores.sav", variable_value_labels=labels)
    assert rows(load(tmp_path, store="labelled")) == expected


def test_an_identifier_that_a_number_cannot_hold_exactly_is_rejected(tmp_path, extract):
    """2^53 + 1 is stored as 2^53: two persons would become one."""
    ids = pl.Series([2.0**53 - 1, 2.0**53, 2.0**53, 125.0])
    write(FRAME.with_columns(ID=ids), extract / "scores.sav")
    store = load(tmp_path, max_reject_rate=0.5)
    assert store.account.files[0].reasons == {"missing:ID": 2}


@pytest.mark.parametrize(
    ("name", "written_as", "values"),
    [
        ("SAS date", "DATE9.", SAS_DAYS),
        ("SAS date of the United States", "MMDDYY10.", SAS_DAYS),
        ("SAS month", "MONYY7.", SAS_DAYS),
        ("SAS ISO", "E8601DA10.", SAS_DAYS),
        ("SAS datetime", "DATETIME20.", [86_400 * day + 86_399 for day in SAS_DAYS]),
        ("SAS day of a datetime", "DTDATE9.", [86_400 * day + 0.5 for day in SAS_DAYS]),
        ("SAS date with a fraction", "YYMMDDN8.", [day + 0.75 for day in SAS_DAYS]),
    ],
)
def test_days_of_every_format_of_sas(tmp_path, extract, name, written_as, values):
    columns = {"ID": (None, IDS), "DAY": (written_as, values), "SITE": (None, SITES), "SCORE": (None, SCORES)}
    write_sas7bdat(extract / "scores.sas7bdat", columns)
    assert rows(load(tmp_path)) == of_csv(tmp_path, FRAME)


@pytest.mark.parametrize(("ending", "written_as"), [("dta", "%tdNN/DD/CCYY"), ("dta", "%d"), ("sav", "EDATE10")])
def test_days_of_other_formats(tmp_path, extract, ending, written_as):
    origin, unit = (dt.date(1582, 10, 14), 86_400.0) if ending == "sav" else (dt.date(1960, 1, 1), 1.0)
    frame = FRAME.with_columns(DAY=pl.Series([(day - origin).days * unit for day in DAYS]))
    write(frame, extract / f"scores.{ending}", variable_format={"DAY": written_as})
    assert rows(load(tmp_path)) == of_csv(tmp_path, FRAME)


def test_a_point_in_time_loses_its_time_of_day(tmp_path, extract):
    frame = FRAME.with_columns(DAY=pl.Series([dt.datetime(day.year, day.month, day.day, 23, 59, 59) for day in DAYS]))
    for ending in ("xpt", "dta", "sav"):
        write(frame, extract / f"scores.{ending}")
    seen = load(tmp_path)
    assert [file.loaded for file in seen.account.files] == [4, 4, 4]
    assert rows(seen) == of_csv(tmp_path, FRAME)


def test_a_number_without_a_format_of_days_is_no_day(tmp_path, extract):
    columns = {"ID": (None, IDS), "DAY": (None, SAS_DAYS), "SITE": (None, SITES), "SCORE": (None, SCORES)}
    write_sas7bdat(extract / "scores.sas7bdat", columns)
    with pytest.raises(InputRefusedError, match="unreadable:DAY 4"):
        load(tmp_path)


def test_a_day_outside_every_calendar_is_rejected_and_not_missing(tmp_path, extract):
    columns = {"ID": (None, IDS), "DAY": ("DATE9.", [1e12, *SAS_DAYS[1:]]), "SITE": (None, SITES)}
    write_sas7bdat(extract / "scores.sas7bdat", columns | {"SCORE": (None, SCORES)})
    store = load(tmp_path, max_reject_rate=0.25)
    assert store.account.files[0].reasons == {"unreadable:DAY": 1}


def test_missing_values_of_every_kind_are_missing(tmp_path, extract):
    """.A of SAS, .a of Stata, a discrete missing value and a missing range of SPSS, as number and as text."""
    columns = {
        "ID": (None, IDS),
        "DAY": ("DATE9.", SAS_DAYS),
        "SITE": (None, SITES),
        "SCORE": (None, [7, MISSING_A, None, 3]),
    }
    write_sas7bdat(extract / "scores_1.sas7bdat", columns)
    frame = FRAME.to_pandas()
    tagged = frame.astype({"SCORE": object})
    tagged.loc[1, "SCORE"], tagged.loc[2, "SCORE"] = "a", 1.0
    pyreadstat.write_dta(tagged, extract / "scores_2.dta", missing_user_values={"SCORE": ["a"]})
    ranges = {"SCORE": [{"lo": 2, "hi": 3}], "SITE": ["hip"]}
    pyreadstat.write_sav(frame, extract / "scores_3.sav", missing_ranges=ranges)
    store = load(tmp_path)
    seen = [
        store.scan("measurement").collect().height,
        store.account.tables["measurement"].supplied,
    ]
    # SAS: 7 and 3; Stata: 7, 1 and 3; SPSS: 7 alone, because 2.5 and 3 lie in the range
    assert seen[1] == 2 + 3 + 1


def test_a_text_that_spss_calls_missing_is_empty(tmp_path, extract):
    declaration = LAYOUT.replace('SITE = "text"', 'SITE = { type = "text", filled = true }')
    pyreadstat.write_sav(FRAME.to_pandas(), extract / "scores.sav", missing_ranges={"SITE": ["hip"]})
    store = load(tmp_path, declaration=declaration, max_reject_rate=0.25)
    assert store.account.files[0].reasons == {"missing:SITE": 1}


def test_a_file_of_the_encoding_that_it_declares(tmp_path, extract):
    """Before version 14 Stata wrote Windows-1252."""
    pyreadstat.write_dta(FRAME.to_pandas(), extract / "scores.dta", version=13)
    path = extract / "scores.dta"
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xe9\0"))
    assert rows(load(tmp_path)) == of_csv(tmp_path, FRAME)


def test_a_transport_file_is_read_in_the_encoding_of_the_layout(tmp_path, extract):
    path = extract / "scores.xpt"
    write(FRAME, path)
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xe9 "))
    with pytest.raises(InputRefusedError, match=r"cannot be read as the file of SAS, .* \(UnicodeDecodeError\)"):
        load(tmp_path)
    declaration = LAYOUT.replace("[dialect]", '[dialect]\nencoding = "latin-1"')
    assert rows(load(tmp_path, declaration=declaration)) == of_csv(tmp_path, FRAME)


@pytest.mark.parametrize("ending", ["sas7bdat", "xpt", "dta", "sav", "zsav", "por"])
def test_no_cut_file_is_loaded(tmp_path, extract, ending):
    """By 1, 2, 3, 4 bytes and by many more; what only pads the end of a portable file holds no row."""
    path = extract / f"scores.{ending}"
    write(pl.concat([FRAME] * 40), path)
    whole, loaded = path.read_bytes(), []
    for cut in [*range(1, 5), *range(5, len(whole), max(97, len(whole) // 16))]:
        path.write_bytes(whole[:-cut])
        try:
            load(tmp_path, store=f"store_{cut}")
        except InputRefusedError:
            continue
        loaded.append(cut)
    padding = len(whole) - len(whole.rstrip(b"Z\r\n")) if ending == "por" else 1
    assert all(cut < padding for cut in loaded)


def test_a_transport_file_cut_between_rows_needs_its_count(tmp_path, extract):
    """40 rows of 32 bytes are 16 records of 80: a cut by two records is one between rows, which no byte can show."""
    path = extract / "scores.xpt"
    write(pl.concat([FRAME] * 10), path)
    (extract / "scores.xpt.count").write_text("40")
    declaration = LAYOUT.replace("scores*", "*.xpt")
    load(tmp_path, declaration=declaration)
    path.write_bytes(path.read_bytes()[:-160])
    with pytest.raises(InputRefusedError, match="its count file says 40"):
        load(tmp_path, declaration=declaration)


def test_two_tables_in_a_transport_file_are_refused(tmp_path, extract):
    path = extract / "scores.xpt"
    write(FRAME, path)
    content = path.read_bytes()
    path.write_bytes(content + content[content.find(b"HEADER RECORD*******MEM") :])
    with pytest.raises(InputRefusedError, match="holds 2 tables"):
        load(tmp_path)


def test_a_file_without_rows_is_refused(tmp_path, extract):
    write(FRAME.head(0).with_columns(SCORE=pl.lit(None, pl.Float64)), extract / "scores.dta")
    with pytest.raises(InputRefusedError, match="has no records"):
        load(tmp_path)


def test_damage_quotes_no_cell(tmp_path, extract):
    path = extract / "scores.sav"
    write(FRAME, path)
    content = path.read_bytes()
    path.write_bytes(content[:200] + b"CANARY" * 60 + content[560:])
    with pytest.raises(InputRefusedError) as refused:
        load(tmp_path)
    assert "CANARY" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_without_pyreadstat_the_extra_is_named(tmp_path, extract, monkeypatch):
    write(FRAME, extract / "scores.sav")
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "pyreadstat":
            raise ImportError
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputRefusedError, match="extra `readers`"):
        load(tmp_path)
