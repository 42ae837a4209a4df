"""Comorbidity against a loop over every row of the map; invariant to order, duplicates and buckets."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort.codes.codelist import Codelist
from cohort.features.comorbidity import comorbidity, load_index

MAPS = {
    index: list(Codelist.shipped(f"{index}_quan2005").rows.select("system", "code", "category").iter_rows())
    for index in ("charlson", "elixhauser")
}
CODES = sorted({(system, code) for rows in MAPS.values() for system, code, _ in rows})
coded = st.sampled_from(CODES).flatmap(
    lambda entry: st.tuples(st.just(entry[0]), st.sampled_from([entry[1], entry[1] + "0", entry[1][:-1], "Q999"]))
)
diagnoses = st.lists(st.tuples(st.integers(1, 4), coded), max_size=20)


def oracle(rows, name):
    """Return {person: (flags, scores)}: a category is present when any of its rows begins any code of its system."""
    index = load_index(name)
    found = {}
    for person in {person for person, _ in rows}:
        own = [code for key, code in rows if key == person]
        present = {
            category
            for system, prefix, category in MAPS[name]
            if any(system == kind and code.startswith(prefix) for kind, code in own)
        }
        present -= {mild for severe, mild in index.drops if severe in present}
        flags = tuple(int(category in present) for category in index.categories)
        scores = tuple(sum(weights[category] for category in present) for weights in index.weights.values())
        found[person] = flags + scores
    return found


def frame(rows):
    cells = [(person, system, code) for person, (system, code) in rows]
    schema = {"id": pl.Int64, "vocabulary": pl.String, "code": pl.String}
    return pl.DataFrame(cells, schema=schema, orient="row")


def computed(rows, name):
    found = comorbidity(frame(rows), system="vocabulary", index=name)
    return {row[0]: row[1:] for row in found.iter_rows()}


@settings(max_examples=60, deadline=None)
@given(diagnoses, st.sampled_from(["charlson", "elixhauser"]), st.randoms(), st.integers(1, 3))
def test_equals_the_oracle_whatever_the_order_duplicates_and_buckets(rows, name, random, buckets):
    expected = oracle(rows, name)
    assert computed(random.sample(rows, len(rows)) + rows[:4], name) == expected
    parts = [computed([row for row in rows if row[0] % buckets == bucket], name) for bucket in range(buckets)]
    assert {person: flags for part in parts for person, flags in part.items()} == expected


SPELLINGS = (
    "{}", "{} ", " {}\t", "{}\u00a0", "{}.", "-{}",
)  # fmt: skip
STRANGERS = ["", "   ", "????", "0", "Ä10", "V10", "V1045", "E8120", "E95", "250", None]
SYSTEMS = {"icd9cm": "ICD-9-CM", "icd10": "ICD 10", "icd10cm": "Icd-10-cm"}
unseen = coded.flatmap(
    lambda entry: st.tuples(
        st.sampled_from([entry[0], SYSTEMS[entry[0]], "martian", None]),
        st.sampled_from([entry[1], entry[1] + "XXXA"[: 7 - len(entry[1])], *STRANGERS]),
        st.sampled_from(SPELLINGS),
        st.booleans(),
    )
)


def spelled(code, spelling, dotted):
    """Return a code as a supplier may write it: with a dot, in lower case, with blanks that cannot be seen."""
    if code is None:
        return None
    return spelling.format(f"{code[:3]}.{code[3:]}".lower() if dotted else code)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["p", "q", None]), unseen), max_size=12), st.sampled_from(sorted(MAPS)))
def test_codes_as_suppliers_write_them_count_as_the_codes_they_are(rows, name):
    meant = {system: system for system in SYSTEMS} | {written: system for system, written in SYSTEMS.items()}
    clean = [
        (person, (meant.get(system, "?"), "".join(filter(str.isalnum, code or "")).upper()))
        for person, (system, code, *_) in rows
        if person is not None
    ]
    cells = [(person, system, spelled(*how)) for person, (system, *how) in rows]
    schema = {"id": pl.String, "vocabulary": pl.String, "code": pl.String}
    found = comorbidity(pl.DataFrame(cells, schema=schema, orient="row"), system="vocabulary", index=name)
    assert {row[0]: row[1:] for row in found.iter_rows()} == oracle(clean, name)
