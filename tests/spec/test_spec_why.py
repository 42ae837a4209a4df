"""Why one person is in or not: every rule, its verdict, and the rows that decided it; for the data holder only."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import sys

import polars as pl
import pytest
from worlds import world

import cohort as co
from cohort.errors import InputRefusedError, StudyError
from cohort.ingest.pseudonyms import key_of, pseudonym_of
from cohort.ingest.source_lines import SourceLine, SourceLines, lines_of
from cohort.runs.receipt import recall
from cohort.why import replay

BACK = co.Codelist.from_rows("back", [{"system": "icd10cm", "code": "M54.5"}])
CANCER = co.Codelist.from_rows("cancer", [{"system": "icd10cm", "code": "C50"}])
CHRONIC = co.Codelist.from_rows("chronic", [{"system": "icd10cm", "code": "G89"}])
DATA_END = dt.date(2022, 12, 31)

ONE = world(
    person="""
        person_id birth_date sex    death_date
        7         1970-01-01 female -
    """,
    enrolment="""
        person_id start_date end_date
        7         2018-01-01 2022-12-31
    """,
    diagnosis="""
        person_id date       code setting
        7         2010-01-01 C509 inpatient
        7         2019-05-01 C509 inpatient
        7         2020-03-01 M545 outpatient
        7         2020-03-20 M545 outpatient
        7         2021-06-01 M545 emergency
        7         2021-07-01 G894 outpatient
    """,
)
PEOPLE = (
    co.Cohort("Back pain")
    .enter_at_first(co.diagnosis(BACK), washout_days=180)
    .require_age(18, 100)
    .require_enrolled(co.Window(-365, 0))
    .exclude(co.diagnosis(CANCER), co.Window(-365, 0), reason="cancer")
)
STUDY = co.Study(PEOPLE, outcome=co.first_record(co.diagnosis(CHRONIC)))


def test_every_step_says_what_it_kept_and_removed_and_what_it_looked_at():
    """The cancer of 1 May 2019 lies 305 days before 1 March 2020, and more than a year before June 2021.

    That of 2010 is in no window, so no rule looked at it.
    """
    assert str(replay(STUDY, ONE, DATA_END, 7)) == "\n".join(
        [
            "Person 7 in 'Back pain'",
            "",
            "With a diagnosis of back",
            "    kept     2020-03-01, 2020-03-20, 2021-06-01",
            "        diagnosis date=2020-03-01 end_date=2020-03-01 system=icd10cm code=M545 setting=outpatient",
            "        diagnosis date=2020-03-20 end_date=2020-03-20 system=icd10cm code=M545 setting=outpatient",
            "        diagnosis date=2021-06-01 end_date=2021-06-01 system=icd10cm code=M545 setting=emergency",
            "No such record in the 180 days before",
            "    kept     2020-03-01, 2021-06-01",
            "    removed  2020-03-20",
            "Aged 18 to 100 at index",
            "    kept     2020-03-01, 2021-06-01",
            "        person birth_date=1970-01-01 sex=female",
            "Enrolled from day -365 to day 0, gaps of up to 31 days bridged",
            "    kept     2020-03-01, 2021-06-01",
            "        enrolment start_date=2018-01-01 end_date=2022-12-31",
            "No cancer (day -365 to day 0)",
            "    kept     2021-06-01",
            "    removed  2020-03-01",
            "        diagnosis date=2019-05-01 end_date=2019-05-01 system=icd10cm code=C509 setting=inpatient",
            "First such entry of each person",
            "    kept     2021-06-01",
            "Without the outcome before the index date",
            "    kept     2021-06-01",
            "Not dead before the index date",
            "    kept     2021-06-01",
            "Followed on the index date",
            "    kept     2021-06-01",
            "What follow-up and outcome look at",
            "        diagnosis date=2021-07-01 end_date=2021-07-01 system=icd10cm code=G894 setting=outpatient",
            "        enrolment end_date=2022-12-31 start_date=2018-01-01",
            "        person birth_date=1970-01-01 sex=female",
            "",
            "In the cohort on 2021-06-01: at risk after day 0, to day 30: chronic",
        ]
    )


def test_who_is_not_in_is_told_at_which_step_the_last_entry_went():
    elsewhere = co.Study(PEOPLE.require_index_between(dt.date(2015, 1, 1), dt.date(2016, 1, 1)), outcome=STUDY.outcome)
    told = str(replay(elsewhere, ONE, DATA_END, 7))
    assert told.endswith(
        "Not in the cohort: the last entry was removed at 'Index date between 2015-01-01 and 2016-01-01'."
    )


def test_a_person_without_any_record():
    told = str(replay(STUDY, world(person="person_id birth_date sex death_date\n7 - - -"), DATA_END, 7))
    assert told.endswith("\nNot in the cohort: there is no record to enter by.")


def test_other_tables_and_episodes_are_shown_as_they_are():
    tables = world(
        person="person_id birth_date sex death_date\n7 - - -",
        measurement="person_id date instrument value\n7 d0 NRS 3\n7 d9 NRS 6",
        dispensing="person_id date code system days_supply\n7 d-30 N02AA01 atc 20\n7 d-99 N02AA01 atc 20",
    )
    opioid = co.Codelist.from_rows("opioid", [{"system": "atc", "code": "N02A"}])
    people = co.Cohort("c").enter_at_first(co.measurement("NRS", at_least=4))
    people = people.exclude(co.episode_of(co.dispensing(opioid), 40), co.Window(-9, 0), reason="opioids")
    found = replay(co.Study(people, outcome=STUDY.outcome), tables, DATA_END, 7)
    looked_at = {verdict.reason: verdict.rows for verdict in found.verdicts}
    assert looked_at["With a measurement of NRS of 4 or more"]["value"].to_list() == [6.0]
    assert looked_at["No opioids (day -9 to day 0)"]["days_supply"].to_list() == [20, 20]  # also what began earlier


def test_nothing_of_a_person_is_in_the_repr():
    found = replay(STUDY, ONE, DATA_END, 7)
    assert repr(found) == "Why(title='Back pain', note=None)"
    assert "2020" not in repr(found.verdicts[0])


# From a run -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ran(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("why")
    co.simulate("low_back_pain", persons=400, seed=5, layout="tuva", out=folder / "extract")
    store = co.ingest(folder / "extract", "tuva", folder / "store", buckets=3, keep_ids=True)
    codes = folder / "codes.csv"
    codes.write_text("system,code,term,category,source\nicd10cm,M545,,back,own\nicd10cm,M544,,back,own\n")
    people = co.Cohort("Back pain").enter_at_first(co.diagnosis(str(codes)), washout_days=180)
    result = co.Study(people, outcome=STUDY.outcome).run(store)
    result.report(folder / "out")
    codes.unlink()  # a run stands without the files it was read from
    return folder, result


def cohort(*arguments, given=""):
    return subprocess.run(
        [sys.executable, "-m", "cohort.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        input=given,
        check=False,
    )


def test_everybody_s_replay_ends_as_the_run_did(ran):
    _, result = ran
    rows = {row["person_id"]: row for row in result.table.lazy().collect().to_dicts()}
    everybody = result.store.scan("person").select("person_id").collect()["person_id"].sort().to_list()
    for person in [*list(rows)[:5], *everybody[:5]]:
        found = result.why(person).entries
        assert found.to_dicts() == ([rows[person]] if person in rows else [])


def test_the_command_replays_a_pseudonym(ran):
    folder, result = ran
    person = result.table.lazy().collect()["person_id"][0]
    done = cohort("why", folder / "out", person)
    assert (done.returncode, done.stdout.rstrip("\n")) == (0, str(result.why(person)))


def test_an_identifier_comes_from_standard_input_not_from_the_arguments(ran):
    folder, _ = ran
    identifier = pl.read_csv(next((folder / "extract").glob("eligibility*")), infer_schema=False)["person_id"][0]
    done = cohort("why", folder / "out", "-", "--keep-ids", given=f"{identifier}\n")
    assert done.returncode == 0
    assert done.stdout.startswith("Person ")
    wrong = cohort("why", folder / "out", identifier)
    assert wrong.returncode in {2, 3}
    assert identifier not in wrong.stderr


def test_another_key_is_refused(ran):
    folder, _ = ran
    done = cohort("why", folder / "out", "-", given="somebody\n")
    assert done.returncode == 3
    assert "give --key-file, or --keep-ids" in done.stderr
    assert "somebody" not in done.stderr


def test_somebody_else_is_nobody(ran):
    with pytest.raises(InputRefusedError, match="holds nobody"):
        ran[1].why(1)


def test_the_folder_of_the_run_is_held_against_its_hashes(ran, tmp_path):
    folder, result = ran
    study, store = recall(folder / "out")
    assert (study.sha256, store.manifest.fingerprint) == (result.study.sha256, result.store.manifest.fingerprint)
    private = folder / "out" / "private" / "000001"
    assert private.parent.stat().st_mode & 0o777 == 0o700
    assert private.stat().st_mode & 0o777 == 0o700
    written = (private / "study.toml").read_text()
    (private / "study.toml").write_text(written.replace("washout_days = 180", "washout_days = 90"))
    with pytest.raises(StudyError, match=r"not the one of run\.json"):
        recall(folder / "out")
    (private / "study.toml").write_text(written)
    with pytest.raises(StudyError, match="does not hold a whole run"):
        recall(tmp_path)


def test_the_private_folder_names_no_person(ran):
    folder, result = ran
    persons = {str(person) for person in result.store.scan("person").select("person_id").collect()["person_id"]}
    text = "".join(path.read_text() for path in (folder / "out" / "private" / "000001").iterdir())
    assert not any(person in text for person in persons)
    kept = json.loads((folder / "out" / "private" / "000001" / "store.json").read_text())
    assert set(kept) == {"store", "snapshot", "run_id", "history", "files"}


# Source lines -----------------------------------------------------------------------------------------------------


def lines_by_hand(folder, file, words):
    """Return the physical lines of a file that hold all words, as a text editor would number them."""
    text = (folder / "extract" / file).read_text(encoding="utf-8").splitlines()
    return [f"{file}:{number}" for number, line in enumerate(text, start=1) if all(word in line for word in words)]


def test_each_row_names_the_lines_of_the_files_that_hold_it(ran):
    folder, result = ran
    claims = pl.read_csv(folder / "extract" / "medical_claim.csv", infer_schema=False)
    identifier = claims.filter(pl.col("diagnosis_code_1").str.starts_with("M54"))["person_id"][0]
    key = key_of(result.store.path, result.store.manifest.key_id, None, keep_ids=True)
    person = pseudonym_of(key, identifier)
    lines = lines_of(folder / "extract", result.store, person, None, None, keep_ids=True)
    rows = result.store.scan("diagnosis").filter(pl.col("person_id") == person).collect()
    assert rows.height
    for row in rows.iter_rows(named=True):
        dotted = row["code"][:3] + ("." + row["code"][3:] if len(row["code"]) > 3 else "")
        written = lines_by_hand(folder, "medical_claim.csv", [identifier, str(row["date"])])
        by_hand = [line for line in written if line in
                   {*lines_by_hand(folder, "medical_claim.csv", [identifier, row["code"]]),
                    *lines_by_hand(folder, "medical_claim.csv", [identifier, dotted])}]  # fmt: skip
        assert set(by_hand) <= set(lines.of("diagnosis", row))
        assert lines.of("diagnosis", row)
    (person_row,) = result.store.scan("person").filter(pl.col("person_id") == person).collect().to_dicts()
    assert lines.of("person", person_row) == tuple(
        lines_by_hand(folder, "eligibility.csv", [identifier, str(person_row["birth_date"])])
    )


def test_the_command_shows_the_lines(ran):
    folder, result = ran
    person = result.table.lazy().collect()["person_id"][0]
    done = cohort("why", folder / "out", person, "--extracts", folder / "extract", "--keep-ids")
    assert done.returncode == 0
    assert "            medical_claim.csv:" in done.stdout
    assert not list((result.store.path / "private").glob("why-*"))  # nothing of a person is left behind


@pytest.mark.parametrize("layout", ["nordic_registry", "registry"])
def test_rows_of_other_layouts_find_their_lines(layout, tmp_path):
    co.simulate("low_back_pain", persons=60, seed=5, layout=layout, out=tmp_path / "extract")
    store = co.ingest(tmp_path / "extract", layout, tmp_path / "store", keep_ids=True)
    for table in ("diagnosis", "measurement", "dispensing"):
        rows = store.scan(table).head(5).collect()
        for (person,), mine in rows.partition_by("person_id", as_dict=True).items():
            lines = lines_of(tmp_path / "extract", store, person, None, None, keep_ids=True)
            assert all(lines.of(table, row) for row in mine.iter_rows(named=True))


def test_an_encounter_is_dated_by_all_lines_of_its_claim():
    line = SourceLine("claim", "claim.csv", 5, ("M54.5", "2020-03-04", "7"), ("%Y-%m-%d",))
    lines = SourceLines((line,), {"diagnosis": frozenset({"claim"}), "procedure": frozenset({"other"})})
    row = {"date": dt.date(2020, 3, 1), "code": "M545"}
    assert lines.of("diagnosis", row) == ("claim.csv:5 (of another date)",)
    assert lines.of("diagnosis", row | {"date": dt.date(2020, 3, 4)}) == ("claim.csv:5",)
    assert lines.of("diagnosis", row | {"code": "M546"}) == ()
    assert lines.of("procedure", row) == ()


def test_a_file_that_was_not_loaded_is_refused(ran, tmp_path):
    folder, result = ran
    shutil.copytree(folder / "extract", tmp_path / "extract")
    with (tmp_path / "extract" / "medical_claim.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(InputRefusedError, match=r"medical_claim\.csv is not a file that this snapshot was loaded from"):
        lines_of(tmp_path / "extract", result.store, 1, None, None, keep_ids=True)
