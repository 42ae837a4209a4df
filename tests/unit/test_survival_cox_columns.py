"""Where a Cox model's covariates lie: borrowed from polars, copied from pandas, the same numbers either way."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from cohort.errors import InputRefusedError
from cohort.survival import CoxPHFitter
from cohort.survival.cox_columns import Columns


def persons() -> pl.DataFrame:
    rng = np.random.default_rng(1)
    x, flag = rng.standard_normal(300), rng.random(300) < 0.4
    time = rng.exponential(100 / np.exp(0.5 * x + flag)) + 1
    return pl.DataFrame({"time": np.ceil(time), "event": rng.random(300) < 0.7, "x": x, "flag": flag})


def test_numbers_of_polars_are_not_copied() -> None:
    frame = persons()
    fit = CoxPHFitter().fit(frame, "time", "event")
    assert np.shares_memory(fit.estimate_.rows.x.parts[0], frame["x"].to_numpy())
    np.testing.assert_array_equal(fit.estimate_.rows.x.parts[1], frame["flag"].to_numpy().astype(float))


def test_a_pandas_frame_may_change_after_the_fit() -> None:
    frame = persons().to_pandas()
    untouched = CoxPHFitter().fit(frame.copy(), "time", "event")
    fit = CoxPHFitter().fit(frame, "time", "event")
    frame["x"] = 0.0
    frame.loc[:, "flag"] = True
    assert fit.concordance_index_ == untouched.concordance_index_
    np.testing.assert_array_equal(fit.estimate_.rows.x[:], untouched.estimate_.rows.x[:])


def test_any_layout_gives_the_same_fit() -> None:
    whole = persons()
    in_parts = pl.concat([whole.head(100), whole.tail(200)], rechunk=False)
    fits = [CoxPHFitter().fit(frame, "time", "event") for frame in (whole, in_parts, whole.to_pandas())]
    assert len({fit.params_.to_numpy().tobytes() for fit in fits}) == 1
    matrix = np.arange(12.0).reshape(4, 3)
    rows = Columns.of(matrix)  # row-major: its columns are strided, and copied
    np.testing.assert_array_equal(rows[np.array([3, 0])], matrix[[3, 0]])
    np.testing.assert_array_equal(rows.combined(np.array([1.0, 0, 0]), [1.0, 2.0, 0.0]), matrix @ [1, 2, 0] - 1)
    assert (rows.shape, [part.flags.c_contiguous for part in rows.parts]) == ((4, 3), [True] * 3)


def test_what_is_no_number_is_refused_by_count() -> None:
    frame = persons().with_columns(x=pl.when(pl.col("flag")).then(None).otherwise("x"))
    with pytest.raises(InputRefusedError, match=f"column x is missing or infinite in {frame['x'].null_count()} rows"):
        CoxPHFitter().fit(frame, "time", "event")
