"""Effects that have no answer, through the whole command: exit code 0, a page, a sentence, and never a traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import polars as pl
import pytest

import cohort as co

NEVER = '{ table = "procedure", codes = { name = "none", rows = [ { system = "hcpcs", code = "ZZZZZ" } ] } }'
REASON = "shown to the data owner alone, to choose further covariates"
HEAD = f"""
title = "What cannot be answered"
disclosure = {{ minimum = 0 }}
[cohort]
name = "Incident low back pain"
entry = {{ at = "first", record = {{ table = "diagnosis", codes = "low_back_pain" }}, washout_days = 180 }}
rules = [ {{ rule = "enrolled", window = [-365, 0] }} ]
end = {{ max_days = 365 }}
[outcome]
kind = "first_record"
record = {{ table = "diagnosis", codes = "low_back_pain" }}
from_day = 15
label = "another_visit"
[[covariates]]
kind = "age"
[[covariates]]
kind = "sex"
[[covariates]]
kind = "exposed"
name = "never"
record = {NEVER}
window = [-30, -1]
[[covariates]]
kind = "exposed"
name = "always"
record = {{ table = "diagnosis", codes = "low_back_pain" }}
window = [0, 0]
[[covariates]]
kind = "exposed"
name = "opioid"
record = {{ table = "dispensing", codes = "opioid" }}
window = [0, 14]
[[covariates]]
kind = "exposed"
name = "the_same"
record = {{ table = "dispensing", codes = "opioid" }}
window = [0, 14]
[[exposures]]
name = "not_there"
record = {NEVER}
[[exposures]]
name = "at_once"
record = {{ table = "diagnosis", codes = "low_back_pain" }}
[[exposures]]
name = "opioid_later"
record = {{ table = "dispensing", codes = "opioid" }}
[[time_varying]]
name = "seen"
record = {{ table = "dispensing", codes = "opioid" }}
within_days = 30
[[time_varying]]
name = "unseen"
record = {NEVER}
[[negative_controls]]
kind = "first_record"
record = {NEVER}
label = "nothing"
"""
EFFECT = '[[analyses]]\nkind = "treatment_effect"\nhorizon_days = 200\n'
TRIAL = '[[analyses]]\nkind = "emulated_trial"\nadjust_for = "age + sex"\nreplicates = 20\n'
NESTED = '[[analyses]]\nkind = "nested_trials"\nadjust_for = "age + sex"\nreplicates = 20\nhorizon_days = 200\n'
MODEL = '[[analyses]]\nkind = "structural_cox"\nterms = "age"\nvarying = "seen"\nhorizon_days = 200\n'
CASES = (
    (EFFECT + 'treatment = "never"\nadjust_for = "age"', "everybody is treated, or nobody is"),
    (EFFECT + 'treatment = "always"\nadjust_for = "age"', "everybody is treated, or nobody is"),
    (EFFECT + 'treatment = "opioid"\nadjust_for = "age + the_same"', "the treated and the untreated apart"),
    (EFFECT + 'treatment = "opioid"\nadjust_for = "age + never"', "a covariate has the same value for everybody"),
    (EFFECT + 'treatment = "opioid"\nadjust_for = "age"', "negative controls with 10 events in either arm"),
    (TRIAL + 'exposure = "not_there"\ngrace_days = 30\nhorizon_days = 200', "nobody who was to start within the grace"),
    (TRIAL + 'exposure = "at_once"\ngrace_days = 30\nhorizon_days = 200', "nobody who was to do not start"),
    (TRIAL + 'exposure = "opioid_later"\ngrace_days = 30\nhorizon_days = 2000', "is observed at the horizon"),
    (
        TRIAL
        + 'exposure = "opioid_later"\ngrace_days = 30\nhorizon_days = 200\nnatural_censoring = { terms = "unseen" }',
        "a covariate has the same value for everybody; leave it out (unseen)",
    ),
    (NESTED + 'exposure = "not_there"', "every trial begins exposed, or none does"),
    (NESTED + 'exposure = "at_once"\nprotocol = "per_protocol"', "every trial begins exposed, or none does"),
    (
        NESTED + 'exposure = "at_once"\nbegin = "index"\nagainst = "not_there"',
        "every trial begins exposed, or none does",
    ),
    (MODEL + 'exposure = "not_there"', "every row is exposed, or none is"),
    (MODEL + 'exposure = "at_once"', "every row is exposed, or none is"),
    (EFFECT + f'treatment = "opioid"\nadjust_for = "age"\nunsealed = "{REASON}"', "Unsealed: the estimates are shown"),
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("degenerate")
    co.simulate("low_back_pain", persons=1500, seed=5, layout="tuva", out=folder / "extract")
    co.ingest(folder / "extract", "tuva", folder / "store", buckets=1)
    (folder / "study.toml").write_text(HEAD + "\n".join(text for text, _ in CASES))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "cohort.cli",
            "run",
            folder / "study.toml",
            "--store",
            folder / "store",
            "--out",
            folder,
        ],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COHORT_DEBUG": "1"},
    )
    return done, folder


def section(folder, number):
    """Return the text of the number-th treatment effect of the page."""
    effects = (folder / "report.html").read_text("utf-8").split('<section id="effects">')[1].split("</section>")[0]
    return re.sub(
        r"\s+", " ", re.sub(r"<svg.*?</svg>|<[^>]+>", " ", effects.split("<article>")[number], flags=re.DOTALL)
    )


def test_the_run_ends_well_and_says_nothing_of_a_traceback(ran):
    done, _ = ran
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", range(1, len(CASES) + 1))
def test_every_case_is_a_section_with_its_sentence(ran, number):
    _, folder = ran
    assert CASES[number - 1][1] in section(folder, number)


def test_no_number_stands_where_there_is_no_answer_or_a_closed_gate(ran):
    _, folder = ran
    estimates = pl.read_parquet(folder / "estimates.parquet")
    answers = estimates.filter(pl.col("estimand").is_in(["risk", "risk_difference", "marginal_hazard_ratio"]))
    sealed = answers.filter(pl.col("analysis").is_between(1, len(CASES) - 1))
    assert sealed["status"].str.contains("^(not_estimable|sealed): ").all()
    assert sealed["value"].null_count() == sealed.height


def test_what_is_unsealed_is_in_the_provenance_the_protocol_and_beside_the_estimate(ran):
    _, folder = ran
    assert json.loads((folder / "run.json").read_text())["unsealed"] == [{"analysis": len(CASES), "reason": REASON}]
    page = (folder / "report.html").read_text("utf-8")
    assert f"shown past closed gates because: {REASON}" in page
    told = section(folder, len(CASES))
    assert "Negative controls" in told
    assert f"The study says why: {REASON}" in told
    shown = pl.read_parquet(folder / "estimates.parquet").filter(analysis=len(CASES), estimand="risk_difference")
    assert shown["status"].item() == "ok"
