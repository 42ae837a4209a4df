"""The claims index of sensitization against the simulator's latent trait: what it can and cannot do there."""

from __future__ import annotations

import hashlib
import hmac

import polars as pl
import pytest

import cohort as co
from cohort.errors import NotEstimableError
from cohort.features.sensitization import rogan_gladen, sensitization_index
from cohort.features.validation import validate_score
from cohort.ingest.pseudonyms import KEEP_IDS_KEY


def test_discrimination_by_hand():
    # scores with the trait 1, 2, 2; without 0, 1, 1: of 9 pairs 2 tie (1 with 1 and 1) and 7 are right: (7 + 1) / 9
    frame = pl.LazyFrame({"score": [1, 2, 2, 0, 1, 1, None], "trait": [True] * 3 + [False] * 3 + [True]})
    found = validate_score(frame)
    assert (found.n, found.positive) == (6, 3)
    assert found.auc == pytest.approx(8 / 9)
    # Hanley and McNeil: Q1 = A/(2-A) = 0.8, Q2 = 2A^2/(1+A) = 0.836601, A^2 = 0.790123;
    # variance (A(1-A) + 2(Q1-A^2) + 2(Q2-A^2)) / 9 = (0.098765 + 0.019753 + 0.092956) / 9 = 0.023497, root 0.153288
    assert found.upper == 1.0
    assert found.lower == pytest.approx(8 / 9 - 1.959964 * 0.153288, abs=1e-4)
    assert found.by_score.select("score", "persons", "positive").rows() == [(0, 1, 0), (1, 3, 1), (2, 2, 2)]
    assert found.by_score["sensitivity"].to_list() == pytest.approx([1, 1, 2 / 3])
    assert found.by_score["specificity"].to_list() == pytest.approx([0, 1 / 3, 1])


def test_a_trait_that_everybody_has_cannot_be_told():
    with pytest.raises(NotEstimableError, match="trait_is_constant"):
        validate_score(pl.LazyFrame({"score": [1, 2], "trait": [True, True]}))


def _pseudonym(person: str) -> int:
    digest = hmac.new(KEEP_IDS_KEY, person.encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Return score and latent trait of everybody with a diagnosis; the supplier's names are linked here only."""
    folder = tmp_path_factory.mktemp("sensitization")
    co.simulate("low_back_pain", persons=6000, seed=11, layout="tuva", out=folder / "extracts")
    store = co.ingest(folder / "extracts", "tuva", folder / "store", keep_ids=True)
    truth = pl.read_parquet(folder / "extracts" / "truth" / "persons.parquet").with_columns(
        person_id=pl.col("person_id").map_elements(_pseudonym, return_dtype=pl.Int64)
    )
    return sensitization_index(store.scan("diagnosis")).collect().join(truth, on="person_id").sort("person_id")


def test_the_index_says_more_than_chance_of_the_simulated_trait_and_far_from_all(scored):
    # documented signs have odds of exp(0.5) to exp(1.0) per standard deviation of the trait, but most persons have none
    # on record; so the upper sixth (above one standard deviation) is told better than by chance, and poorly
    frame = scored.lazy().select(score="sensitization_index", trait=pl.col("sensitization") > 1)
    found = validate_score(frame)
    assert found.n > 4000
    assert found.lower > 0.55
    assert found.upper < 0.70
    assert found.by_score.row(0, named=True)["persons"] > found.n / 3  # nothing documented


def test_more_signs_mean_the_trait_more_often(scored):
    frame = scored.lazy().select(
        score=pl.col("sensitization_index").clip(upper_bound=4), trait=pl.col("sensitization") > 1
    )
    shares = validate_score(frame).by_score["share"].to_list()
    assert shares == sorted(shares)


def test_rogan_gladen_with_the_cut_off_s_own_accuracy_gives_back_the_prevalence(scored):
    found = validate_score(scored.lazy().select(score="sensitization_index", trait=pl.col("sensitization") > 1))
    cut = found.by_score.filter(pl.col("score") == 2)
    flagged = int(scored["sensitization_index"].ge(2).sum())
    corrected = rogan_gladen(flagged, found.n, cut["sensitivity"].item(), cut["specificity"].item())
    assert corrected.estimate == pytest.approx(found.positive / found.n)  # an identity: same persons, same accuracy
    assert corrected.lower < corrected.estimate < corrected.upper
