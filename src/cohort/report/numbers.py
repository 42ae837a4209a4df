"""Numbers as a reader expects them: sensible digits, thin spaces, units; one place for all of them."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass

from cohort.results.estimates import WITHHELD
from cohort.time import DAYS_PER_YEAR, to_years

THIN = "\u202f"  # narrow no-break space: groups of three digits, and before a unit
MINUS = "\u2212"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table: its text, and what it is, so that the page can tell a 0 from a withheld number."""

    text: str
    kind: str = "number"  # number, withheld, not_estimable, reference, blank


BLANK = Cell("", "blank")
HIDDEN = Cell(WITHHELD, "withheld")


def count(value: float | None) -> str:
    """Write a count with thin spaces: 12 345."""
    return "" if value is None else f"{round(value):,}".replace(",", THIN).replace("-", MINUS)


def decimal(value: float | None, digits: int) -> str:
    """Write a number with a fixed number of decimals and a real minus sign."""
    if value is None or not math.isfinite(value):
        return "" if value is None else ("∞" if value > 0 else f"{MINUS}∞")
    text = f"{value:,.{digits}f}".replace(",", THIN)
    return text.replace("-", MINUS) if float(text.replace(THIN, "")) else text.replace("-", "")


def percent(value: float | None, digits: int = 1) -> str:
    """Write a proportion as a percentage with its sign."""
    return "" if value is None else f"{decimal(100 * value, digits)}{THIN}%"


def ratio(value: float | None) -> str:
    """Write a ratio or rate: two decimals from 0.1 to 10, three digits above, two below: 1.45, 12.3, 328, 0.034."""
    if value is None or not math.isfinite(value) or value <= 0:
        return decimal(value, 2)
    size = math.floor(math.log10(value))
    return decimal(value, max(2 - size, 0) if value >= 10 else 2 if value >= 0.1 else min(1 - size, 9))


def ratios(value: float | None, lower: float | None, upper: float | None) -> tuple[str, str, str]:
    """Write a ratio and its limits; per year of age they lie so close that two decimals would say 1.00 of all three."""
    if value is not None and lower is not None and upper is not None and 0.1 <= lower <= upper < min(10, lower + 0.05):
        return decimal(value, 3), decimal(lower, 3), decimal(upper, 3)
    return ratio(value), ratio(lower), ratio(upper)


def significant(value: float | None) -> str:
    """Write a number of unknown kind with four significant digits."""
    if value is None or not math.isfinite(value) or value == 0:
        return decimal(value, 0)
    return decimal(value, max(3 - math.floor(math.log10(abs(value))), 0))


def interval(lower: str, upper: str) -> str:
    """Write an interval: ``1.30 to 1.61``, as minus signs and dashes do not mix."""
    return f"{lower} to {upper}" if lower and upper else ""


def days(value: int) -> str:
    """Write days with months or years beside: ``365 days (12.0 months)``."""
    unit = calendar_unit(value)
    return f"{count(value)}{THIN}{'day' if value == 1 else 'days'} ({in_unit(value, unit)}{THIN}{unit})"


def calendar_unit(longest: int) -> str:
    """Return the unit that reads best for times up to ``longest`` days: months, and years beyond five of them."""
    return "months" if longest <= 5 * DAYS_PER_YEAR else "years"


def in_unit(value: int, unit: str) -> str:
    """Write days in calendar months of 30.4375 days, or years of 365.25."""
    return decimal(to_years(value) * (12 if unit == "months" else 1), 1)


def plain(text: str) -> str:
    """Return foreign text without characters that cannot be seen but change what is: control and direction marks.

    Line breaks and tabs become blanks. A right-to-left override in a label could otherwise turn round the numbers
    beside it.
    """
    blanks = text.replace("\n", " ").replace("\t", " ").replace("\u2028", " ").replace("\u2029", " ")
    return "".join(char for char in blanks if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co"})
