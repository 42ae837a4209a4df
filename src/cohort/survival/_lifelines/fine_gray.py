"""A Fine–Gray fit under lifelines' attribute names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from cohort.survival.fine_gray import FineGrayFit


def fine_gray_attribute(fit: FineGrayFit, name: str) -> Any:
    """Return an attribute of a Fine–Gray fit under lifelines' name, as a pandas object."""
    index = pd.Index(fit.terms, name="covariate")
    percent = f"{100 * fit.level:g}%"
    lower, upper = fit.limits()
    table = fit.to_polars()
    named: dict[str, Callable[[], Any]] = {
        "params_": lambda: pd.Series(fit.coef, index=index, name="coef"),
        "hazard_ratios_": lambda: pd.Series(np.exp(fit.coef), index=index, name="exp(coef)"),
        "standard_errors_": lambda: pd.Series(fit.std_error, index=index, name="se"),
        "variance_matrix_": lambda: pd.DataFrame(fit.covariance, index=index, columns=index),
        "confidence_intervals_": lambda: pd.DataFrame(
            {f"{percent} lower-bound": lower, f"{percent} upper-bound": upper}, index=index
        ),
        "log_likelihood_": lambda: fit.log_likelihood,
        "baseline_cumulative_hazard_": lambda: pd.DataFrame(
            {"baseline cumulative hazard": np.cumsum(fit.hazard)}, index=fit.time
        ),
        "summary": lambda: pd.DataFrame(
            {
                "coef": fit.coef,
                "exp(coef)": np.exp(fit.coef),
                "se(coef)": fit.std_error,
                f"coef lower {percent}": lower,
                f"coef upper {percent}": upper,
                f"exp(coef) lower {percent}": np.exp(lower),
                f"exp(coef) upper {percent}": np.exp(upper),
                "z": table["z"].to_numpy(),
                "p": fit.p_value,
                "-log2(p)": -np.log2(fit.p_value),
            },
            index=index,
        ),
    }
    if name not in named:
        raise AttributeError(f"FineGrayFitter has no attribute {name!r}")
    return named[name]()
