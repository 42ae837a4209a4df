"""OHDSI's own cohort definitions and fixtures: which of them a `Cohort` can say, and that those mean the same here."""

from __future__ import annotations

import datetime as dt
import json

import polars as pl
import pytest
from worlds import world

import cohort as co
from cohort.circe.concepts import SYSTEMS as VOCABULARIES
from cohort.errors import StudyError
from cohort.plan import codes_needed, run_bucket
from cohort.store.tables import SYSTEMS, TABLES

# One invented descendant below each concept: what really lies there is in a vocabulary that is not shipped.
BELOW = "9000000001"


@pytest.fixture
def descendants(shared, tmp_path):
    rows = []
    for file in sorted((shared / "reference/phenotypes").glob("*.json")):
        for group in json.loads(file.read_text())["ConceptSets"]:
            for item in group["expression"]["items"]:
                concept = item["concept"]
                if concept["VOCABULARY_ID"] == "SNOMED":
                    rows.append(f"snomed,{concept['CONCEPT_CODE']},{BELOW}")
    path = tmp_path / "descendants.csv"
    path.write_text("\n".join(["system,code,descendant", *sorted(set(rows))]))
    return path


REFUSED = {
    "reference/phenotypes/279.json": ["EndStrategy.DateOffset.DateField"],
    "reference/phenotypes/332.json": [
        "ConceptSets[0].expression.items[0].concept.VOCABULARY_ID",  # DRG
        "ConceptSets[0].expression.items[5].concept.VOCABULARY_ID",
        "ConceptSets[0].expression.items[6].concept.VOCABULARY_ID",  # LOINC
        "ConceptSets[0].expression.items[10].concept.VOCABULARY_ID",
        "InclusionRules[0].expression.CriteriaList[0].IgnoreObservationPeriod",
        "EndStrategy.DateOffset.DateField",
        "QualifiedLimit",
    ],
    **{
        f"reference/phenotypes/{number}.json": ["EndStrategy.DateOffset.DateField", "EndStrategy.DateOffset.Offset"]
        for number in (453, 485, 524, 545, 573)
    },
    "reference/circe/cohortgeneration/firstOccurrence/firstOccurrenceTestExpression.json": [
        "ConceptSets[0].expression.items[0].concept.VOCABULARY_ID",  # TestVocab
        "PrimaryCriteria.CriteriaList",  # empty: their test fills it in
    ],
    "reference/circe/cohortgeneration/exits/censorEventExpression.json": [
        "ConceptSets[0].expression.items[0].concept.VOCABULARY_ID",
        "CensoringCriteria[0]",
        "ExpressionLimit",
    ],
    **{
        f"reference/circe/cohortgeneration/exits/{name}Expression.json": [
            "ConceptSets[0].expression.items[0].concept.VOCABULARY_ID",
            f"EndStrategy.{strategy}",
            "ExpressionLimit",
        ]
        for name, strategy in {
            "continuousExposure": "CustomEra",
            "continuousExposureCensor": "CustomEra",
            "fixedOffset": "DateOffset.DateField",
            "fixedOffsetCensor": "DateOffset.DateField",
        }.items()
    },
}
"""Every definition of the material → the paths that a cohort cannot say, descendants being given."""


@pytest.mark.parametrize("file", REFUSED)
def test_what_cannot_be_said_is_refused_by_its_path(shared, descendants, file):
    with pytest.raises(StudyError) as refused:
        co.from_circe(shared / file, descendants=descendants)
    paths = [line.removeprefix(f"{shared / file}: ").split(": ")[0] for line in str(refused.value).splitlines()]
    assert sorted(paths) == sorted(REFUSED[file])


def test_the_material_is_all_accounted_for(shared):
    found = {
        str(path.relative_to(shared))
        for pattern in ("phenotypes/*.json", "circe/**/*Expression.json")
        for path in (shared / "reference").glob(pattern)
    }
    assert found == set(REFUSED)


def entries(tables, cohort):
    """Return {person: index date} of a cohort, whatever comes after."""
    outcome = co.first_record(co.procedure(co.Codelist.from_rows("none", [{"system": "cpt", "code": "00000"}])))
    rows = run_bucket(tables, cohort, outcome, (), codes_needed(cohort, outcome, ()), dt.date(2022, 12, 31)).rows
    return dict(rows.select("person_id", pl.col("index_date")).iter_rows())


@pytest.mark.parametrize("number", [279, 453, 485, 524, 545, 573])
def test_a_phenotype_enters_at_the_first_day_observed_with_one_of_its_codes(shared, descendants, number):
    """Person 1: the concept itself on d5, again on d9; 2: a descendant on d7; 3: another code.

    Person 4 has the concept before enrolment (d-500) and on d20: OHDSI takes the first event inside an observation
    period. Person 5 has it only after enrolment has ended.
    """
    file = shared / f"reference/phenotypes/{number}.json"
    items = json.loads(file.read_text())["ConceptSets"][0]["expression"]["items"]
    code = items[0]["concept"]["CONCEPT_CODE"]
    tables = world(
        person="person_id birth_date sex\n" + "\n".join(f"{n} 1970-01-01 female" for n in range(1, 6)),
        enrolment="person_id start_date end_date\n" + "\n".join(f"{n} d-100 d400" for n in range(1, 6)),
        diagnosis=f"""
            person_id  date   system  code
            1          d9     snomed  {code}
            1          d5     snomed  {code}
            2          d7     snomed  {BELOW}
            3          d8     snomed  123
            4          d-500  snomed  {code}
            4          d20    snomed  {code}
            5          d401   snomed  {code}
        """,
    )
    cohort = co.from_circe(file, descendants=descendants, entry_only=True)
    day = dt.date(2020, 3, 1)
    assert entries(tables, cohort) == {n: day + dt.timedelta(days=d) for n, d in {1: 5, 2: 7, 4: 20}.items()}


DOMAINS = {  # domain → table of the CDM, its columns of start date, the number of the cohort in their VERIFY file
    "ConditionOccurrence": ("cdm.condition_occurrence", "condition_start_date", "diagnosis", 2),
    "DrugExposure": ("cdm.drug_exposure", "drug_exposure_start_date", "dispensing", 5),
    "ProcedureOccurrence": ("cdm.procedure_occurrence", "procedure_date", "procedure", 8),
}


@pytest.mark.parametrize("domain", DOMAINS)
def test_first_occurrence_as_in_the_fixtures_of_circe(shared, tmp_path, domain):
    """As their test does, the empty primary criteria are filled with one domain and First, 90 prior days observed."""
    folder = shared / "reference/circe/cohortgeneration/firstOccurrence"
    cdm = json.loads((folder / "firstOccurrenceTest_PREP.json").read_text())
    expression = json.loads((folder / "firstOccurrenceTestExpression.json").read_text())
    expression["PrimaryCriteria"]["CriteriaList"] = [{domain: {"CodesetId": 0, "First": True}}]
    expression["ConceptSets"][0]["expression"]["items"][0] = {
        "concept": {"VOCABULARY_ID": "SNOMED", "CONCEPT_CODE": "2"}
    }
    (tmp_path / "first.json").write_text(json.dumps(expression))
    name, start, table, number = DOMAINS[domain]
    rows = {
        "person": [{"person_id": row["person_id"]} for row in cdm["cdm.person"]],
        "enrolment": [
            {"person_id": row["person_id"], "start_date": day(row["observation_period_start_date"]),
             "end_date": day(row["observation_period_end_date"])}
            for row in cdm["cdm.observation_period"]
        ],
        table: [
            {"person_id": row["person_id"], "date": day(row[start]), "system": "snomed", "code": "2"}
            for row in cdm[name]
        ],
    }  # fmt: skip
    tables = {key: pl.DataFrame(rows.get(key, []), schema=TABLES[key].schema).lazy() for key in TABLES}
    verify = json.loads((folder / "firstOccurrenceTest_VERIFY.json").read_text())["firstOccurrenceTest.cohort"]
    expected = {
        row["subject_id"]: day(row["cohort_start_date"]) for row in verify if row["cohort_definition_id"] == number
    }
    assert expected  # person 1 alone; person 2 lacks prior observation
    assert entries(tables, co.from_circe(tmp_path / "first.json")) == expected


def day(text):
    return dt.date.fromisoformat(text)


def test_vocabularies_are_systems_of_the_store():
    assert set(VOCABULARIES.values()) <= set(SYSTEMS)
