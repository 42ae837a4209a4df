"""A place in a JSON document: every key is taken by name, and what nobody takes is refused with its path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cohort.spec import nearest


@dataclass(slots=True)
class Refusals:
    """What a document says that a `Cohort` cannot, as ``path: what``; all of it, so that one reading is enough."""

    lines: list[str] = field(default_factory=list)

    def add(self, path: str, what: str) -> None:
        """Refuse what stands at a path."""
        self.lines.append(f"{path}: {what}")


@dataclass(slots=True)
class Node:
    """One object of the document; its keys are known, or they are refused."""

    value: Any
    path: str
    refusals: Refusals
    taken: set[str] = field(default_factory=set)

    def refuse(self, what: str, key: str | None = None) -> None:
        """Refuse this object, or what one of its keys says."""
        self.refusals.add(self.path if key is None else self._at(key), what)

    def take(self, key: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        """Return a key's value if it is there and of its kind; otherwise the default, refused if it is another kind."""
        self.taken.add(key)
        found = self._get(key)
        if found is None:
            return default
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is int):
            self.refuse("not what stands here in a Circe expression", key)
            return default
        return found

    def child(self, key: str) -> Node:
        """Return the object at a key; an empty one if there is none."""
        return Node(self.take(key, dict, {}), self._at(key), self.refusals)

    def children(self, key: str) -> list[Node]:
        """Return the objects of a list; none if there is no list."""
        return [
            Node(item, f"{self._at(key)}[{number}]", self.refusals)
            for number, item in enumerate(self.take(key, list, []), start=0)
        ]

    def must_be(self, key: str, *allowed: Any, because: str) -> None:
        """Refuse a key that says anything but what is allowed; to be absent is allowed."""
        self.taken.add(key)
        if (found := self._get(key)) is not None and found not in allowed:
            self.refuse(because, key)

    def ignore(self, *keys: str) -> None:
        """Leave out keys that only describe: names, captions, versions."""
        self.taken.update(keys)

    def close(self, known: tuple[str, ...] = ()) -> None:
        """Refuse every key that nobody has taken."""
        if not isinstance(self.value, dict):
            self.refuse("not an object")
            return
        for key in self.value:
            if key not in self.taken:
                names = sorted({*self.taken, *known})
                self.refuse(f"cannot be said here; {nearest(key, names)}" if names else "cannot be said here", key)

    def sole_key(self) -> Iterator[str]:
        """Yield the only key of an object, such as the domain of a criterion."""
        if isinstance(self.value, dict) and len(self.value) == 1:
            yield next(iter(self.value))
        else:
            self.refuse("one criterion has one domain")

    def _get(self, key: str) -> Any:
        return self.value.get(key) if isinstance(self.value, dict) else None

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key
