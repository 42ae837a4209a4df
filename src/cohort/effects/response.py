"""The share who respond when not everybody was measured: three declared estimands beside each other.

A missing visit is not non-response by default, and not ignorable by default either. `response_shares` gives the share
among those measured, the share when the others count as non-responders, and the share under weights that make the
measured stand for all who are like them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import stats

from cohort.effects.propensity import propensity_scores
from cohort.errors import InputRefusedError
from cohort.frames import as_lazy, require_kinds
from cohort.survival.types import Floats

MEASURED = "_measured"
Flags = npt.NDArray[np.bool_]


class _Share(NamedTuple):
    """An estimate, and each person's part in its error, shape (n,)."""

    version: str
    value: float
    influence: Floats


def response_shares(frame: Any, responded: str, terms: str, level: float = 0.95) -> pl.DataFrame:
    """Return the share who respond, in three versions.

    Parameters
    ----------
    frame
        One row per entry, any tabular object; ``responded`` is Boolean, null where the entry was not measured.
    terms
        Covariates known before the visit that tell who is measured, such as ``"age + sex + baseline"``. The weighted
        version is unbiased if, given these, being measured says nothing of the response, and everybody may be.

    Returns
    -------
    DataFrame
        ``version`` (observed, non_response, weighted), ``n`` (entries), ``measured`` (of them), ``estimate``,
        ``std_error``, ``lower`` and ``upper`` (normal limits, cut at 0 and 1). That the weights are estimated is in
        the error of the weighted share.

    Raises
    ------
    InputRefusedError
        If nobody was measured, or the column is not Boolean.
    NotEstimableError
        If the covariates tell the measured from the others.

    References
    ----------
    Seaman SR, White IR. Review of inverse probability weighting for dealing with missing data. Stat Methods Med Res
    2013;22:278-295. doi:10.1177/0962280210395740.
    """
    rows = as_lazy(frame).collect()
    measured, yes = _read(rows, responded)
    shares = _unweighted(measured, yes)
    whole = measured.all()
    shares.append(shares[0]._replace(version="weighted") if whole else _weighted(rows, measured, yes, terms))
    return _table(shares, int(measured.sum()), level)


def unweighted_shares(frame: Any, responded: str, level: float = 0.95) -> pl.DataFrame:
    """Return the observed and the non-responder version of `response_shares`, which need no model.

    Raises
    ------
    InputRefusedError
        If nobody was measured, or the column is not Boolean.
    """
    measured, yes = _read(as_lazy(frame).collect(), responded)
    return _table(_unweighted(measured, yes), int(measured.sum()), level)


def _read(rows: pl.DataFrame, responded: str) -> tuple[Flags, Floats]:
    """Return who was measured, and who responded."""
    require_kinds(rows.lazy(), {"responded": (responded, "boolean")})
    measured = rows[responded].is_not_null().to_numpy()
    if not measured.any():
        raise InputRefusedError(
            f"nobody was measured: {responded!r} is null in every row; widen the window of the visit"
        )
    return measured, rows[responded].fill_null(value=False).to_numpy().astype(np.float64)


def _unweighted(measured: Flags, yes: Floats) -> list[_Share]:
    known = measured.astype(np.float64)
    return [_mean("observed", yes, known), _mean("non_response", yes, np.ones_like(known))]


def _mean(version: str, yes: Floats, weight: Floats) -> _Share:
    value = float((weight * yes).sum() / weight.sum())
    return _Share(version, value, weight * (yes - value) / weight.sum())


def _weighted(rows: pl.DataFrame, measured: Any, yes: Floats, terms: str) -> _Share:
    """Return the share under weights 1 / P(measured), with what estimating them takes from its error."""
    marked = rows.with_columns(pl.Series(MEASURED, measured))
    scores = propensity_scores(marked, MEASURED, terms)
    assert scores.design is not None  # noqa: S101 -- an unpenalised logistic model of all rows has one
    p, x = scores.score, np.column_stack([np.ones(len(scores.score)), scores.design.in_frame_order()])
    weight = measured / p
    plain = _mean("weighted", yes, weight)
    residual = yes - plain.value
    # d/dβ of Σ r (y − μ) / p with p = expit(xβ) is −Σ r (y − μ) (1 − p) / p · x
    slope = -((measured * residual * (1 - p) / p)[:, None] * x).sum(axis=0) / weight.sum()
    information = (x * (p * (1 - p))[:, None]).T @ x
    moved = ((measured - p)[:, None] * x) @ np.linalg.solve(information, slope)
    return plain._replace(influence=plain.influence + moved)


def _table(shares: list[_Share], measured: int, level: float) -> pl.DataFrame:
    z = float(stats.norm.ppf((1 + level) / 2))
    lines = []
    for share in shares:
        error = float(np.sqrt((share.influence**2).sum()))
        lines.append(
            {
                "version": share.version,
                "n": share.influence.size,
                "measured": measured,
                "estimate": share.value,
                "std_error": error,
                "lower": max(share.value - z * error, 0.0),
                "upper": min(share.value + z * error, 1.0),
            }
        )
    return pl.DataFrame(lines)
