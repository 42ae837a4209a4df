"""The study of ``examples/low_back_pain.toml`` written by hand, as a careful analyst would with pandas and lifelines.

``python benchmarks/peers/pandas_lifelines.py EXTRACTS OUT`` reads spotless extracts in the Tuva layout, as ``cohort
simulate`` writes them, uses nothing of this package but its code lists, and prints the estimates as JSON. It reads only
the columns it needs, matches each distinct code once, and works on whole columns: what could be quicker without another
library is in lifelines. It does what the study asks and no more: no check of a line, no claims logic, no release gate.
Table 1, the flow of persons, the curves with their limits and a figure of them are left in the folder OUT.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from lifelines import AalenJohansenFitter, CoxPHFitter
from scipy.stats import chi2

LISTS = Path(__file__).resolve().parents[2] / "src" / "cohort" / "codes" / "data"
WEIGHTS = Path(__file__).resolve().parents[2] / "src" / "cohort" / "features" / "data" / "comorbidity_weights.csv"
SYSTEMS = {"icd-9-cm": "icd9cm", "icd-10-cm": "icd10cm"}
DAY = np.timedelta64(1, "D")
BRIDGE = 31
Flow = list[tuple[str, int]]
"""Each step with the persons that it leaves."""


def codelist(name: str) -> dict[str, dict[str, str]]:
    """Return system → code → category of a list."""
    (path,) = LISTS.glob(f"{name}.csv*")
    rows = pd.read_csv(path, dtype=str, comment="#")
    return {system: dict(zip(part["code"], part["category"], strict=True)) for system, part in rows.groupby("system")}


def categories(codes: pd.Series, listed: dict[str, str]) -> pd.Series:
    """Return the category of each code by its longest listed prefix."""
    lengths = sorted({len(code) for code in listed}, reverse=True)

    def of(code: str) -> str | None:
        found = next((listed[code[:n]] for n in lengths if n <= len(code) and code[:n] in listed), None)
        return None if found == "excluded" else found

    return codes.map({code: of(code) for code in codes.unique()})


def read_diagnoses(folder: Path) -> pd.DataFrame:
    """Return person, day and the categories of every diagnosis, the columns of a line put one below the other."""
    columns = [f"diagnosis_code_{place}" for place in range(1, 6)]
    days = ["claim_start_date", "admission_date"]
    dtypes = dict.fromkeys([*columns, "person_id", "diagnosis_code_type", "bill_type_code"], "category")
    claims = pd.read_csv(
        folder / "medical_claim.csv", usecols=[*dtypes, *days], dtype=dtypes, parse_dates=days, date_format="%Y-%m-%d"
    )
    claims["date"] = claims["admission_date"].fillna(claims["claim_start_date"])  # stays begin with the admission
    long = pd.concat(
        [
            claims.loc[claims[column].notna(), ["person_id", "date", "diagnosis_code_type", column]]
            .rename(columns={column: "code", "diagnosis_code_type": "type"})
            .astype({"code": str, "type": str})
            for column in columns
        ]
    )
    return long.drop_duplicates()


def labelled(diagnoses: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the diagnoses on a list, with their category."""
    parts = []
    for written, system in SYSTEMS.items():
        part = diagnoses[diagnoses["type"] == written]
        parts.append(part.assign(category=categories(part["code"], codelist(name).get(system, {}))))
    return pd.concat(parts).dropna(subset="category")


def spans(eligibility: pd.DataFrame) -> pd.DataFrame:
    """Return enrolment spans with gaps of up to 31 days bridged."""
    rows = eligibility.sort_values(["person_id", "start"])
    latest = rows.groupby("person_id")["end"].cummax().shift()
    new = (rows["person_id"] != rows["person_id"].shift()) | (rows["start"] > latest + (BRIDGE + 1) * DAY)
    return rows.groupby(new.cumsum()).agg(person_id=("person_id", "first"), start=("start", "min"), end=("end", "max"))


def within(entries: pd.DataFrame, rows: pd.DataFrame, first: int, last: int) -> pd.DataFrame:
    """Return the rows of each entry's window, with the day relative to index."""
    both = rows.merge(entries[["person_id", "index"]], on="person_id")
    both["day"] = (both["date"] - both["index"]) // DAY
    return both[(both["day"] >= first) & (both["day"] <= last)]


def without(entries: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the entries that are not among some rows."""
    keys = ["person_id", "index"]
    marked = entries.merge(rows[keys].drop_duplicates(), on=keys, how="left", indicator=True)
    return marked[marked["_merge"] == "left_only"].drop(columns="_merge")


def entries_of(
    low_back: pd.DataFrame, diagnoses: pd.DataFrame, people: pd.DataFrame, enrolled: pd.DataFrame, flow: Flow
) -> pd.DataFrame:
    """Return who enters and when: the first low-back encounter that passes every rule."""
    days = low_back[["person_id", "date"]].drop_duplicates().sort_values(["person_id", "date"])
    same = days["person_id"] == days["person_id"].shift()
    clean = ~(same & (days["date"] - days["date"].shift() <= 180 * DAY))
    found = days[clean].rename(columns={"date": "index"})
    flow += [
        ("persons", len(people)),
        ("low back pain", days["person_id"].nunique()),
        ("clean washout", persons(found)),
    ]
    found = found[found["index"].between("2018-01-01", "2022-12-31")].merge(people, on="person_id")
    flow.append(("index in study period", persons(found)))
    birthday = (found["index"].dt.month * 100 + found["index"].dt.day) < (
        found["birth"].dt.month * 100 + found["birth"].dt.day.where(found["birth"].dt.strftime("%m%d") != "0229", 28)
    )
    found["age"] = found["index"].dt.year - found["birth"].dt.year - birthday
    found = found[found["age"].between(18, 100)]
    flow.append(("age 18 to 100", persons(found)))
    found = found.merge(enrolled, on="person_id")
    found = found[(found["start"] <= found["index"] - 365 * DAY) & (found["end"] >= found["index"])]
    flow.append(("enrolled for a year", persons(found)))
    for name, last in (("active_cancer", 0), ("chronic_pain_explicit", 0)):
        found = without(found, within(found, labelled(diagnoses, name), -365, last))
        flow.append((f"without {name}", persons(found)))
    return found.sort_values(["person_id", "index"]).drop_duplicates("person_id")


def follow(entries: pd.DataFrame, low_back: pd.DataFrame, explicit: pd.DataFrame, data_end: pd.Timestamp):
    """Return entry day, exit day and cause (1 chronification, 2 death), of those at risk after day 89."""
    met = pd.concat([within(entries, low_back, 90, 365), within(entries, explicit, 1, 365)])
    event = entries["person_id"].map(met.groupby("person_id")["day"].min())
    last = entries["end"].clip(upper=min(pd.Timestamp("2023-12-31"), data_end))
    stop = ((last - entries["index"]) // DAY).clip(upper=365)
    death = (entries["death"] - entries["index"]) // DAY
    time = np.fmin(np.fmin(event, death), stop)
    cause = np.where(event == time, 1, np.where(death == time, 2, 0))
    rows = entries.assign(time=time.astype(int), cause=cause)
    return rows[rows["time"] > 89]


def charlson(entries: pd.DataFrame, diagnoses: pd.DataFrame) -> pd.Series:
    """Return the score of 1987 of the year before index."""
    found = within(entries, labelled(diagnoses, "charlson_quan2005"), -365, -1)
    flags = found.groupby(["person_id", "category"], observed=True).size().unstack(fill_value=0) > 0
    for severe, mild in (("diabwc", "diab"), ("msld", "mld"), ("metacanc", "canc")):
        if severe in flags and mild in flags:
            flags[mild] &= ~flags[severe]
    table = pd.read_csv(WEIGHTS)
    chosen = table[(table["index"] == "charlson_quan2005") & (table["score"] == "score_1987")]
    weights = chosen.set_index("category")["value"].astype(int).reindex(flags.columns)
    return entries["person_id"].map((flags * weights).sum(axis=1)).fillna(0).astype(int)


def persons(rows: pd.DataFrame) -> int:
    """Return how many persons some rows are of."""
    return int(rows["person_id"].nunique())


def table_one(rows: pd.DataFrame) -> pd.DataFrame:
    """Return counts, means with standard deviations and standardised differences, by early opioid and of all."""
    numbers = rows[["age", "charlson", "pain_sites"]].assign(male=(rows["sex"] == "male").astype(int))
    groups = {"all": numbers, **{f"opioid={group}": part for group, part in numbers.groupby(rows["early_opioid"])}}
    described = {f"{name} {what}": getattr(part, what)() for name, part in groups.items() for what in ("mean", "std")}
    table = pd.DataFrame(described | {f"{name} n": part.count() for name, part in groups.items()})
    apart = table["opioid=True mean"] - table["opioid=False mean"]
    table["difference"] = apart / np.sqrt((table["opioid=True std"] ** 2 + table["opioid=False std"] ** 2) / 2)
    return table


def rates(rows: pd.DataFrame) -> list[dict[str, object]]:
    """Return chronification per 1,000 person-years by sex, with Garwood limits."""
    sums = (
        rows.assign(days=rows["time"] - 89, event=rows["cause"] == 1)
        .groupby("sex", observed=True)[["event", "days"]]
        .sum()
    )
    per = 1000 * 365.25 / sums["days"]
    limits = chi2.ppf(0.025, 2 * sums["event"]) / 2, chi2.ppf(0.975, 2 * sums["event"] + 2) / 2
    found = sums.assign(value=sums["event"] * per, lower=limits[0] * per, upper=limits[1] * per)
    return found.reset_index().to_dict("records")


def risks(rows: pd.DataFrame, out: Path) -> dict[str, float]:
    """Return the cumulative incidence of chronification by the last day, by early opioid; leave curves and figure."""
    found = {}
    figure, axes = plt.subplots()
    for group, part in rows.groupby("early_opioid"):
        # lifelines moves tied times by random amounts; entry is the same for all, so risk starts at day 89
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = AalenJohansenFitter(seed=1).fit(part["time"] - 89, part["cause"], event_of_interest=1)
        fitted.plot(ax=axes, label=f"early opioid: {group}")
        curve = fitted.cumulative_density_.join(fitted.confidence_interval_)
        days = curve.groupby(np.ceil(curve.index)).last()  # of the moments of a day its last
        days.to_csv(out / f"risk_{group}.csv")
        found[str(group).lower()] = float(fitted.cumulative_density_.iloc[-1, 0])
    figure.savefig(out / "risk.svg")
    plt.close(figure)
    return found


def study(folder: Path, out: Path) -> dict[str, object]:
    """Return the estimates, and leave tables and figure in a folder."""
    out.mkdir(exist_ok=True)
    flow: Flow = []
    diagnoses = read_diagnoses(folder)
    names = {
        "birth_date": "birth",
        "death_date": "death",
        "enrollment_start_date": "start",
        "enrollment_end_date": "end",
    }
    eligibility = pd.read_csv(
        folder / "eligibility.csv",
        usecols=["person_id", "gender", *names],
        parse_dates=list(names),
        dtype={"gender": str},
    ).rename(columns=names | {"gender": "sex"})
    pharmacy = pd.read_csv(
        folder / "pharmacy_claim.csv",
        usecols=["person_id", "dispensing_date", "ndc_code"],
        dtype={"ndc_code": str},
        parse_dates=["dispensing_date"],
    ).rename(columns={"dispensing_date": "date"})
    people = eligibility.groupby("person_id").agg(
        birth=("birth", "first"), sex=("sex", "first"), death=("death", "max")
    )
    enrolled = spans(eligibility[["person_id", "start", "end"]])
    diagnoses["person_id"] = diagnoses["person_id"].astype(str)
    low_back, explicit = (labelled(diagnoses, name) for name in ("low_back_pain", "chronic_pain_explicit"))
    entries = entries_of(low_back, diagnoses, people.reset_index(), enrolled, flow)
    data_end = max(diagnoses["date"].max(), pharmacy["date"].max())
    rows = follow(entries, low_back, explicit, data_end)
    rows["charlson"] = charlson(rows, diagnoses)
    sites = within(rows, labelled(diagnoses, "pain_regions"), -180, -1)
    sites = sites[sites["category"] != "unspecified"].groupby("person_id")["category"].nunique()
    rows["pain_sites"] = rows["person_id"].map(sites).fillna(0).astype(int)
    opioids = pharmacy[categories(pharmacy["ndc_code"], codelist("opioid").get("ndc", {})).notna()]
    rows["early_opioid"] = rows["person_id"].isin(within(rows, opioids, 0, 14)["person_id"])
    everybody = rows
    flow.append(("at risk", persons(rows)))
    pd.DataFrame(flow, columns=["step", "persons"]).to_csv(out / "flow.csv", index=False)
    table_one(rows).to_csv(out / "table_one.csv")
    # who was in a gap on day 14 may have had a dispensing that nobody recorded
    plan = rows[["person_id", "index"]].merge(eligibility[["person_id", "start", "end"]], on="person_id")
    seen = plan[(plan["start"] <= plan["index"] + 14 * DAY) & (plan["end"] >= plan["index"] + 14 * DAY)]["person_id"]
    rows = rows[rows["early_opioid"] | rows["person_id"].isin(seen)]
    model = rows[["time", "early_opioid", "age", "sex", "charlson", "pain_sites"]].assign(
        entry=89, event=rows["cause"] == 1, male=rows["sex"] == "male"
    )
    fitted = CoxPHFitter().fit(model.drop(columns="sex").astype(float), "time", "event", entry_col="entry")
    return {
        "at_risk": len(everybody),
        "events": int((everybody["cause"] == 1).sum()),
        "deaths": int((everybody["cause"] == 2).sum()),
        "hazard_ratios": fitted.hazard_ratios_.to_dict(),
        "standard_errors": fitted.standard_errors_.to_dict(),
        "rates": rates(everybody),
        "risks": risks(rows, out),
    }


if __name__ == "__main__":
    print(json.dumps(study(Path(sys.argv[1]), Path(sys.argv[2])), indent=1, default=str))
