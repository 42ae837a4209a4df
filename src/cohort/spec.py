"""The base of everything a study is made of, and the translation of what pydantic finds wrong with it."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Iterable
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cohort.errors import StudyError

STUDY_FILE: ContextVar[Path | None] = ContextVar("study_file", default=None)
"""The study file that is being read, if one is: paths in it are relative to it, and faults are reported with it.

pydantic's own validation context does not reach models that take arguments by position, as `Cohort` does.
"""

DISCRIMINATORS = ("kind", "rule", "table")
"""The keys that say which of several models a part of a study is."""

Whole = Annotated[int, Field(strict=True)]
"""A whole number as such: neither ``"90"`` nor ``90.0`` nor ``true``."""

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A number as such: not ``"4"``."""

Date = Annotated[dt.date, Field(strict=True)]
"""A calendar date as such: in TOML without quotes."""


class Spec(BaseModel):
    """A part of a study: frozen, closed to unknown keys, refused with the file, the key and the repair."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Make one from Python values; what is wrong with them becomes a `StudyError`.

        The constructor itself keeps raising pydantic's error, so that a fault deep in a study file is reported once,
        with its whole path.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise StudyError(describe(error, cls)) from None


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """Return one line per fault: the study file or the class that was being made, the key, the fault, the repair."""
    where = STUDY_FILE.get() or model.__name__
    lines = []
    for fault in error.errors(include_url=False):
        key = _path(fault["loc"], model)
        lines.append(f"{where}: {key or 'top level'}: {_repair(dict(fault), model)}")
    return "\n".join(lines)


def _repair(fault: dict[str, Any], model: type[BaseModel]) -> str:
    kind, given = fault["type"], fault.get("input")
    if kind == "extra_forbidden":
        return f"unknown key; {nearest(str(fault['loc'][-1]), _siblings(fault['loc'], model))}"
    if kind == "missing":
        return "this key is required; add it"
    if kind == "union_tag_not_found":
        return f"add the key {fault['ctx']['discriminator']} that says which kind this is"
    if kind == "union_tag_invalid":
        known = [tag.strip("' ") for tag in fault["ctx"]["expected_tags"].split(",")]
        return f"{fault['ctx']['tag']!r} is not a known kind; {nearest(fault['ctx']['tag'], known)}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}" + (f" (given: {given!r})" if _printable(given) else "")


def _printable(given: Any) -> bool:
    return isinstance(given, str | int | float | bool) and len(repr(given)) <= 60


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a repair: the nearest known word, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"


def _path(loc: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """Return the key path as the study file spells it: ``cohort.rules[2].window``, without pydantic's union tags."""
    return "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in _keys(loc, model)).lstrip(".")


def _keys(loc: tuple[int | str, ...], model: type[BaseModel]) -> list[int | str]:
    return [part for part, owner in _walk(loc, model) if owner is not None]


def _siblings(loc: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """Return the keys that are allowed where ``loc`` ends."""
    owners = [owner for _, owner in _walk(loc, model) if isinstance(owner, type)]
    return list(owners[-1].model_fields) if owners else []


def _walk(loc: tuple[int | str, ...], model: type[BaseModel]) -> list[tuple[int | str, type[BaseModel] | str | None]]:
    """Pair each part of ``loc`` with the model that owns it; an index has the owner ``"item"``, a union tag none."""
    owner: type[BaseModel] | None = model
    choices: list[type[BaseModel]] = [model]
    steps: list[tuple[int | str, type[BaseModel] | str | None]] = []
    for part in loc:
        tagged = [choice for choice in choices if part in _tags(choice)]
        if isinstance(part, int):
            steps.append((part, "item"))
        elif len(choices) != 1 and tagged:
            choices = tagged
            steps.append((part, None))
        else:
            owner = choices[0] if choices else None
            steps.append((part, owner if owner is not None else "item"))
            field = owner.model_fields.get(str(part)) if owner is not None else None
            choices = _models(field.annotation) if field is not None else []
    return steps


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that an annotation admits: one, several in a union, or none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models(inner)]


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    """Return the values that a model's discriminator may have."""
    found = (model.model_fields[name].annotation for name in DISCRIMINATORS if name in model.model_fields)
    return get_args(next(found, None))
