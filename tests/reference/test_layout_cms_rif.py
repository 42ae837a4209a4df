"""Medicare RIF claims against the standard library's reading of the raw files, one plain loop per table."""

from __future__ import annotations

import calendar
import datetime as dt

import polars as pl
import pytest
from layout_helpers import copy_extract, fates, keyed, load, ordered, records_of, run_sql, stored

DAY = dt.date
CLAIMS = ("inpatient", "outpatient", "carrier", "dme", "hha", "hospice", "snf")
INSTITUTIONAL = {"11": "inpatient", "13": "outpatient", "21": "facility", "33": "home", "81": "facility"}
PLACE = {"11": "outpatient", "20": "outpatient", "23": "emergency"}  # office, urgent care, emergency room


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "data" / "claims_cms_rif"


@pytest.fixture(scope="module")
def store(folder, tmp_path_factory):
    base = tmp_path_factory.mktemp("rif")
    return load(copy_extract(folder, base / "extract"), "cms_rif", base / "store")


@pytest.fixture(scope="module")
def lines(folder):
    """Return the lines of all claims, each with its setting and the days of its encounter."""
    found = []
    for name in CLAIMS:
        for line in records_of(folder / f"{name}.csv", delimiter="|"):
            if name in ("carrier", "dme"):
                line["setting"] = PLACE[line["LINE_PLACE_OF_SRVC_CD"]]
            else:
                line["setting"] = INSTITUTIONAL[line["CLM_FAC_TYPE_CD"] + line["CLM_SRVC_CLSFCTN_TYPE_CD"]]
            stay = name == "inpatient"
            line["first"] = day(line["CLM_ADMSN_DT" if stay else "CLM_FROM_DT"])
            line["last"] = day(line["NCH_BENE_DSCHRG_DT" if stay else "CLM_THRU_DT"])
            found.append(line)
    return found


def day(text):
    return dt.datetime.strptime(text, "%d-%b-%Y").date()


def test_every_record_is_loaded(store, folder):
    expected = {
        path.name: (len(records_of(path, delimiter="|")), 0)
        for path in folder.glob("*.csv")
        if path.stem not in ("beneficiary_history", "export_summary")
    }
    assert fates(store) == expected
    assert sum(loaded for loaded, _ in expected.values()) == 398  # 33 + 16 + 19 + 221 + 1 + 15 + 8 + 67 + 18


def test_claims_per_beneficiary_are_those_of_the_suppliers_own_summary(folder, lines):
    summary = {row["BENE_ID"]: row for row in records_of(folder / "export_summary.csv")}
    kinds = {
        "10": "HHA",
        "20": "SNF",
        "40": "OUTPATIENT",
        "50": "HOSPICE",
        "60": "INPATIENT",
        "71": "CARRIER",
        "82": "DME",
    }
    for person, row in summary.items():
        for kind, name in kinds.items():
            claims = {li["CLM_ID"] for li in lines if (li["BENE_ID"], li["NCH_CLM_TYPE_CD"]) == (person, kind)}
            assert len(claims) == int(row[f"{name}_CLAIMS"])


def test_persons(store):
    assert stored(store, "person") == keyed(
        [
            ("-1000006", DAY(1942, 1, 17), "female", None, "22"),
            ("-1000014", DAY(1945, 11, 11), "male", None, "22"),
            ("-1000018", DAY(1945, 11, 23), "male", None, "22"),
        ]
    )


def test_enrolment_follows_the_year_in_the_record(store, folder):
    assert (folder / "beneficiary_2018.csv").read_bytes() == (folder / "beneficiary_2019.csv").read_bytes()
    spans = [  # so nothing is known of 2018, and the supplier sent five months of 2021
        (person, *span)
        for person in ("-1000006", "-1000014", "-1000018")
        for span in ((DAY(2011, 1, 1), DAY(2017, 12, 31)), (DAY(2019, 1, 1), DAY(2021, 5, 31)))
    ]
    assert stored(store, "enrolment") == keyed(spans)


def test_pharmacy_benefit_is_the_months_with_a_contract(store, folder):
    """Months of the raw files with a contract of Part D, one set of months per beneficiary, against the spans."""
    wanted = set()
    for path in sorted(folder.glob("beneficiary_20??.csv")):
        for row in records_of(path, delimiter="|"):
            contracts = [value for name, value in row.items() if name.startswith("PTD_CNTRCT_")]
            covered = [month for month, value in enumerate(contracts, start=1) if value]
            wanted |= {(row["BENE_ID"], DAY(int(row["RFRNC_YR"]), month, 1)) for month in covered}
    wanted = set(keyed(sorted(wanted)))
    spans = stored(store, "pharmacy_benefit")
    months = {DAY(year, month, 1) for year in range(2011, 2022) for month in range(1, 13)}
    assert {(person, day) for person, first, last in spans for day in months if first <= day <= last} == wanted


def test_diagnoses_are_those_of_the_raw_lines(store, lines):
    expected = set()
    for line in lines:
        principal = line["PRNCPAL_DGNS_CD"]
        shift = 0 if line["ICD_DGNS_CD1"] == principal else 1
        codes = [(principal, 1), (line.get("FST_DGNS_E_CD"), None), (line.get("LINE_ICD_DGNS_CD"), None)]
        codes += [(line.get(f"ICD_DGNS_CD{n}"), n + shift) for n in range(1, 26)]
        codes += [(line.get(f"ICD_DGNS_E_CD{n}"), None) for n in range(1, 13)]
        for code, position in codes:
            if code:
                row = (line["BENE_ID"], line["first"], line["last"], "icd10cm", code, line["setting"], position)
                expected.add(row)
    assert stored(store, "diagnosis") == keyed(list(expected))
    assert len(expected) == 1000


def test_procedures_are_those_of_the_raw_lines(store, lines):
    expected = set()
    for line in lines:
        if line["HCPCS_CD"]:
            own = line.get("LINE_1ST_EXPNS_DT") or line.get("REV_CNTR_DT")
            when = day(own) if own else line["first"]
            expected.add((line["BENE_ID"], when, "hcpcs", line["HCPCS_CD"], line["setting"]))
        for n in range(1, 26):
            if line.get(f"ICD_PRCDR_CD{n}"):
                code, when = line[f"ICD_PRCDR_CD{n}"], day(line[f"PRCDR_DT{n}"])
                expected.add((line["BENE_ID"], when, "icd10pcs", code, line["setting"]))
    assert stored(store, "procedure") == keyed(list(expected))
    assert len(expected) == 102


def test_dispensings_are_those_of_part_d(store, folder):
    expected = [
        (
            event["BENE_ID"],
            day(event["SRVC_DT"]),
            "ndc",
            event["PROD_SRVC_ID"],
            float(event["QTY_DSPNSD_NUM"]),
            int(event["DAYS_SUPLY_NUM"]),
        )
        for event in records_of(folder / "pde.csv", delimiter="|")
    ]
    assert stored(store, "dispensing") == keyed(expected)


def year(number, buyin, hmo=("0",) * 12, hmo_months=0, died=None):
    months = range(1, 13)
    return {
        "BENE_ID": 1,
        "RFRNC_YR": number,
        "DEATH_DT": died,
        "HMO_MO_CNT": hmo_months,
        **{f"MDCR_ENTLMT_BUYIN_{month}_IND": buyin[month - 1] for month in months},
        **{f"HMO_{month}_IND": hmo[month - 1] for month in months},
    }


@pytest.mark.parametrize(
    ("record", "months"),
    [
        (year(2015, "3" * 12), range(1, 13)),
        (year(2015, "011113CCAB32"), [6, 7, 8, 11]),  # both parts: 3, and C with a state's help
        (year(2015, "3" * 12, "0000CCCC4444", 4), [1, 2, 3, 4, 9, 10, 11, 12]),  # C is an HMO, 4 is none
        (year(2015, "3" * 12, [None] * 12, 0), range(1, 13)),
        (year(2015, "3" * 12, [None] * 12, 12), []),  # an empty indicator in a year that counts HMO months
        (year(2015, "3" * 12, died=DAY(2015, 3, 9)), [1, 2, 3]),
    ],
)
def test_monthly_indicators_become_months_enrolled(root, record, months):
    found = run_sql(
        root, "cms_rif", "enrolment", {"beneficiary": pl.DataFrame([record], schema_overrides={"DEATH_DT": pl.Date})}
    )
    died = record["DEATH_DT"]
    ends = {month: DAY(2015, month, calendar.monthrange(2015, month)[1]) for month in months}
    if died:
        ends[died.month] = died
    assert found == [(1, DAY(2015, month, 1), ends[month]) for month in months]


@pytest.mark.parametrize(
    ("contracts", "died", "months"),
    [
        (["H1234"] * 12, None, range(1, 13)),
        (["N"] * 6 + ["S5678"] * 6, None, range(7, 13)),
        (["0", "*", "", None, "X0001", *["N"] * 7], None, [5]),
        ([None] * 12, None, []),  # a file without the columns
        (["H1234"] * 12, DAY(2015, 3, 9), [1, 2, 3]),
    ],
)
def test_contracts_of_part_d_become_months_with_pharmacy_benefit(root, contracts, died, months):
    names = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEPT", "OCT", "NOV", "DEC")
    record = {"BENE_ID": 1, "RFRNC_YR": 2015, "DEATH_DT": died}
    record |= {f"PTD_CNTRCT_{name}_ID": contract for name, contract in zip(names, contracts, strict=True)}
    types = {"DEATH_DT": pl.Date} | {f"PTD_CNTRCT_{name}_ID": pl.String for name in names}
    found = run_sql(
        root, "cms_rif", "pharmacy_benefit", {"beneficiary": pl.DataFrame([record], schema_overrides=types)}
    )
    ends = {month: DAY(2015, month, calendar.monthrange(2015, month)[1]) for month in months}
    if died:
        ends[died.month] = died
    assert found == [(1, DAY(2015, month, 1), ends[month]) for month in months]


def test_a_death_that_only_a_discharge_status_tells_is_kept_and_the_beneficiary_file_goes_before(root):
    line = {"CLM_THRU_DT": DAY(2016, 5, 3), "NCH_BENE_DSCHRG_DT": None, "PTNT_DSCHRG_STUS_CD": "20"}
    lines = [
        {"BENE_ID": 1} | line,
        {"BENE_ID": 1} | line | {"PTNT_DSCHRG_STUS_CD": "01"},  # went home
        {"BENE_ID": 2} | line | {"NCH_BENE_DSCHRG_DT": DAY(2016, 5, 4), "PTNT_DSCHRG_STUS_CD": "41"},
    ]
    person = {"BENE_BIRTH_DT": None, "BENE_SEX_IDENT_CD": "2", "STATE_CODE": "22", "RFRNC_YR": 2016}
    found = run_sql(
        root,
        "cms_rif",
        "person",
        {
            "beneficiary": pl.DataFrame([{"BENE_ID": 2, "DEATH_DT": DAY(2016, 5, 5)} | person]),
            "claim_line": pl.DataFrame(lines, schema_overrides={"NCH_BENE_DSCHRG_DT": pl.Date}),
        },
    )
    assert found == ordered(
        [
            (1, None, None, DAY(2016, 5, 3), None, None),
            (2, None, None, DAY(2016, 5, 4), None, None),
            (2, None, "female", DAY(2016, 5, 5), "22", DAY(2016, 12, 31)),  # dated, so this death is believed
        ]
    )


def test_costs_are_the_payments_of_the_raw_lines(store, lines, folder):
    """A claim's payment once, though each of its lines repeats it; carrier and equipment lines one by one."""
    paid = {}

    def add(person, when, service, amount):
        paid[person, when, service] = paid.get((person, when, service), 0) + amount

    claims = {}
    for line in lines:
        if "LINE_NCH_PMT_AMT" in line:
            add(line["BENE_ID"], day(line["LINE_1ST_EXPNS_DT"]), "medical", cents(line["LINE_NCH_PMT_AMT"]))
        else:
            claims[line["BENE_ID"], line["CLM_ID"]] = (line["first"], cents(line["CLM_PMT_AMT"]))
    for (person, _), (when, amount) in claims.items():
        add(person, when, "medical", amount)
    for event in records_of(folder / "pde.csv", delimiter="|"):
        parts = [event[name] for name in ("CVRD_D_PLAN_PD_AMT", "NCVRD_PLAN_PD_AMT", "LICS_AMT")]
        add(event["BENE_ID"], day(event["SRVC_DT"]), "pharmacy", sum(cents(part) for part in parts))
    assert stored(store, "cost") == keyed([(*key, amount) for key, amount in paid.items()])
    institutional = [line for line in lines if "LINE_NCH_PMT_AMT" not in line]
    assert len(claims) < len(institutional)  # so that a claim counted by its lines would be seen


def cents(amount):
    return round(float(amount or 0) * 100)
