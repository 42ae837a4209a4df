"""A simulated extract is what a supplier would deliver: well-formed files, the same bytes for the same seed."""

from __future__ import annotations

import csv
import gzip
import hashlib
from pathlib import Path

import polars as pl
import pytest

from cohort.errors import ResourceError, StudyError
from cohort.simulate import load_scenario, makers, simulate
from cohort.simulate.blocks import Request

COLUMNS = {
    "eligibility": "person_id gender birth_date death_date enrollment_start_date enrollment_end_date state",
    "medical_claim": "claim_id claim_line_number claim_type person_id claim_start_date claim_end_date admission_date "
    "discharge_date place_of_service_code bill_type_code revenue_center_code hcpcs_code diagnosis_code_type "
    "diagnosis_code_1 diagnosis_code_2 diagnosis_code_3 diagnosis_code_4 diagnosis_code_5 paid_amount",
    "pharmacy_claim": "claim_id claim_line_number person_id dispensing_date ndc_code quantity days_supply paid_amount",
}


@pytest.fixture(scope="module")
def extract(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("extract")
    simulate(persons=3000, seed=7, out=folder)
    return folder


def table(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(folder / f"{name}.csv", infer_schema=False)


def digest(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.glob("*.csv"))}


@pytest.mark.parametrize("name", COLUMNS)
def test_files_have_the_columns_of_the_tuva_input_layer(extract, shared, name):
    ours = table(extract, name).columns
    with (shared / f"data/claims_tuva/{name}.csv").open(encoding="utf-8") as file:
        real = next(csv.reader(file))
    assert set(COLUMNS[name].split()) <= set(ours)
    assert set(ours) <= set(real)


@pytest.mark.parametrize("name", COLUMNS)
def test_files_are_ascii_with_unix_line_ends_and_a_final_newline(extract, name):
    raw = (extract / f"{name}.csv").read_bytes()
    assert raw.isascii()
    assert b"\r" not in raw
    assert raw.endswith(b"\n")


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(extract, tmp_path):
    simulate(persons=3000, seed=7, out=tmp_path / "again")
    simulate(persons=3000, seed=8, out=tmp_path / "other")
    assert digest(tmp_path / "again") == digest(extract)
    assert digest(tmp_path / "other") != digest(extract)


@pytest.mark.parametrize("format", ["csv", "csv.gz", "parquet"])
def test_bytes_do_not_depend_on_threads_or_processes(tmp_path, monkeypatch, format):
    # 13,000 persons are four blocks: one after the other, up to three in threads, up to two in processes
    for name, workers, few in (("alone", 1, 16), ("threads", 3, 16), ("processes", 2, 0)):
        monkeypatch.setattr(makers, "FEW", few)
        simulate(persons=13_000, out=tmp_path / name, dirt=0.5, workers=workers, format=format)
    files = [file.relative_to(tmp_path / "alone") for file in (tmp_path / "alone").rglob("*.*")]
    assert len(files) > 10
    for name in ("threads", "processes"):
        assert not list((tmp_path / name).glob(".blocks-*"))
        for file in files:
            assert (tmp_path / name / file).read_bytes() == (tmp_path / "alone" / file).read_bytes()


def test_a_maker_that_dies_is_reported_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(makers, "FEW", 0)
    monkeypatch.setattr(makers, "_COMMAND", "raise SystemExit(1)")
    with pytest.raises(ResourceError, match="a process that makes blocks has died"):
        simulate(persons=5000, out=tmp_path, workers=2)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_gzip_and_parquet_hold_what_the_csv_holds(extract, tmp_path):
    simulate(persons=3000, seed=7, out=tmp_path / "gzip", format="csv.gz")
    simulate(persons=3000, seed=7, out=tmp_path / "parquet", format="parquet")
    for name in COLUMNS:
        assert (
            gzip.decompress((tmp_path / f"gzip/{name}.csv.gz").read_bytes()) == (extract / f"{name}.csv").read_bytes()
        )
        frame = pl.read_parquet(tmp_path / f"parquet/{name}.parquet")
        assert frame.cast(pl.String).equals(table(extract, name))
    assert pl.read_parquet_schema(tmp_path / "parquet/medical_claim.parquet")["claim_start_date"] == pl.Date


def test_dirty_gzip_members_add_up_to_the_dirty_csv(tmp_path):
    # 5000 persons are two blocks, hence two members behind the header
    simulate(persons=5000, out=tmp_path / "csv", dirt=1.0)
    simulate(persons=5000, out=tmp_path / "gzip", dirt=1.0, format="csv.gz")
    for name in COLUMNS:
        content = gzip.decompress((tmp_path / f"gzip/{name}.csv.gz").read_bytes())
        assert content == (tmp_path / f"csv/{name}.csv").read_bytes()
    ledgers = [(tmp_path / f"{kind}/truth/ledger.csv").read_text() for kind in ("csv", "gzip")]
    assert ledgers[1].replace(".csv.gz", ".csv") == ledgers[0]


def test_a_maker_that_cannot_write_says_why(tmp_path):
    request = Request(load_scenario("low_back_pain"), 10, 7, 0.0, "tuva", "csv")
    with makers.Maker(request, tmp_path / "gone") as maker, pytest.raises(FileNotFoundError):
        maker.make(0)


def test_a_person_does_not_depend_on_how_many_others_are_simulated(tmp_path):
    # 5000 persons need two blocks of 4096; the first 300 must be those of a run that has only them
    simulate(persons=5000, out=tmp_path / "many")
    simulate(persons=300, out=tmp_path / "few")
    for name in COLUMNS:
        many = table(tmp_path / "many", name).filter(pl.col("person_id") <= "P0000300")
        assert many.equals(table(tmp_path / "few", name))


def test_row_counts_of_the_summary_are_those_of_the_files(tmp_path):
    summary = simulate(persons=50, out=tmp_path)
    assert [file.name for file in summary.files] == ["eligibility.csv", "medical_claim.csv", "pharmacy_claim.csv"]
    for file in summary.files:
        assert summary.rows[file.name] == len(file.read_text().splitlines()) - 1
    assert not list(tmp_path.glob("*.part"))


def test_identifiers_are_text_with_leading_zeros_and_claims_are_unique(extract):
    claims = table(extract, "medical_claim")
    assert claims["person_id"].str.contains(r"^P\d{7}$").all()
    assert claims.select("claim_id", "claim_line_number").is_duplicated().sum() == 0
    firsts = claims.group_by("person_id").agg(pl.col("claim_id").min())
    assert (firsts["claim_id"] == "M" + firsts["person_id"].str.slice(1) + "00001").all()
    assert table(extract, "pharmacy_claim")["ndc_code"].str.contains(r"^\d{11}$").all()


def test_every_claim_falls_into_an_enrolled_span_of_its_person(extract):
    spans = table(extract, "eligibility").select("person_id", "enrollment_start_date", "enrollment_end_date")
    for name, day in (("medical_claim", "claim_start_date"), ("pharmacy_claim", "dispensing_date")):
        claims = table(extract, name).select("claim_id", "claim_line_number", "person_id", day)
        # ISO dates compare as text
        inside = claims.join(spans, on="person_id").filter(
            pl.col(day).is_between(pl.col("enrollment_start_date"), pl.col("enrollment_end_date"))
        )
        assert inside.height == claims.height


def test_spans_of_a_person_are_in_order_and_do_not_touch(extract):
    spans = table(extract, "eligibility").with_columns(
        pl.col("^enrollment_.*$", "birth_date", "death_date").str.to_date()
    )
    assert (spans["enrollment_start_date"] <= spans["enrollment_end_date"]).all()
    gap = pl.col("enrollment_start_date") - pl.col("enrollment_end_date").shift(1).over("person_id")
    assert spans.select(gap.dt.total_days().drop_nulls().min()).item() > 1
    dead = spans.drop_nulls("death_date")
    assert dead.height > 0
    assert (dead["death_date"] >= dead["enrollment_end_date"]).all()


def test_codes_follow_their_yearly_version(extract):
    # ICD-10-CM split M54.5 on 1 October 2021: M545 before, M5450 from then on
    claims = table(extract, "medical_claim").select("claim_start_date", code="diagnosis_code_1")
    old = claims.filter(pl.col("code") == "M545")["claim_start_date"]
    new = claims.filter(pl.col("code") == "M5450")["claim_start_date"]
    assert old.max() <= "2021-09-30"
    assert new.min() >= "2021-10-01"


def test_claims_before_october_2015_speak_icd_9_cm(tmp_path):
    (tmp_path / "early.toml").write_text(
        'base = "low_back_pain"\nname = "early"\n[calendar]\nfirst_day = 2014-03-15\nlast_day = 2016-12-31\n'
    )
    simulate(tmp_path / "early.toml", persons=2000, out=tmp_path)
    claims = table(tmp_path, "medical_claim").with_columns(
        old=pl.col("claim_start_date") < "2015-10-01", low_back=pl.col("diagnosis_code_1").is_in(["7242", "M545"])
    )
    spoken = claims.group_by("old").agg(pl.col("diagnosis_code_type").unique()).sort("old")
    assert spoken["diagnosis_code_type"].to_list() == [["icd-10-cm"], ["icd-9-cm"]]
    written = claims.filter("low_back").group_by("old").agg(pl.col("diagnosis_code_1").unique()).sort("old")
    assert written["diagnosis_code_1"].to_list() == [["M545"], ["7242"]]
    # the calendar begins in mid-month: nobody is enrolled before it
    assert table(tmp_path, "eligibility")["enrollment_start_date"].min() == "2014-03-15"


EXTREME = """
base = "low_back_pain"
name = "extreme"
comorbidity = []
cooccurring = []
[calendar]
burn_in_years = 0
[onset]
per_person_year = {onset}
relapse_per_person_year = 0.0
[remission]
duration_dependence = 0.99
[states]
high_impact_per_year = 0.0
[death]
hazard_at_60 = {death}
[enrolment]
exit_per_month = 0.0
exit_in_december = 0.0
[care]
symptom = 0.0
checkups_per_year = 0.0
mean_delay_days = 0.0
visits_per_30_days = {{ acute = 0.0, subacute = 0.0, chronic = 0.0, high_impact = 0.0 }}
"""


@pytest.mark.parametrize(("onset", "death"), [(0.0, 0.0), (20.0, 0.0), (0.5, 50.0)])
def test_extreme_rates_are_simulated_without_a_warning(tmp_path, onset, death):
    (tmp_path / "extreme.toml").write_text(EXTREME.format(onset=onset, death=death))
    run = simulate(tmp_path / "extreme.toml", persons=200, out=tmp_path)
    assert run.rows["eligibility.csv"] > 0
    deaths = table(tmp_path, "eligibility")["death_date"].count()
    assert deaths == 0 if death == 0 else deaths > 100
    low_back = table(tmp_path, "medical_claim")["diagnosis_code_1"].is_in(["M545", "M5450"]).sum()
    assert low_back == 0 if onset == 0 else low_back > 0


def test_a_stay_has_admission_and_discharge_and_a_bill_type(extract):
    claims = table(extract, "medical_claim")
    stays = claims.filter(pl.col("admission_date").is_not_null())
    assert stays.height > 0
    assert set(stays["bill_type_code"]) == {"111"}
    assert (stays["discharge_date"] == stays["claim_end_date"]).all()
    office = claims.filter(pl.col("claim_type") == "professional")
    assert set(office["place_of_service_code"]) == {"11"}
    assert office["bill_type_code"].is_null().all()


def test_diagnosis_columns_have_no_gaps(extract):
    claims = table(extract, "medical_claim")
    for place in range(1, 5):
        later = claims.filter(pl.col(f"diagnosis_code_{place + 1}").is_not_null())
        assert later[f"diagnosis_code_{place}"].is_not_null().all()


def test_progress_counts_blocks(tmp_path):
    seen = []
    simulate(persons=4097, out=tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("persons", 0),
        ("persons", 10_000_001),
        ("seed", -1),
        ("layout", "unknown"),
        ("dirt", 1.5),
        ("format", "xls"),
        ("workers", 0),
    ],
)
def test_an_impossible_argument_is_named(tmp_path, argument, value):
    with pytest.raises(StudyError, match=argument):
        simulate(out=tmp_path, **{argument: value})


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot write"):
        simulate(persons=1, out=tmp_path / "file")


def test_dirty_parquet_holds_the_defects_that_its_types_can_hold(extract, tmp_path):
    run = simulate(persons=3000, seed=7, out=tmp_path, dirt=1.0, format="parquet")
    ledger = pl.read_csv(run.truth / "ledger.csv")
    assert set(ledger["defect"]) == {
        "duplicate", "reversal", "late_line", "orphan_claim", "impossible_date", "unit_change"
    }  # fmt: skip
    rows = pl.read_parquet(tmp_path / "medical_claim.parquet")
    assert rows.height == run.rows["medical_claim.parquet"] > table(extract, "medical_claim").height
    for entry in ledger.filter(file="medical_claim.parquet", defect="reversal").head(20).iter_rows(named=True):
        # the header would be line 1
        voided, void = (rows.row(entry[line] - 2, named=True) for line in ("original_line", "line"))
        assert void == {**voided, "paid_amount": -voided["paid_amount"]}
