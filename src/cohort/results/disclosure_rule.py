"""The disclosure rule as data: what a custodian lets out, and the rules of three custodians by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Preset = Literal["cms", "nhs", "opensafely", "none"]

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "cms": {},  # no cell of 1 to 10, nor what one can be computed from; a true 0 may be shown
        "nhs": {"minimum": 8, "round_to": 5},  # 1 to 7 hidden, others to the nearest 5, percentages from those
        "opensafely": {"minimum": 8, "show_zero": False, "round_to": 5, "curve_midpoint": 6},
        "none": {"minimum": 0},
    }
)
"""Keys of a rule that differ from its defaults, which are those of ``cms``.

Sources: CMS cell size suppression policy; NHS Digital, disclosure control of Hospital Episode Statistics; OpenSAFELY,
statistical disclosure control (counts up to 7 redacted, 0 with them, as ehrQL does; midpoint 6 on Kaplan-Meier curves).
"""


class DisclosureRule(BaseModel):
    """What may leave; see `release` for what follows from it. ``minimum=0`` switches the rule off.

    A ``preset`` is a custodian's rule: keys beside it change parts of it, and a rule that says the same as a preset has
    its name. Rounding comes after withholding, so it can only take away.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    preset: Annotated[Preset | None, Field(description="rule of a custodian; keys beside it change parts of it")] = None
    minimum: Annotated[int, Field(ge=0, description="smallest count of persons that may be shown; 0 = rule off")] = 11
    show_zero: Annotated[bool, Field(description="whether a true 0 may be shown")] = True
    round_to: Annotated[int, Field(ge=1, description="counts are rounded to multiples of it; 1 = as they are")] = 1
    curve_midpoint: Annotated[
        int, Field(ge=0, description="counts on curves become the middle of so many; 0 = rounded as other counts")
    ] = 0
    show_extremes: Annotated[bool, Field(description="whether a smallest and a largest value may be shown")] = False
    curve_days: Annotated[int, Field(ge=1, description="released curve points fall on multiples of so many days")] = 5
    significant_digits: Annotated[int, Field(ge=2, le=15, description="digits of model estimates")] = 4

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """Fill in the preset, and name the rule after the preset whose keys it has."""
        if not isinstance(given, dict) or given.get("preset") not in (None, *PRESETS):
            return given
        values = {**PRESETS.get(given.get("preset") or "cms", {}), **given}
        default = {name: field.default for name, field in cls.model_fields.items() if name != "preset"}
        said = default | {name: value for name, value in values.items() if name != "preset"}
        return values | {"preset": next((name for name, keys in PRESETS.items() if said == default | dict(keys)), None)}

    @property
    def off(self) -> bool:
        """Whether everything is let through."""
        return self.minimum == 0

    @property
    def base(self) -> int:
        """Return the most persons that a shown count of a curve, or any other, stands for."""
        return max(self.round_to, self.curve_midpoint)

    @property
    def text(self) -> str:
        """Return what protocol and report say of the rule."""
        if self.off:
            return "no rule applied"
        said = [f"counts of {1 if self.show_zero else 0} to {self.minimum - 1} withheld, and what they follow from"]
        said += [f"other counts to the nearest {self.round_to}"] if self.round_to > 1 else []
        said += [f"on curves to the middle of each {self.curve_midpoint}"] if self.curve_midpoint else []
        return f"{self.preset or 'own rule'}: {', '.join(said)}"
