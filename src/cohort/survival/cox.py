"""Cox regression: the function a study calls, and the two fitters with lifelines' interface.

The numbers come from :mod:`cohort.survival.cox_newton`. ``CoxPHFitter`` and ``CoxTimeVaryingFitter`` load lifelines
and pandas only when they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from cohort.errors import InputRefusedError, StudyError
from cohort.frames import as_lazy, require_columns
from cohort.survival.cox_concordance import concordance
from cohort.survival.cox_firth import FirthProfile
from cohort.survival.cox_model import CoxEstimate, Follow, estimate
from cohort.survival.cox_newton import Optimum, Ties
from cohort.survival.cox_order import canonical_order
from cohort.survival.cox_residuals import linear_predictor
from cohort.survival.cox_zph import ProportionalHazardsTest, proportional_hazards_test
from cohort.survival.design import Design, Missing, Term, design_matrix, parse_terms

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CoxFit:
    """A fitted Cox model; arrays have one entry per column of the design, shape (p,), ``covariance`` is (p, p).

    ``n`` counts the rows used, ``n_missing`` those left out because a term was missing; ``references`` gives the
    reference level of each categorical variable.
    """

    terms: tuple[str, ...]
    coef: Floats
    std_error: Floats
    lower: Floats
    upper: Floats
    z: Floats
    p_value: Floats
    covariance: Floats
    log_likelihood_null: float
    log_likelihood: float
    score_test: float
    n: int
    n_events: int
    n_missing: int
    references: dict[str, str]
    ties: Ties | Literal["exact"]
    level: float
    method: str
    steps: int
    concordance: float | None = None
    proportionality: ProportionalHazardsTest | None = None

    @property
    def hazard_ratio(self) -> Floats:
        """Return exp(coef), shape (p,)."""
        ratio: Floats = np.exp(self.coef)
        return ratio

    @property
    def likelihood_ratio_test(self) -> tuple[float, int, float]:
        """Return statistic, degrees of freedom and p-value against no covariate at all."""
        statistic = 2 * (self.log_likelihood - self.log_likelihood_null)
        return statistic, len(self.terms), float(stats.chi2.sf(statistic, len(self.terms)))

    def to_polars(self) -> pl.DataFrame:
        """Return one row per column: term, coef, std_error, hazard_ratio and its limits, z, p_value."""
        return pl.DataFrame(
            {
                "term": list(self.terms),
                "coef": self.coef,
                "std_error": self.std_error,
                "hazard_ratio": self.hazard_ratio,
                "lower": self.lower,
                "upper": self.upper,
                "z": self.z,
                "p_value": self.p_value,
            }
        )


def fit_cox(
    frame: Any,
    time: str = "time",
    event: str = "event",
    entry: str | None = None,
    *,
    terms: str | tuple[Term, ...],
    ties: Ties = "efron",
    level: float = 0.95,
    missing: Missing = "refuse",
    with_concordance: bool = False,
    with_proportionality: bool = False,
    strata: str | None = None,
    cluster: str | None = None,
    firth: bool = False,
) -> CoxFit:
    """Fit a Cox model to one row per person; no bit of the result depends on row order or threads.

    ``time`` (and ``entry``) are whole days or any number, ``event`` is Boolean or 0/1, ``terms`` are names and products
    such as ``"early_opioid + age + sex + age:sex"``. Missing values in a term are refused, or with
    ``missing="leave_out"`` those rows are left out and counted. ``with_concordance`` adds Harrell's C,
    ``with_proportionality`` the test that no ratio changes with time, by term (None of too few events). ``strata`` and
    ``cluster`` name columns of whole numbers: rows are compared within a stratum (a matched set), and the variance is
    robust to what rows of one cluster (a person) have in common. ``firth`` adds Firth's penalty, under which a monotone
    likelihood has a maximum: limits, z (a signed root) and p-value are then those of the profile penalised likelihood,
    and both log-likelihoods include the penalty.

    Raises InputRefusedError for unusable columns, and NotEstimableError (``no_events``, ``constant``, ``collinear``,
    ``monotone_likelihood``, ``not_converged`` …), which names the columns.

    References
    ----------
    Cox DR (1972), doi:10.1111/j.2517-6161.1972.tb00899.x; Efron B (1977), doi:10.1080/01621459.1977.10480613;
    Heinze G, Schemper M (2001), doi:10.1111/j.0006-341X.2001.00114.x.
    """
    if ties not in ("efron", "breslow"):
        raise StudyError("ties must be 'efron' or 'breslow'")
    if not 0 < level < 1:
        raise StudyError("level must lie between 0 and 1")
    design, follow = model_arrays(
        frame, time, event, entry, terms=terms, missing=missing, strata=strata, cluster=cluster
    )
    fit = estimate(
        design.matrix, follow, design.names, ties, cluster=follow.cluster, firth_level=level if firth else None
    )
    agreement = concordance(linear_predictor(fit), fit.follow, variance=False).estimate if with_concordance else None
    trend = _trend(fit, design) if with_proportionality else None
    return replace(result(fit, design, level), concordance=agreement, proportionality=trend)


def _trend(fit: CoxEstimate, design: Design) -> ProportionalHazardsTest | None:
    try:
        return proportional_hazards_test(fit, terms=design.term_of)
    except np.linalg.LinAlgError:
        return None


def model_arrays(
    frame: Any,
    time: str = "time",
    event: str = "event",
    entry: str | None = None,
    *,
    terms: str | tuple[Term, ...],
    missing: Missing = "refuse",
    strata: str | None = None,
    cluster: str | None = None,
) -> tuple[Design, Follow]:
    """Return the arrays of a Cox model in an order that does not depend on the frame's; see :func:`fit_cox`."""
    parsed = parse_terms(terms) if isinstance(terms, str) else terms
    roles = {"time": time, "event": event, "entry": entry, "stratum": strata, "cluster": cluster}
    table = model_columns(frame, {role: name for role, name in roles.items() if name is not None}, parsed)
    design = design_matrix(table, parsed, missing)
    if not design.kept.all():
        table = table.filter(pl.Series(design.kept))
    labels = [pl.col(name).rank("dense").cast(pl.Int64).alias(name) - 1 for name in (strata, cluster) if name]
    table = table.with_columns(labels)
    columns = {"time": table[time].to_numpy(), "event": table[event].cast(pl.Float64).to_numpy()}
    columns |= {role: table[name].to_numpy() for role, name in roles.items() if name and role not in columns}
    order = canonical_order([*columns.values(), *design.matrix.T])
    matrix = np.empty_like(design.matrix)
    for j, column in enumerate(design.matrix.T):
        matrix[:, j] = column[order]
    return replace(design, matrix=matrix), Follow(**{role: values[order] for role, values in columns.items()})


def model_columns(
    frame: Any, columns: dict[str, str], terms: tuple[Term, ...], also: tuple[str, ...] = ()
) -> pl.DataFrame:
    """Collect the columns a model reads, ``columns`` by role, the terms' variables and others, in the frame's order.

    Raises
    ------
    InputRefusedError
        If a column is absent, or one with a role is not a number or has missing values.
    """
    lazy = as_lazy(frame)
    require_columns(lazy, columns)
    variables = dict.fromkeys(name for term in terms for name in term.variables)
    require_columns(lazy, {f"term {name}": name for name in variables})
    table = lazy.select(list(dict.fromkeys([*columns.values(), *also, *variables]))).collect()
    for role, name in columns.items():
        numeric = table[name].dtype.is_numeric() or (role == "event" and table[name].dtype == pl.Boolean)
        if not numeric:
            raise InputRefusedError(f"column {name} is {table[name].dtype}; {role} must be a number (days, or a code)")
        if gone := table[name].null_count():
            raise InputRefusedError(f"column {name} ({role}) is missing in {gone} rows; mend or remove them first")
    return table


def require_causes(codes: NDArray[Any], name: str, declared: Sequence[int] | None = None) -> None:
    """Refuse codes that are not 0, 1, 2 …, or other than 0 and those declared, by count."""
    if wrong := int((~((codes >= 0) & (codes == np.floor(codes)))).sum()):
        raise InputRefusedError(f"column {name} is not a cause (0, 1, 2, …) in {wrong} rows")
    if declared is not None and (wrong := int((~np.isin(codes, [0, *declared])).sum())):
        raise InputRefusedError(f"column {name} has a cause other than those declared in {wrong} rows")


def result(fit: CoxEstimate, design: Design, level: float) -> CoxFit:
    """Return the table of a fitted model with its Wald limits."""
    table = summarise(
        fit.optimum,
        (fit.coef, fit.std_error, fit.covariance),
        design.names,
        fit.ties,
        level,
        n=fit.rows.shape[0],
        n_events=int(fit.rows.cells.deaths.sum()),
        n_missing=design.n_missing,
        references=design.references,
        remarks=_remarks(fit),
    )
    return table if fit.firth is None else _with_profile(table, fit.firth)


def _with_profile(table: CoxFit, profile: FirthProfile) -> CoxFit:
    z = profile.signed_root(table.coef)
    with np.errstate(over="ignore", under="ignore"):
        lower, upper = np.exp(profile.lower), np.exp(profile.upper)
    return replace(
        table,
        lower=lower,
        upper=upper,
        z=z,
        p_value=2 * stats.norm.sf(np.abs(z)),
        log_likelihood_null=profile.log_likelihood_null,
        log_likelihood=profile.log_likelihood,
        method=table.method.replace("Wald limits", "Firth penalty, profile penalised likelihood limits"),
    )


def _remarks(fit: CoxEstimate) -> tuple[str, ...]:
    """Return what a reader of the method must know beyond the ties."""
    said = {
        "delayed entry": bool(fit.rows.cells.start.size),
        "stratified": fit.follow.stratum is not None,
        "robust variance by cluster": fit.follow.cluster is not None,
    }
    return tuple(text for text, holds in said.items() if holds)


def summarise(
    optimum: Optimum,
    estimates: tuple[Floats, Floats, Floats],
    names: tuple[str, ...],
    ties: Ties | Literal["exact"],
    level: float,
    *,
    n: int,
    n_events: int,
    n_missing: int,
    references: dict[str, str],
    remarks: tuple[str, ...] = (),
) -> CoxFit:
    """Return a fit with its Wald limits; ``estimates`` are coef (p,), std_error (p,) and covariance (p, p)."""
    coef, std_error, covariance = estimates
    reach = stats.norm.isf((1 - level) / 2) * std_error
    with np.errstate(over="ignore", under="ignore"):
        lower, upper = np.exp(coef - reach), np.exp(coef + reach)
    return CoxFit(
        terms=names,
        coef=coef,
        std_error=std_error,
        lower=lower,
        upper=upper,
        z=coef / std_error,
        p_value=2 * stats.norm.sf(np.abs(coef / std_error)),
        covariance=covariance,
        log_likelihood_null=optimum.null.log_likelihood,
        log_likelihood=optimum.point.log_likelihood,
        score_test=optimum.score_test,
        n=n,
        n_events=n_events,
        n_missing=n_missing,
        references=references,
        ties=ties,
        level=level,
        method=", ".join(["Cox proportional hazards", f"{ties.capitalize()} ties", *remarks, "Wald limits"]),
        steps=optimum.steps,
    )


def __getattr__(name: str) -> Any:
    if name in ("CoxPHFitter", "CoxTimeVaryingFitter"):
        return getattr(import_module("cohort.survival._lifelines"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
