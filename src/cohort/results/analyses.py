"""Analyses of a study as data, and their results as rows of the estimates."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from cohort.results.analysis_table import AnalysisTable
from cohort.spec import Spec
