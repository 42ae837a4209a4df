"""Between our arrays and the pandas objects that lifelines reads: order, labels, covariates and baseline curves."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, cast

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from cohort.errors import InputRefusedError, StudyError
from cohort.survival import cox_residuals as residuals
from cohort.survival.cox_frames import Regressors, eager
from cohort.survival.cox_model import CoxEstimate


class LifelinesRegressors(Regressors):
    """Regressors as lifelines' predictions ask for them."""

    @property
    def mappings(self) -> dict[str, list[str]]:
        """Return lifelines' description: one parameter, and the frame's columns it reads."""
        return {"beta_": list(self.columns)}

    def transform_df(self, frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Return what lifelines multiplies by the coefficients."""
        matrix, names = self.matrix(frame)
        return {"beta_": pd.DataFrame(matrix[:], index=frame.index, columns=list(names))}


def row_order(fit: CoxEstimate) -> NDArray[np.int64]:
    """Return lifelines' order of rows: by stratum, time and event; its time transforms rely on it."""
    keys = (fit.follow.event, fit.follow.time)
    return np.lexsort(keys if fit.follow.stratum is None else (*keys, fit.follow.stratum))


def in_order(fit: CoxEstimate, values: NDArray[Any], index: pd.Index[Any], name: str | None) -> pd.Series[Any]:
    order = row_order(fit)
    return pd.Series(values[order], index=index[order], name=name)


def baseline(
    fit: CoxEstimate, times: pd.Index[Any], mean: pd.Series[Any], strata: list[Hashable], name: str
) -> pd.DataFrame:
    """Return Breslow's cumulative hazard at the covariate means and no offset, at ``times``, a column per stratum."""
    cells = fit.rows.cells
    offset = 0.0 if fit.follow.offset is None else fit.follow.offset.mean()
    moved = float(np.exp((mean.to_numpy() - fit.rows.centre) @ fit.coef - offset))
    hazard = residuals.baseline_hazard(fit, "breslow") * moved
    labels = strata or [name]
    curves = []
    for code in range(len(labels)):
        own = slice(*np.searchsorted(cells.stratum, [code, code + 1]))
        curve = np.concatenate([[0.0], np.cumsum(hazard[own])])
        curves.append(curve[np.searchsorted(cells.time[own], times.to_numpy(), side="right")])
    # pairs of strata stay one level of pairs, as lifelines has them
    return pd.DataFrame(np.column_stack(curves), index=times, columns=pd.Index(labels, tupleize_cols=False))


def stratum_of_rows(frame: pd.DataFrame, names: list[str], labels: list[Hashable]) -> NDArray[np.int64]:
    """Return the place of each row's stratum among those of the fit, shape (rows,)."""
    if not names:
        return np.zeros(len(frame), dtype=np.int64)
    if absent := [name for name in names if name not in getattr(frame, "columns", ())]:
        raise StudyError(f"a prediction in strata needs their columns: {', '.join(absent)}")
    found = [frame[name].tolist() for name in names]
    place = {label: code for code, label in enumerate(labels)}
    own = [place.get(key if len(names) > 1 else key[0], -1) for key in zip(*found, strict=True)]
    if unknown := own.count(-1):
        raise InputRefusedError(f"{unknown} rows are of a stratum that the model was not fitted to")
    return np.array(own, dtype=np.int64)


def stepped(curves: pd.DataFrame, times: NDArray[np.float64], column: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return right-continuous curves that start at 0, each row's ``column`` of them, at ``times`` (m, rows)."""
    table = np.vstack([np.zeros(curves.shape[1]), curves.to_numpy()])
    values: NDArray[np.float64] = table[np.searchsorted(curves.index.to_numpy(), times, side="right"), column]
    return values


def row_labels(frame: Any, used: NDArray[np.bool_]) -> pd.Index[Any]:
    index = frame.index if isinstance(frame, pd.DataFrame) else pd.RangeIndex(len(frame))
    return index[used]


def for_lifelines(frame: Any) -> Any:
    """Return polars as pandas and anything else (pandas, an array, one row) as it is."""
    return to_pandas(frame) if isinstance(frame, pl.DataFrame | pl.LazyFrame) else frame


def to_pandas(frame: Any) -> pd.DataFrame:
    """Return a numpy-backed pandas frame: lifelines refuses polars and Arrow-backed columns."""
    held = eager(frame)
    if isinstance(held, pl.DataFrame):
        return pd.DataFrame({name: held[name].to_numpy() for name in held.columns})
    return cast("pd.DataFrame", held)
