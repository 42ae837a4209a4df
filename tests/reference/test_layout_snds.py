"""French reimbursements and hospital stays against plain loops over the raw files and a published pipeline's output.

The expected Parquet files and the events come from the test data of the SCALPEL-Extraction project, which joins the
tables of the DCIR by the same nine columns and dates stays without days by the same rule.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections import Counter

import polars as pl
import pytest
from layout_helpers import copy_extract, fates, keyed, load, ordered, person_id, records_of, run_sql, stored

from cohort.store.tables import TABLES

DAY = dt.date
NINE = ("DCT_ORD_NUM", "FLX_DIS_DTD", "FLX_EMT_NUM", "FLX_EMT_ORD", "FLX_EMT_TYP", "FLX_TRT_DTD", "ORG_CLE_NUM")
NINE += ("PRS_ORD_NUM", "REM_TYP_AFF")


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "data" / "claims_snds"


@pytest.fixture(scope="module")
def extract(folder, tmp_path_factory):
    """Return the extract with the beneficiary tables beside it, of which only the Parquet form is at hand."""
    target = copy_extract(folder, tmp_path_factory.mktemp("snds") / "extract")
    for name in ("IR_BEN_R", "IR_IMB_R"):
        shutil.copy(folder / "expected" / f"{name}.parquet", target)
    return target


@pytest.fixture(scope="module")
def store(extract):
    return load(extract, "snds", extract.parent / "store")


def day(text):
    return dt.datetime.strptime(text, "%d/%m/%Y").date() if text else None


def read(folder, *names):
    return records_of(*(folder / name for name in names), delimiter=";")


def services(folder):
    """Return nine columns → (person, day) of the DCIR."""
    lines = read(folder, "DCIR/ER_PRS_F.csv")
    return {
        tuple(line[name] for name in NINE): (line["NUM_ENQ"], day(line["EXE_SOI_DTD"]) or day(line["PRE_PRE_DTD"]))
        for line in lines
    }


def stays(folder):
    """Return (kind, year, hospital, number) → (person, first day, last day)."""
    found = {}
    for year in ("06", "07", "08"):
        nights = {line["RSA_NUM"]: int(line["SEJ_NBJ"]) for line in read(folder, f"PMSI/T_MCO{year}B.csv")}
        for line in read(folder, f"PMSI/T_MCO{year}C.csv"):
            if line.get("ENT_DAT"):
                first, last = (dt.datetime.strptime(line[name], "%d%m%Y").date() for name in ("ENT_DAT", "SOR_DAT"))
            else:
                last = DAY(int(line["SOR_ANN"]), int(line["SOR_MOI"]), 1)
                first = last - dt.timedelta(days=nights[line["RSA_NUM"]])
            found["mco", year, line["ETA_NUM"], line["RSA_NUM"]] = (line["NUM_ENQ"], first, last)
    for kind, hospital, number in (("ssr", "ETA_NUM", "RHA_NUM"), ("had", "ETA_NUM_EPMSI", "RHAD_NUM")):
        for line in read(folder, f"PMSI/T_{kind.upper()}19C.csv"):
            found[kind, "19", line[hospital], line[number]] = (
                line["NUM_ENQ"],
                day(line["EXE_SOI_DTD"]),
                day(line["EXE_SOI_DTF"]),
            )
    return found


def written(folder, kind, table, columns):
    """Return (stay, code, position, delay, quantity) of one PMSI table; a delay and a quantity are column names."""
    hospital, number = (
        ("ETA_NUM_EPMSI", "RHAD_NUM") if kind == "had" else ("ETA_NUM", {"mco": "RSA_NUM", "ssr": "RHA_NUM"}[kind])
    )
    rows = []
    for path in sorted((folder / "PMSI").glob(f"T_{kind.upper()}??{table}.csv")):
        for line in records_of(path, delimiter=";"):
            for column, extra in columns.items():
                if line[column]:
                    rows.append(((kind, path.name[5:7], line[hospital], line[number]), line[column], extra, line))
    return rows


DIAGNOSES = (
    ("mco", "B", {"DGN_PAL": 1, "DGN_REL": 2}),
    ("mco", "UM", {"DGN_PAL": None, "DGN_REL": None}),
    ("mco", "D", {"ASS_DGN": None}),
    ("ssr", "B", {"MOR_PRP": 1, "ETL_AFF": 2, "FP_PEC": None}),
    ("ssr", "D", {"DGN_COD": None}),
    ("had", "B", {"DGN_PAL": 1}),
    ("had", "D", {"DGN_ASS": None}),
)


def test_every_record_is_loaded(store, extract):
    expected = {
        path.name: (len(records_of(path, delimiter=";")), 0)
        for path in extract.rglob("*.csv")
        if path.stem not in ("ER_BIO_F", "T_SSR19CSARR", "T_MCOaa_nnFBSTC", "T_MCOaa_nnFCSTC", "IR_NAT_V")
    } | {"IR_BEN_R.parquet": (2, 0), "IR_IMB_R.parquet": (3, 0)}
    assert fates(store) == expected
    assert len(expected) == 29


def test_persons_are_described_by_the_reference_before_the_reimbursements(store):
    assert stored(store, "person") == keyed(
        [
            ("Patient_01", DAY(1975, 1, 15), "female", None, "02A"),
            ("Patient_02", DAY(1959, 10, 15), "male", DAY(2008, 1, 25), "075"),  # ER_PRS_F says 13 March 2009
            ("patient01", None, None, None, None),  # in the home hospital only
            ("patient02", None, None, None, None),
        ]
    )


def test_observation_lasts_from_the_first_care_to_death_or_the_end_of_the_data(store):
    assert stored(store, "enrolment") == keyed(
        [
            ("Patient_01", DAY(2006, 1, 1), DAY(2019, 12, 24)),
            ("Patient_02", DAY(2005, 12, 24), DAY(2008, 1, 25)),
            ("patient01", DAY(2019, 10, 10), DAY(2019, 12, 24)),
            ("patient02", DAY(2019, 12, 24), DAY(2019, 12, 24)),
        ]
    )


def test_diagnoses_are_those_of_the_raw_stays(store, folder):
    known = stays(folder)
    expected = {
        (*known[stay], "icd10", code.replace(".", ""), "home" if stay[0] == "had" else "inpatient", position)
        for kind, table, columns in DIAGNOSES
        for stay, code, position, _ in written(folder, kind, table, columns)
    }
    expected |= {  # long-term illnesses; the third of them has no code of CIM-10
        ("Patient_02", DAY(2006, 1, 25), DAY(2006, 1, 25), "icd10", "E11", "unknown", None),
        ("Patient_02", DAY(2006, 3, 13), DAY(2006, 3, 13), "icd10", "C67", "unknown", None),
    }
    assert stored(store, "diagnosis") == keyed(list(expected))
    assert len(expected) == 34


def test_diagnoses_of_bladder_cancer_are_the_events_of_the_published_pipeline(store, folder):
    events = pl.read_parquet(folder / "test-input" / "events.parquet").filter(pl.col("value") == "C67")
    theirs = Counter(
        (person_id(row["patientID"]), row["start"].date(), row["category"] == "main_diagnosis")
        for row in events.iter_rows(named=True)
    )
    ours = Counter(
        (person, date, position == 1)
        for person, date, _, _, code, setting, position in stored(store, "diagnosis")
        if code.startswith("C67") and (position == 1 or setting == "unknown")
    )
    assert ours == theirs
    assert sum(theirs.values()) == 7


def test_acts_are_those_of_the_raw_files(store, folder):
    known = stays(folder)
    expected = set()
    for kind, table, column, delay in (
        ("mco", "A", "CDC_ACT", "ENT_DAT_DEL"),
        ("ssr", "CCAM", "CCAM_ACT", "CCAM_DEL_ENT_UM"),
        ("had", "A", "CCAM_COD", None),
    ):
        for stay, code, _, line in written(folder, kind, table, {column: None}):
            person, first, _ = known[stay]
            after = dt.timedelta(days=int(line[delay]) if delay else 0)
            expected.add((person, first + after, "ccam", code, "home" if kind == "had" else "inpatient"))
    for line in read(folder, "DCIR/ER_CAM_F.csv"):  # its service has an establishment in ER_ETE_F
        expected.add((*services(folder)[tuple(line[name] for name in NINE)], "ccam", line["CAM_PRS_IDE"], "unknown"))
    assert stored(store, "procedure") == keyed(list(expected))
    assert len(expected) == 13


def test_dispensings_are_the_joined_lines_added_up(store, folder):
    known, boxes = services(folder), Counter()
    for name, system, column, number in (
        ("ER_PHA_F", "cip", "PHA_PRS_C13", "PHA_ACT_QSN"),
        ("ER_UCD_F", "ucd", "UCD_UCD_COD", "UCD_DLV_NBR"),
    ):
        for line in read(folder, f"DCIR/{name}.csv"):
            code = line[column][-7:] if system == "ucd" else line[column]
            boxes[*known[tuple(line[key] for key in NINE)], system, code] += float(line[number])
    for stay, code, _, line in written(folder, "mco", "MED", {"UCD_UCD_COD": None}):
        person, first, _ = stays(folder)[stay]
        boxes[person, first, "ucd", code[-7:]] += float(line["ADM_NBR"])
    assert stored(store, "dispensing") == keyed([(*key, quantity, None) for key, quantity in boxes.items()])
    assert len(boxes) == 11


def test_joined_lines_are_those_that_the_published_pipeline_joins(store, folder):
    joined = pl.read_parquet(folder / "expected" / "DCIR.parquet").drop_nulls("ER_PHA_F.PHA_PRS_C13")
    theirs = Counter()
    for row in joined.iter_rows(named=True):
        when = row["EXE_SOI_DTD"] or row["PRE_PRE_DTD"]
        theirs[person_id(row["NUM_ENQ"]), when, row["ER_PHA_F.PHA_PRS_C13"]] += row["ER_PHA_F.PHA_ACT_QSN"]
    ours = {(*row[:2], row[3]): row[4] for row in stored(store, "dispensing") if row[2] == "cip"}
    assert ours == theirs


@pytest.mark.parametrize("buckets", [1, 7])
def test_tables_without_persons_join_the_same_in_any_number_of_buckets(store, extract, tmp_path, buckets):
    other = load(extract, "snds", tmp_path / "store", buckets=buckets)
    assert all(stored(other, table) == stored(store, table) for table in TABLES)


def test_a_stay_number_means_another_stay_in_another_year(root):
    stay = {"ETA_NUM": "1", "RSA_NUM": "7", "SOR_MOI": 3, "NUM_ENQ": 1}
    days = dict.fromkeys(("ENT_DAT", "SOR_DAT", "EXE_SOI_DTD", "EXE_SOI_DTF"))
    codes = dict.fromkeys(
        f"{name}_RET" for name in ("NIR", "NAI", "SEX", "SEJ", "FHO", "PMS", "DAT", "COH_NAI", "COH_SEX")
    )
    overrides = dict.fromkeys(days, pl.Date) | dict.fromkeys(codes, pl.String)
    described = {"ETA_NUM": "1", "RSA_NUM": "7", "SOR_MOD": "8"}
    c = [
        {"FILE": "T_MCO10C.csv", "SOR_ANN": 2010} | stay | days | codes,
        {"FILE": "T_MCO11C.csv", "SOR_ANN": 2011} | stay | days | codes | {"SEX_RET": "1"},  # sex does not match
        {"FILE": "T_MCO12C.csv", "SOR_ANN": 2012} | stay | days | codes,
        {"FILE": "T_MCO13C.csv", "SOR_ANN": 2013}
        | stay
        | days
        | codes
        | {"EXE_SOI_DTD": DAY(2013, 3, 9), "EXE_SOI_DTF": DAY(2013, 3, 11)},
    ]
    b = [
        {"FILE": "T_MCO10B.csv", "SEJ_NBJ": 2, "GRG_GHM": "04M05"} | described,
        {"FILE": "T_MCO11B.csv", "SEJ_NBJ": 3, "GRG_GHM": "04M05"} | described,
        {"FILE": "T_MCO12B.csv", "SEJ_NBJ": 4, "GRG_GHM": "90Z00"} | described,  # grouped into an error
        {"FILE": "T_MCO13B.csv", "SEJ_NBJ": 5, "GRG_GHM": "04M05"} | described,
    ]
    frame_c = pl.DataFrame(c, schema_overrides=overrides)
    rehabilitation = frame_c.clear().rename({"RSA_NUM": "RHA_NUM"}).drop("SOR_ANN", "SOR_MOI")
    at_home = rehabilitation.rename({"ETA_NUM": "ETA_NUM_EPMSI", "RHA_NUM": "RHAD_NUM"})
    found = run_sql(
        root,
        "snds",
        "stay",
        {
            "mco_c": frame_c,
            "mco_b": pl.DataFrame(b),
            "ssr_c": rehabilitation,
            "ssr_b": pl.DataFrame(
                schema={"FILE": pl.String, "ETA_NUM": pl.String, "RHA_NUM": pl.String, "SOR_MOD": pl.String}
            ),
            "had_c": at_home,
            "had_b": pl.DataFrame(
                schema={"FILE": pl.String, "ETA_NUM_EPMSI": pl.String, "RHAD_NUM": pl.String, "SOR_MOD": pl.String}
            ),
        },
    )
    assert [(row[2], row[7], row[8]) for row in ordered(found)] == [
        ("10", DAY(2010, 2, 27), DAY(2010, 3, 1)),  # two nights before the first of the month of exit
        ("11", None, None),
        ("12", None, None),
        ("13", DAY(2013, 3, 9), DAY(2013, 3, 11)),
    ]


def test_a_negative_quantity_takes_back_what_it_corrects(root):
    nine = dict.fromkeys(NINE, "1")
    lines = [
        nine | {"PHA_PRS_C13": code, "PHA_ACT_QSN": quantity}
        for code, quantity in (
            ("3400930000001", 2.0),
            ("3400930000001", -2.0),
            ("3400930000002", 3.0),
            ("3400930000002", -1.0),
        )
    ]
    found = run_sql(
        root,
        "snds",
        "dispensing",
        {
            "er_pha": pl.DataFrame(lines),
            "prestation": pl.DataFrame([nine | {"NUM_ENQ": 1, "day": DAY(2015, 5, 6)}]),
            "er_ucd": pl.DataFrame(
                schema=dict.fromkeys(NINE, pl.String) | {"UCD_UCD_COD": pl.String, "UCD_DLV_NBR": pl.Float64}
            ),
            "ir_pha": pl.DataFrame([{"PHA_CIP_C13": "3400930000002", "PHA_ATC_CLA": "N02AA01"}]),
            "stay_code": pl.DataFrame(
                schema={
                    "person": pl.Int64,
                    "first_day": pl.Date,
                    "system": pl.String,
                    "code": pl.String,
                    "quantity": pl.Float64,
                }
            ),
        },
    )
    assert found == [(1, DAY(2015, 5, 6), "atc", "N02AA01", 2.0)]
