"""A marginal structural model from the study file: an exposure that changes what foretells it, and does nothing."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from test_spec_emulated_trial import BACK, COHORT, OPIOID, PAIN

import cohort as co
from cohort.errors import StudyError
from cohort.protocol import protocol
from cohort.results.analysis_table import AnalysisTable
from cohort.results.structural import StructuralCox
from cohort.results.structural_rows import ADJUSTED, AT_INDEX

PERIOD, PERIODS = 30, 8
SIGN, DRUG = co.time_varying("sign", BACK, PERIOD), co.exposure("drug", OPIOID)


def table(n: int = 4000, seed: int = 4, parts: int = 1) -> AnalysisTable:
    """Return persons half of whom are frail, which nobody records: the frail have pain at four times the rate.

    A sign, written as each period begins, is commoner in the frail and rarer under the drug; who has it starts the drug
    with the next period seven times as often. The drug does nothing to pain, so that its true hazard ratio is 1.
    """
    rng = np.random.default_rng(seed)
    frail, started = rng.random(n) < 0.5, np.full(n, 10_000)
    signs = np.zeros((n, PERIODS), dtype=bool)
    for period in range(PERIODS):
        day = PERIOD * period
        exposed = started <= day
        if period:
            starts = ~exposed & (rng.random(n) < np.where(signs[:, period - 1], 0.35, 0.05))
            started[starts], exposed = day, exposed | starts
        signs[:, period] = rng.random(n) < 0.2 + 0.6 * frail - 0.15 * exposed
    pain = np.ceil(rng.exponential(500 / np.where(frail, 4, 1))).astype(np.int64)
    time = np.minimum(pain, PERIOD * PERIODS)
    frame = pl.DataFrame(
        {
            "person_id": np.arange(n),
            "index_date": [dt.date(2020, 1, 1)] * n,
            "entry": np.zeros(n, dtype=np.int64),
            "time": time,
            "cause": (pain == time).astype(np.int8),
            "exit_reason": np.where(pain == time, "pain", "longest follow-up"),
            "age": rng.integers(20, 80, n),
            "drug": [int(day) if day < 10_000 else None for day in started],
            "sign": pl.Series([list(np.flatnonzero(row) * PERIOD) for row in signs], dtype=pl.List(pl.Int64)),
        }
    )
    pieces = tuple(frame.filter(pl.col("person_id") % parts == part) for part in range(parts))
    return AnalysisTable(pieces, ("pain",), 0, {"age": "integer"}, time_varying=(SIGN,), exposures=(DRUG,))


def model(**options: object) -> StructuralCox:
    return co.structural_cox("drug", "age", "sign", 240, **options)


@pytest.fixture(scope="module")
def estimates() -> pl.DataFrame:
    return model().estimate(1, table()).to_polars()


def ratio(estimates: pl.DataFrame, category: str | None = None) -> dict[str, float]:
    rows = estimates.filter(pl.col("estimand") == "marginal_hazard_ratio")
    return rows.filter(pl.col("category").eq_missing(category)).row(0, named=True)


def test_a_useless_exposure_has_no_effect_where_plain_models_find_one(estimates) -> None:
    answer = ratio(estimates)
    assert answer["status"] == "ok"
    assert abs(np.log(answer["value"])) < 3 * answer["std_error"] < 0.3
    assert ratio(estimates, AT_INDEX)["lower"] > 1.1  # the frail start: confounding that index does not show
    assert ADJUSTED in estimates["category"].to_list()
    # stabilised weights have mean 1, but for what cutting takes
    assert abs(float(answer["method"].split("of mean ")[1].split(";")[0]) - 1) < 0.05


def test_persons_count_once_by_how_their_follow_up_ended(estimates) -> None:
    frame = table().parts[0]
    # exposed from the beginning of a period on, if still at risk then
    ended = frame.filter(pl.col("drug") < pl.col("time"))
    answer = ratio(estimates)
    assert (answer["n"], answer["events"]) == (ended.height, ended.filter(cause=1).height)
    assert estimates.filter(pl.col("group") == "unexposed")["n"].unique().to_list() == [frame.height - ended.height]


def test_weights_balance_what_foretells_the_exposure(estimates) -> None:
    sign = estimates.filter(pl.col("estimand") == "standardised_difference", pl.col("term") == "sign")
    before, after = (sign.filter(category=f"{when} weighting")["value"].item() for when in ("before", "after"))
    assert before > 0.5
    assert abs(after) < 0.1


def test_digits_do_not_depend_on_buckets(estimates) -> None:
    assert model().estimate(1, table(parts=7)).to_polars().equals(estimates)


def test_what_happens_beyond_the_horizon_does_not_count() -> None:
    rows = table(1500)
    early = model(period_days=30).model_copy(update={"horizon_days": 90}).estimate(1, rows).to_polars()
    part = rows.parts[0].with_columns(
        time=pl.min_horizontal("time", pl.lit(90)), cause=pl.when(pl.col("time") <= 90).then("cause").otherwise(0)
    )
    cut = AnalysisTable((part,), rows.causes, 0, rows.variables, time_varying=(SIGN,), exposures=(DRUG,))
    assert ratio(model().estimate(1, cut).to_polars())["value"] == ratio(early)["value"]


def test_a_closed_gate_seals_the_answer_and_what_stands_beside() -> None:
    found = model(gates={"events": 100_000}).estimate(1, table(800)).to_polars()
    told = found.filter(pl.col("estimand") == "marginal_hazard_ratio")
    assert told["status"].str.starts_with("sealed: outcome events while exposed").all()
    assert told.select("value", "std_error", "lower", "upper").null_count().sum_horizontal().item() == 4 * told.height
    opened = model(gates={"events": 100_000}, unsealed="shown to the data holder alone").estimate(1, table(800))
    assert ratio(opened.to_polars())["status"] == "ok"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"drug": pl.lit(None, pl.Int64)}, "single_arm"),
        ({"drug": pl.lit(0, pl.Int64)}, "single_arm"),
        ({"time": pl.lit(0, pl.Int64)}, "nobody_at_risk"),
        ({"cause": pl.lit(0, pl.Int8)}, "no_events"),
        ({"cause": pl.when(pl.col("drug") < pl.col("time")).then(0).otherwise("cause").cast(pl.Int8)}, "monotone_likelihood"),
    ],
)  # fmt: skip
def test_what_has_no_answer_ends_in_a_typed_outcome(change: dict[str, pl.Expr], reason: str) -> None:
    rows = table(400)
    part = rows.parts[0].with_columns(**change)
    cut = AnalysisTable((part,), rows.causes, 0, rows.variables, time_varying=(SIGN,), exposures=(DRUG,))
    found = model().estimate(1, cut).to_polars()
    assert found["status"][0].startswith(f"not_estimable: {reason}")
    assert found["value"].null_count() == found.height


def study(**options: object) -> co.Study:
    parts = {
        "outcome": co.first_record(PAIN),
        "covariates": [co.age()],
        "exposures": [co.exposure("drug", OPIOID, lasts_days=30)],
        "time_varying": [SIGN],
        "analyses": [co.structural_cox("drug", "age", "sign", 240, natural_censoring={"terms": "sign"})],
    }
    return co.Study(COHORT, **parts | options)


def test_a_study_file_says_it_and_the_auditor_asks_for_new_users(tmp_path) -> None:
    plan = study()
    plan.to_toml(tmp_path / "study.toml")
    assert co.Study.from_toml(tmp_path / "study.toml").sha256 == plan.sha256
    said = {item: text for section, item, text in protocol(plan) if section == "Analyses"}
    assert "stabilised weights of the exposure's course on sign" in said["1. Marginal structural Cox model"]
    assert [finding.code for finding in plan.audit()] == ["treated_before_index"]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"terms": "age + sign"}, "terms and varying both name 'sign'"),
        ({"period_days": 300}, "is beyond horizon_days"),
        ({"varying": "sign +"}, "position"),
        ({"truncate": 0.2}, "truncate"),
    ],
)
def test_what_cannot_be_asked_names_the_field(options: dict[str, object], fault: str) -> None:
    asked = {"exposure": "drug", "terms": "age", "varying": "sign", "horizon_days": 240} | options
    with pytest.raises(StudyError, match=fault):
        co.structural_cox(**asked)


def test_what_changes_is_no_term_known_at_index_and_what_does_not_does_not_vary() -> None:
    with pytest.raises(StudyError, match=r"analyses\[1\].terms: 'sign' changes after index; name it in varying"):
        study(analyses=[co.structural_cox("drug", "sign", "age", 240)])
    with pytest.raises(StudyError, match=r"analyses\[1\].varying: 'age' does not change after index"):
        study(analyses=[co.structural_cox("drug", "sex", "age", 240)], covariates=[co.age(), co.sex()])
