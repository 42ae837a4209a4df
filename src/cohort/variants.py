"""Variants of a study: other values at a key of the study file, checked as the file itself is.

Parts that do not vary are the same objects in every variant, and so are parts that vary alike: what is computed from
them can be shared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from cohort.errors import StudyError
from cohort.spec import describe, nearest

Key = tuple[str | int, ...]
"""A key path: names, and positions in lists counted from 0."""

Made = dict[tuple[int, Key, str], tuple[Any, Any, Any]]
"""What was made from which part, key and value; the part and the value are kept, so that identities stay unique."""


def find_key(study: BaseModel, name: str) -> Key:
    """Return the one key path of a study that is called, or ends in, a name such as ``cohort.rules[2].window``.

    Raises
    ------
    StudyError
        If there is none, or there are several.
    """
    keys = {spell(key): key for key in _keys(study)}
    ends = [path for path in keys if path == name or path.endswith(f".{name}")]
    if name in keys:
        return keys[name]
    if len(ends) == 1:
        return keys[ends[0]]
    if ends:
        raise StudyError(f"{name!r} stands for several keys of the study: {', '.join(ends)}; write one of them in full")
    short = {path.rpartition(".")[2]: path for path in keys}
    raise StudyError(f"{name!r} is no key of the study; {nearest(name, [*keys, *short])}")


def spell(key: Key) -> str:
    """Return a key path as the study file spells it."""
    return "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")


def replaced(part: Any, key: Key, value: Any, made: Made) -> Any:
    """Return a part of a study with another value at a key path; equal requests give the same object.

    Raises
    ------
    StudyError
        If the study does not allow the value there.
    """
    if not key:
        return value
    asked = (id(part), key, repr(value))
    if asked not in made:
        made[asked] = part, value, _remade(part, key, value, made)
    return made[asked][2]


def _remade(part: Any, key: Key, value: Any, made: Made) -> Any:
    step, *rest = key
    if isinstance(part, tuple):
        return tuple(
            replaced(item, tuple(rest), value, made) if number == step else item for number, item in enumerate(part)
        )
    name = str(step)
    values = {field: getattr(part, field) for field in type(part).model_fields}
    values[name] = replaced(values[name], tuple(rest), value, made)
    try:
        return type(part)(**values)
    except ValidationError as error:
        raise StudyError(f"{value!r} cannot stand there: {describe(error, type(part))}") from None


def _keys(part: Any, before: Key = ()) -> Iterator[Key]:
    """Yield every key path of a part, those of defaults included."""
    if isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield (*before, name)
            yield from _keys(getattr(part, name), (*before, name))
    elif isinstance(part, tuple):
        for number, item in enumerate(part):
            yield (*before, number)
            yield from _keys(item, (*before, number))


def shown(value: Any) -> str:
    """Return a value as one cell of a table: a part of a study by what it says of itself."""
    return re.sub(r"\s+", " ", str(getattr(value, "text", value)))
