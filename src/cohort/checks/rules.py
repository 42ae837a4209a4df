"""The rulebook: what each rule counts, how serious it is, and the threshold, as ``sql/check/rules.toml`` says."""

from __future__ import annotations

import datetime as dt
import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cohort.errors import StudyError
from cohort.shipped import shipped
from cohort.spec import nearest

Definition = dt.date | int | float
"""A parameter of the SQL that decides what is counted."""

_THRESHOLDS = ("max_count", "max_share", "between")
_CHANGEABLE = ("severity", *_THRESHOLDS)


class Severity(StrEnum):
    """What a broken rule does: stop the work, be mentioned, or nothing."""

    ERROR = "error"
    WARNING = "warning"
    OFF = "off"


class Rule(BaseModel):
    """One rule of data quality; exactly one of the three thresholds is set.

    Attributes
    ----------
    id, family, table
        Name of the rule, of the SQL file that counts it, and of the table that it is about.
    max_count, max_share, between
        Most rows that may offend; largest share of what was examined that may; least and greatest ratio of the two.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    family: str
    table: str
    what: str
    severity: Severity
    repair: str
    source: str
    max_count: Annotated[int, Field(ge=0, strict=True)] | None = None
    max_share: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    between: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        if sum(getattr(self, name) is not None for name in _THRESHOLDS) != 1:
            raise ValueError(f"give exactly one of {', '.join(_THRESHOLDS)}")
        if self.between is not None and not 0 <= self.between[0] <= self.between[1]:
            raise ValueError("between must hold the least and the greatest ratio, in this order")
        return self

    @property
    def threshold(self) -> str:
        """Return the threshold in words."""
        if self.max_count is not None:
            return "none" if self.max_count == 0 else f"at most {self.max_count:,}"
        if self.between is not None:
            return f"{self.between[0]:g} to {self.between[1]:g}"
        return f"at most {100 * (self.max_share or 0):g} %"

    def allows(self, offending: int, examined: int) -> bool:
        """Return whether the counts of one part keep the rule; ``examined`` is not 0."""
        return self.excess(offending, examined) <= 0

    def excess(self, offending: int, examined: int) -> float:
        """Return how far the counts of one part are beyond the threshold: 0 or less keeps the rule."""
        if self.max_count is not None:
            return float(offending - self.max_count)
        ratio = offending / examined
        if self.between is not None:
            return max(self.between[0] - ratio, ratio - self.between[1])
        return ratio - (self.max_share or 0)


@dataclass(frozen=True, slots=True)
class Rulebook:
    """All rules, in the order of the file, and the parameters of their SQL."""

    rules: tuple[Rule, ...]
    definitions: Mapping[str, Definition]

    @classmethod
    def read(cls, thresholds: str | Path | None = None) -> Self:
        """Return the shipped rules, changed by a thresholds file if one is given.

        Raises
        ------
        StudyError
            If the file is not TOML, or names a rule, a key or a parameter that does not exist.
        """
        book = tomllib.loads((rules_folder() / "rules.toml").read_text("utf-8"))
        if thresholds is not None:
            _change(book, _toml(Path(thresholds)), str(thresholds))
        definitions = book.pop("definitions")
        where = str(thresholds or "rules.toml")
        rules = [
            _rule({"id": name, "family": family, "repair": part["repair"], "source": part["source"]} | fields, where)
            for family, part in book.items()
            for name, fields in part["rules"].items()
        ]
        return cls(tuple(rules), definitions)

    @property
    def families(self) -> tuple[str, ...]:
        """Return the names of the SQL files, without ending, in the order of the rules."""
        return tuple(dict.fromkeys(rule.family for rule in self.rules))

    def family(self, name: str) -> tuple[Rule, ...]:
        """Return the rules that one SQL file counts."""
        return tuple(rule for rule in self.rules if rule.family == name)

    @property
    def counted_by(self) -> str:
        """Return the SHA-256 of all that decides the counts: the SQL and the parameters, not the thresholds."""
        texts = [sql_of(family) for family in self.families]
        parameters = [f"{name} = {value}" for name, value in sorted(self.definitions.items())]
        return hashlib.sha256("\n".join([*texts, *parameters]).encode()).hexdigest()


def rules_folder() -> Path:
    """Return the folder of the rules and their SQL."""
    return shipped("sql") / "check"


def sql_of(family: str) -> str:
    """Return the SQL of a family of rules."""
    return (rules_folder() / f"{family}.sql").read_text("utf-8")


def _rule(fields: dict[str, Any], where: str) -> Rule:
    try:
        return Rule.model_validate(fields)
    except ValidationError as error:
        faults = "; ".join(
            ".".join(map(str, (fields["id"], *fault["loc"]))) + f": {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        )
        raise StudyError(f"{where}: {faults}") from None


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        raise StudyError(f"thresholds {path} cannot be read; give a TOML file in UTF-8") from None
    except tomllib.TOMLDecodeError as fault:
        raise StudyError(f"{path} is not valid TOML: {fault}") from None


def _change(book: dict[str, Any], changes: dict[str, Any], where: str) -> None:
    """Put the changes of a thresholds file into the shipped rules; a new threshold replaces the old one's kind."""
    for name, value in _tables(changes, where, "definitions").get("definitions", {}).items():
        _known(name, book["definitions"], where, "definitions")
        shipped_value = book["definitions"][name]
        kinds = (int, float) if isinstance(shipped_value, float) else (type(shipped_value),)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise StudyError(f"{where}: definitions.{name}: give a value like {shipped_value}")
        book["definitions"][name] = value
    for family, part in changes.items():
        if family == "definitions":
            continue
        _known(family, book, where, "top level")
        for key, rules in part.items():
            _known(key, ["rules"], where, family)
            for name, fields in _tables(rules, where, f"{family}.rules").items():
                _known(name, book[family]["rules"], where, f"{family}.rules")
                _replace(book[family]["rules"][name], fields, f"{where}: {family}.rules.{name}")


def _replace(rule: dict[str, Any], fields: dict[str, Any], where: str) -> None:
    for key in fields:
        if key not in _CHANGEABLE:
            raise StudyError(f"{where}: {key} cannot be changed; {nearest(key, _CHANGEABLE)}")
    if any(key in fields for key in _THRESHOLDS):
        for key in _THRESHOLDS:
            rule.pop(key, None)
    rule.update(fields)


def _tables(value: Any, where: str, key: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(part, dict) for part in value.values()):
        raise StudyError(f"{where}: {key}: give tables, in the shape of sql/check/rules.toml")
    return value


def _known(name: str, known: Iterable[str], where: str, key: str) -> None:
    known = list(known)
    if name not in known:
        raise StudyError(f"{where}: {key}.{name}: unknown; {nearest(name, known)}")
