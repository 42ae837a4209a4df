"""lifelines' Cox fitters with our numbers: the only package that imports pandas and lifelines.

Both classes are subclasses of lifelines' own, so predictions, plots, summaries and `check_assumptions` are lifelines'
code reading the attributes that are filled here. What differs, each with a reason:

- tied events after Efron or Breslow (``ties=``), and the sandwich variance with ties as in R;
- delayed entry is in the baseline hazard and in the concordance;
- predicted curves are steps that start at 1, whatever ``timeline`` says, where lifelines draws lines between exits;
- formulas are our grammar (names, ``+``, ``:``, ``*``) and are never evaluated;
- what cannot be estimated raises :class:`~cohort.errors.NotEstimableError` instead of a warning beside a number;
- lasso coefficients are exact (0 is 0); lifelines smooths the corner;
- whatever is costly and seldom read (baseline curves, concordance, central values) is computed when it is read.
"""

from cohort.survival._lifelines.fine_gray import fine_gray_attribute
from cohort.survival._lifelines.proportional import CoxPHFitter
from cohort.survival._lifelines.time_varying import CoxTimeVaryingFitter

__all__ = ["CoxPHFitter", "CoxTimeVaryingFitter", "fine_gray_attribute"]
