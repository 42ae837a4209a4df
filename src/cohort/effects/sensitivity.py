"""How strong what was not measured, or was measured wrongly, would have to be.

References
----------
VanderWeele TJ, Ding P (2017), Ann Intern Med 167:268–274, doi:10.7326/M16-2607; Ding P, VanderWeele TJ (2016),
Epidemiology 27:368–377, doi:10.1097/EDE.0000000000000457; Lin DY, Psaty BM, Kronmal RA (1998), Biometrics 54:948–963,
doi:10.2307/2533848; Fox MP, MacLehose RF, Lash TL (2021), Applying Quantitative Bias Analysis to Epidemiologic Data,
doi:10.1007/978-3-030-82673-4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cohort.errors import NotEstimableError, StudyError
from cohort.survival.types import Floats

COMMON = 0.15
"""An outcome this frequent makes a hazard ratio a poor stand-in for a risk ratio (VanderWeele & Ding 2017)."""


_LEAST = 1e-150
"""Ratios below this, or above its inverse, are no ratios of risks."""


@dataclass(frozen=True, slots=True)
class EValue:
    """The smallest risk ratio that an unmeasured confounder must have with both treatment and outcome.

    ``estimate`` to explain the estimate away entirely, ``limit`` to move the confidence limit nearer to 1 onto it: 1
    where the interval holds 1 already.
    """

    estimate: float
    limit: float


def e_value(
    ratio: float,
    lower: float,
    upper: float,
    kind: Literal["risk", "hazard"] = "risk",
    risk: float = 0.0,
) -> EValue:
    """Return the E-value of a ratio and its confidence limits.

    Parameters
    ----------
    kind, risk
        A hazard ratio of an outcome with an overall ``risk`` above 15 % at the end of follow-up is first turned into an
        approximate risk ratio.
    """
    if not 0 < lower <= ratio <= upper or np.isinf(ratio):
        raise StudyError("an E-value needs 0 < lower <= ratio <= upper, and a finite ratio")
    if not 0 <= risk <= 1:
        raise StudyError(f"risk = {risk}; the outcome's overall risk, between 0 and 1")
    if kind not in ("risk", "hazard"):
        raise StudyError(f"kind = {kind!r}; risk or hazard")
    if kind == "hazard" and risk > COMMON:
        ratio, lower, upper = (_as_risk_ratio(value) for value in (ratio, lower, upper))
    nearer = lower if ratio > 1 else upper
    crosses = lower <= 1 <= upper
    return EValue(_e_value(ratio), 1.0 if crosses else _e_value(nearer))


def _as_risk_ratio(hazard_ratio: float) -> float:
    """Return VanderWeele's approximation: (1 - 0.5^√HR) / (1 - 0.5^√(1/HR))."""
    if np.isinf(hazard_ratio):
        return hazard_ratio
    root = float(np.sqrt(hazard_ratio))
    return float(np.expm1(-np.log(2) * root) / np.expm1(-np.log(2) / root))


def _e_value(ratio: float) -> float:
    above = max(ratio, 1 / ratio)
    return float(above + np.sqrt(above * (above - 1)))


def confounder_bias(among_treated: float, among_untreated: float, confounder_ratio: float) -> float:
    """Return the factor by which a binary confounder left out moves a risk ratio.

    Parameters
    ----------
    among_treated, among_untreated
        Its prevalence in either arm.
    confounder_ratio
        Risk ratio of the outcome with against without it, the same in both arms.
    """
    for prevalence in (among_treated, among_untreated):
        if not 0 <= prevalence <= 1:
            raise StudyError("prevalences of a confounder lie between 0 and 1")
    if not _LEAST < confounder_ratio < 1 / _LEAST:
        raise StudyError("confounder_ratio must be positive and finite")
    treated, untreated = (1 - p + p * confounder_ratio for p in (among_treated, among_untreated))
    return treated / untreated


def tipping_point(ratio: float, among_treated: float, among_untreated: float) -> float | None:
    """Return the confounder's risk ratio at which an estimate (or a limit) would be 1; None where none does it.

    Solves ``confounder_bias(p1, p0, g) = ratio`` for g.
    """
    confounder_bias(among_treated, among_untreated, 1.0)  # checks the prevalences
    if not _LEAST < ratio < 1 / _LEAST:
        raise StudyError("ratio must be positive and finite")
    slope = among_treated - ratio * among_untreated
    if slope == 0:
        return 1.0 if ratio == 1 else None
    needed = 1 + (ratio - 1) / slope
    return float(needed) if needed > 0 else None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Sensitivity and specificity of how the outcome is found, in one arm; each a share, or a range of them."""

    sensitivity: float | tuple[float, float]
    specificity: float | tuple[float, float]

    def __post_init__(self) -> None:
        for share in (self.sensitivity, self.specificity):
            low, high = share if isinstance(share, tuple) else (share, share)
            if not 0 <= low <= high <= 1:
                raise StudyError("sensitivity and specificity lie between 0 and 1, the lower end of a range first")


def corrected_risks(
    events: tuple[int, int], persons: tuple[int, int], treated: Accuracy, untreated: Accuracy
) -> tuple[float, float]:
    """Return both arms' risks (treated first) had the outcome been found without error.

    Raises
    ------
    NotEstimableError
        ``impossible_accuracy`` if a corrected risk leaves 0 to 1: no outcome could have given these counts.

    References
    ----------
    Rogan WJ, Gladen B (1978), Am J Epidemiol 107:71–76, doi:10.1093/oxfordjournals.aje.a112510.
    """
    _require_counts(events, persons)
    found = []
    for k, n, accuracy in zip(events, persons, (treated, untreated), strict=True):
        if isinstance(accuracy.sensitivity, tuple) or isinstance(accuracy.specificity, tuple):
            raise StudyError("a range of accuracies is for probabilistic_bias; give one number each here")
        risk = _corrected(np.array([k / n]), np.array([accuracy.sensitivity]), np.array([accuracy.specificity]))[0]
        if not 0 <= risk <= 1:
            raise NotEstimableError("impossible_accuracy: with it no outcome could have given these counts")
        found.append(float(risk))
    return found[0], found[1]


@dataclass(frozen=True, slots=True)
class BiasAnalysis:
    """Corrected risk ratio by simulation: ``median``, 2.5 % and 97.5 % quantiles, and the share of draws left out."""

    median: float
    lower: float
    upper: float
    impossible: float


def probabilistic_bias(
    events: tuple[int, int],
    persons: tuple[int, int],
    treated: Accuracy,
    untreated: Accuracy | None = None,
    *,
    draws: int = 20_000,
    seed: int = 0,
) -> BiasAnalysis:
    """Simulate the risk ratio under accuracies known only as ranges, with random error added.

    Parameters
    ----------
    treated, untreated
        Ranges are uniform; without ``untreated`` the error is the same in both arms, draw by draw.

    Raises
    ------
    NotEstimableError
        ``impossible_accuracy`` if more than half of the draws are impossible.
    """
    _require_counts(events, persons)
    if draws < 1:
        raise StudyError(f"draws = {draws}; at least 1")
    rng = np.random.default_rng(seed)
    first = _draw(treated, draws, rng)
    second = first if untreated is None else _draw(untreated, draws, rng)
    risks = [
        _corrected(rng.beta(k + 0.5, n - k + 0.5, draws), *accuracy)  # Jeffreys' posterior is the random error
        for k, n, accuracy in zip(events, persons, (first, second), strict=True)
    ]
    possible: NDArray[np.bool_] = np.all([(risk > 0) & (risk <= 1) for risk in risks], axis=0)
    if possible.mean() < 0.5:
        raise NotEstimableError("impossible_accuracy: more than half of the draws could not have given these counts")
    median, lower, upper = np.quantile(risks[0][possible] / risks[1][possible], [0.5, 0.025, 0.975])
    return BiasAnalysis(float(median), float(lower), float(upper), float(1 - possible.mean()))


def _require_counts(events: tuple[int, int], persons: tuple[int, int]) -> None:
    if not all(persons):
        raise NotEstimableError("single_arm: an arm has no persons")
    if not all(0 <= k <= n for k, n in zip(events, persons, strict=True)):
        raise StudyError("events of an arm lie between 0 and its persons")


def _draw(accuracy: Accuracy, draws: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    ends = [
        value if isinstance(value, tuple) else (value, value) for value in (accuracy.sensitivity, accuracy.specificity)
    ]
    return rng.uniform(*ends[0], draws), rng.uniform(*ends[1], draws)


def _corrected(observed: Floats, sensitivity: Floats, specificity: Floats) -> Floats:
    if ((sensitivity + specificity) <= 1).any():
        raise StudyError("sensitivity and specificity add up to more than 1")
    return (observed + specificity - 1) / (sensitivity + specificity - 1)
