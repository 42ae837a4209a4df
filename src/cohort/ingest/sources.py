"""What ``layout.toml`` says about files: source tables, their columns and types."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
Name = Annotated[str, Field(pattern=NAME)]


class Declared(BaseModel):
    """A part of ``layout.toml``: nothing is converted, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SourceColumn(Declared):
    """One column that the layout reads.

    ``type``: ``person`` is the supplier's identifier of a person; ``file_name`` the name of the file, for suppliers who
    write the year nowhere else; ``record`` the number of the record in its file, which stands for the person where an
    extract has one record per person and no identifier. ``optional``: the file may lack the column, which is then
    null. ``filled``: a line without a value is rejected. ``repeat``: stands for ``name1 … nameN``, which ``listed``
    makes one list, without the empty places at its end. ``named``: the name in the header, if it is no plain name.
    ``within``: the column inside whose values an identifier is unique. ``allowed``: the words that a text may be, any
    other is unreadable.
    """

    type: Literal["person", "text", "date", "integer", "number", "file_name", "record"]
    optional: bool = False
    filled: bool = False
    repeat: int | None = Field(None, ge=1, le=200)
    listed: bool = False
    named: str | None = None
    within: str | None = None
    allowed: list[str] | None = None

    @model_validator(mode="after")
    def _of_several(self) -> SourceColumn:
        if self.listed and not self.repeat:
            raise ValueError("listed goes with repeat")
        return self

    def names(self, name: str) -> list[str]:
        """Return the columns of the file that a declared name stands for."""
        return [f"{name}{number}" for number in range(1, self.repeat + 1)] if self.repeat else [name]


def _column(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class Source(Declared):
    """One source table: its files, columns, and how many store rows a line makes on average."""

    files: list[str] = Field(min_length=1)
    columns: dict[Name, Annotated[SourceColumn, BeforeValidator(_column)]] = Field(min_length=1)
    optional: bool = False
    rows_per_line: float = 1.0

    @property
    def expanded(self) -> dict[str, SourceColumn]:
        """Return every column by its own name, repeated ones written out."""
        written: dict[str, SourceColumn] = {}
        for name, column in self.columns.items():
            written |= dict.fromkeys(column.names(name), column)
        return written

    @property
    def names_matter(self) -> bool:
        """Return whether the names of the files are part of the content."""
        return any(column.type == "file_name" for column in self.columns.values())

    @property
    def person(self) -> str | None:
        """Return the column that identifies the person, if the table is about persons."""
        return next((name for name, column in self.columns.items() if column.type in ("person", "record")), None)
