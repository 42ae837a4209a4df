"""How a study names a codelist: a shipped name, a CSV file beside the study file, or rows written in place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, SerializationInfo, model_serializer, model_validator

from cohort.codes.codelist import Codelist
from cohort.codes.files import COLUMNS
from cohort.errors import StudyError
from cohort.spec import STUDY_FILE

INLINE = "inline"
"""What a list is called whose rows stand in the study file without a name."""

CODES_IN_FILES = """A codelist: the name of a shipped one; the path of a CSV file, relative to the study file; or rows.

Rows are a table `{ name = "mine", rows = [{ system = "icd10cm", code = "M54" }] }`; `term`, `category` (the label) and
`source` may be added to each."""
"""What the reference of the study file says of codes."""


class Codes(BaseModel):
    """A codelist as a study refers to it; two references are equal when name and content are.

    In a study file: ``"low_back_pain"`` (shipped), ``"lists/mine.csv"`` (a path relative to the study file), or a
    table ``{name, rows = [{system, code, term, category, source}]}``. In Python also a ``Codelist``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    codelist: Codelist
    file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, value: Any) -> Any:
        try:
            return _read(value)
        except StudyError as error:  # as a ValueError it is reported with the key that names the list
            raise ValueError(str(error)) from None

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        """Describe the three forms of a study file."""
        row = {
            "type": "object",
            "required": ["system", "code"],
            "properties": {column: {"type": "string"} for column in COLUMNS},
        }
        name = {"type": "string", "description": "name of the list", "default": INLINE}
        rows = {"type": "array", "items": row, "description": f"tables with the keys {', '.join(COLUMNS)}"}
        inline = {"type": "object", "required": ["rows"], "properties": {"name": name, "rows": rows}}
        forms = [{"enum": list(Codelist.shipped_names())}, {"type": "string", "pattern": r"\.csv(\.gz)?$"}, inline]
        return {"anyOf": forms, "description": CODES_IN_FILES}

    @model_serializer
    def _refer(self, info: SerializationInfo) -> str | dict[str, Any]:
        """Write the reference, or with the context ``hash`` (of a study) or ``whole`` (to stand alone) the content."""
        context = info.context or {}
        if context.get("hash"):
            return {"name": self.codelist.name, "sha256": self.codelist.sha256}
        if self.file is not None and not context.get("whole"):
            return os.path.relpath(self.file, context.get("folder", Path())).replace(os.sep, "/")
        if self._is_shipped():
            return self.codelist.name
        return {"name": self.codelist.name, "rows": self.codelist.rows.to_dicts()}

    def _is_shipped(self) -> bool:
        name = self.codelist.name
        return name in Codelist.shipped_names() and Codelist.shipped(name).sha256 == self.codelist.sha256

    @property
    def name(self) -> str:
        """Return the codelist's name, for messages and reports."""
        return self.codelist.name

    @property
    def label(self) -> str:
        """Return the codelist's name as words."""
        return self.name.replace("_", " ")

    def __eq__(self, other: object) -> bool:
        """Compare name and content; where the list was read from does not matter."""
        return isinstance(other, Codes) and self._identity() == other._identity()

    def __hash__(self) -> int:
        """Hash what is compared."""
        return hash(self._identity())

    def _identity(self) -> tuple[str, str]:
        return self.codelist.name, self.codelist.sha256


def _read(value: Any) -> Any:
    if isinstance(value, Codelist):
        return {"codelist": value}
    if isinstance(value, str) and value.endswith((".csv", ".csv.gz")):
        study_file = STUDY_FILE.get()
        path = ((study_file.parent if study_file else Path()) / value).resolve()
        return {"codelist": Codelist.read(path), "file": path}
    if isinstance(value, str):
        return {"codelist": Codelist.shipped(value)}
    if isinstance(value, dict) and "rows" in value:
        return {"codelist": Codelist.from_rows(value.get("name", INLINE), value["rows"])}
    return value
