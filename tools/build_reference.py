"""Write the reference pages from the code that they describe: ``python tools/build_reference.py``.

`src/cohort/study.schema.json` is the JSON Schema of the study file, for editors; `docs/study_file.md` is the same
schema as tables; `docs/definitions.md` is what the docstrings say of every definition, with its sources. A test writes
them again and compares the bytes. The stubs `src/cohort/__init__.pyi` and those of the rooms that stand alone tell
editors and type checkers what is imported on first use only.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic.json_schema import GenerateJsonSchema

from cohort import _HOME as PUBLIC
from cohort import ROOMS, effects, survival
from cohort.features.covariates import Covariate
from cohort.outcomes.outcome import Outcome
from cohort.population.criteria import Rule
from cohort.population.entry import Entry
from cohort.population.follow_up import FollowUp, RiskStart
from cohort.population.matching import Matching
from cohort.population.occurrence import Occurrence
from cohort.results.analyses import Analysis
from cohort.spec import DISCRIMINATORS
from cohort.study import Study

ROOT = Path(__file__).resolve().parents[1]
SCHEMA, STUDY_FILE, DEFINITIONS = "src/cohort/study.schema.json", "docs/study_file.md", "docs/definitions.md"
STUBS = {"cohort": "src/cohort/__init__.pyi"} | {f"cohort.{room}": f"src/cohort/{room}/__init__.pyi" for room in ROOMS}
WRITTEN_BY = "<!-- Written by tools/build_reference.py from the code; change the code, then run it. -->\n\n"
SOURCES = "References\n----------\n"
BOUNDS = {"minimum": "≥ {}", "maximum": "≤ {}", "exclusiveMinimum": "> {}", "exclusiveMaximum": "< {}"}
LENGTHS = {"minLength": "not empty", "minItems": "at least {}", "pattern": "matches `{}`"}

ABOUT_THE_STUDY_FILE = """# The study file

A study file is TOML in UTF-8. Every key is listed here; an unknown key is refused, with the nearest known one. Dates
are written without quotes (`2018-01-01`). What one key cannot say alone (which covariates a model may name) is checked
when the file is read.

    cohort run STUDY --explain       # reads no data: protocol, audit, and a picture of the design
    cohort schema > study.schema.json

The second line writes the JSON Schema that this page is made from. An editor that reads the schema comment of TOML
files (Taplo, and what is built on it) completes and checks the keys of a file that begins with

```toml
#:schema ./study.schema.json
```

[`definitions.md`](definitions.md) says what each outcome, covariate and analysis is and where it comes from;
[`cohorts.md`](cohorts.md) and [`covariates.md`](covariates.md) show the parts in use, and `examples/` whole studies.
"""

ABOUT_DEFINITIONS = """# Definitions and their sources

What every definition of the package is, in the words that document its code, and where it comes from. The report of a
run prints those that the study uses, with that study's settings. Keys and defaults are in
[`study_file.md`](study_file.md), conventions that hold everywhere in [`architecture.md`](architecture.md).
"""

Schema = dict[str, Any]


def main(root: Path = ROOT) -> None:
    """Write the files under a root."""
    schema = study_schema()
    texts = {
        SCHEMA: json.dumps(schema, indent=1, ensure_ascii=False) + "\n",
        STUDY_FILE: WRITTEN_BY + "\n".join(study_file(schema)),
        DEFINITIONS: WRITTEN_BY + "\n".join(definitions()),
        **{file: "\n".join(stub(package)) + "\n" for package, file in STUBS.items()},
    }
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8")


def stub(package: str) -> Iterator[str]:
    """Yield the lines of a stub: every public name from the module that defines it."""
    yield "# Written by tools/build_reference.py from the names in __init__.py; change those, then run it."
    homes = {name: f"{package}.{home}" for name, home in importlib.import_module(package)._HOME.items()}
    if package == "cohort":
        homes |= dict.fromkeys(ROOMS, package)
    for name, home in sorted(homes.items(), key=lambda item: (item[1], item[0])):
        yield f"from {home} import {name} as {name}"
    if package == "cohort":
        yield from ("", "__version__: str")


class _OfFiles(GenerateJsonSchema):
    """What a file may say: defaults that are made when needed are shown, and no key gets a title of its own."""

    def get_default_value(self, schema: Any) -> Any:
        made = schema.get("default_factory")
        return made() if made is not None else super().get_default_value(schema)

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def study_schema() -> Schema:
    """Return the JSON Schema of a study file."""
    schema = _for_files(Study.model_json_schema(schema_generator=_OfFiles))
    for part in (schema, *schema["$defs"].values()):
        whole = _prose(part["description"])
        part["description"] = whole.split("\n\n")[0] if "properties" in part else whole
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _for_files(node: Any) -> Any:
    """Leave out what no file can say (TOML has no null), and ask for the keys that tell models apart."""
    if isinstance(node, list):
        return [_for_files(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _for_files(value) for key, value in node.items() if value is not None}
    if (choices := made.get("anyOf")) and {"type": "null"} in choices:
        rest = [choice for choice in choices if choice != {"type": "null"}]
        made = {key: value for key, value in made.items() if key != "anyOf"}
        made |= rest[0] if len(rest) == 1 else {"anyOf": rest}
    tags = [key for key in DISCRIMINATORS if "const" in made.get("properties", {}).get(key, {})]
    for tag in tags:
        made["properties"][tag].pop("default", None)
    if tags:
        made["required"] = [*tags, *(key for key in made.get("required", []) if key not in tags)]
    return made


# --- docs/study_file.md ---


def study_file(schema: Schema) -> Iterator[str]:
    """Yield the page: one section per part, in the order in which a study names them."""
    page = _Page(schema["$defs"])
    sections = [text for key, value in schema["properties"].items() for text in page.parts(key, value)]
    yield ABOUT_THE_STUDY_FILE
    yield from page.section(schema, "The top level", 2)
    yield from sections


class _Page:
    """The sections of the models, each model once, and where each is found."""

    def __init__(self, models: dict[str, Schema]) -> None:
        self.models, self.done = models, set[str]()
        self.groups = {
            "Record": "record",
            "Chronification": "outcome",
            "IndexBetween": "rules",
            "MatchedArms": "matching",
        }
        self.groups |= {"Age": "covariates", "CumulativeIncidence": "analyses"}

    def parts(self, key: str, value: Schema) -> Iterator[str]:
        """Yield the sections of the models that a key admits, then of those that these name."""
        names = [name for name in _models(value) if name not in self.done]
        self.done.update(names)
        if len(names) > 1:
            yield f"## {_group(key)}\n"
        for name in names:
            yield from self.section(self.models[name], self.heading(name), 3 if len(names) > 1 else 2)
        for name in names:
            for inner, described in self.models[name].get("properties", {}).items():
                yield from self.parts(inner, described)

    def section(self, part: Schema, heading: str, level: int) -> Iterator[str]:
        """Yield one table, or in words what has no keys."""
        yield f"{'#' * level} {heading}\n\n{part['description']}\n"
        for choice in part.get("anyOf", []):
            if "enum" in choice:
                yield f"Shipped: {', '.join(f'`{name}`' for name in choice['enum'])}.\n"
        if "properties" not in part:
            return
        yield "| key | type | default | meaning |\n|---|---|---|---|"
        for key, value in part["properties"].items():
            yield f"| `{key}` | {self.type(value)} | {_default(key, value, part)} | {_meaning(value)} |"
        yield ""

    def heading(self, name: str) -> str:
        """Return what the section of a model is called: the key that tells it apart, or its name."""
        properties = self.models[name].get("properties", {})
        tag = next((key for key in DISCRIMINATORS if "const" in properties.get(key, {})), None)
        return f'`{tag} = "{properties[tag]["const"]}"`' if tag else _spaced(name)

    def type(self, value: Schema) -> str:
        """Return what a value may be."""
        if "const" in value:
            return f'`"{value["const"]}"`'
        if "enum" in value:
            return ", ".join(f"`{json.dumps(allowed)}`" for allowed in value["enum"])
        if "prefixItems" in value:
            return f"pair of {self.type(value['prefixItems'][0])}s"
        names = _models(value)
        if len(names) > 1 and names[0] in self.groups:
            found = f"[one of {len(names)}](#{_anchor(_group(self.groups[names[0]]))})"
        elif names:
            found = ", ".join(f"[{self.heading(name)}](#{_anchor(self.heading(name))})" for name in names)
        elif value.get("type") == "array":
            found = self.type(value["items"])
        else:
            found = _scalar(value)
        return f"list of {found}" if value.get("type") == "array" else found


def _group(key: str) -> str:
    return f"`{key}`: one of"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _spaced(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).capitalize()


def _models(value: Any) -> list[str]:
    """Return the names of the models that a value refers to."""
    if isinstance(value, list):
        return [name for item in value for name in _models(item)]
    if not isinstance(value, dict):
        return []
    if "$ref" in value:
        return [value["$ref"].rpartition("/")[2]]
    return [name for key in ("anyOf", "oneOf", "items") if key in value for name in _models(value[key])]


def _scalar(value: Schema) -> str:
    kind = "date" if value.get("format") == "date" else {"integer": "whole number", "string": "text"}.get(value["type"])
    bounds = [words.format(value[key]) for key, words in BOUNDS.items() if key in value]
    return " ".join([kind or value["type"], *bounds])


def _default(key: str, value: Schema, part: Schema) -> str:
    if key in part.get("required", []):
        return "**required**"
    if isinstance(value.get("default"), dict):
        return "its own defaults"
    return f"`{json.dumps(value['default'], ensure_ascii=False)}`" if "default" in value else "absent"


def _meaning(value: Schema) -> str:
    if "description" not in value:
        return "says which kind this is"
    notes = [words.format(value[key]) for key, words in LENGTHS.items() if key in value]
    return "; ".join([value["description"], *notes]).replace("|", "\\|")


# --- docs/definitions.md ---


def definitions() -> Iterator[str]:
    """Yield the page: what a study is made of, then what stands on any frame."""
    yield ABOUT_DEFINITIONS
    chapters = {
        "Entry, risk and follow-up": (Entry, RiskStart, FollowUp),
        "What can happen to a person on a day": _kinds(Occurrence),
        "Rules": _kinds(Rule),
        "Matched sets": _kinds(Matching),
        "Outcomes": _kinds(Outcome),
        "Covariates": _kinds(Covariate),
        "Analyses": _kinds(Analysis),
    }
    for title, kinds in chapters.items():
        yield f"## {title}\n"
        for kind in kinds:
            yield from _definition(_named(kind), kind)
    for room, public in (("cohort", PUBLIC), ("cohort.survival", survival._HOME), ("cohort.effects", effects._HOME)):
        yield f"## On any frame: `{room}`\n"
        for name, home in public.items():
            found = getattr(importlib.import_module(f"{room}.{home}"), name)
            if inspect.isroutine(found) and SOURCES in inspect.cleandoc(found.__doc__ or ""):
                short = name.removesuffix("_from")
                yield from _definition(
                    f"`{short}`, `{name}`" if short != name and short in public else f"`{name}`", found
                )


def _kinds(union: Any) -> tuple[type, ...]:
    """Return the models of a union that a discriminator tells apart."""
    return get_args(get_args(union)[0])


def _named(kind: Any) -> str:
    tags = [key for key in DISCRIMINATORS if key in kind.model_fields]
    values = get_args(kind.model_fields[tags[0]].annotation) if tags else ()
    said = ", ".join(f'`{tags[0]} = "{value}"`' for value in values)
    return _spaced(kind.__name__) + (f" ({said})" if said else "")


def _definition(name: str, documented: Any) -> Iterator[str]:
    text = inspect.cleandoc(documented.__doc__ or "")
    yield f"### {name}\n\n{_prose(text)}\n"
    if sources := _sources(text):
        yield "\n".join(f"- {source}" for source in sources) + "\n"


def _prose(text: str) -> str:
    """Return a docstring up to its first section, each paragraph on one line."""
    body = re.split(r"^\w+\n-{3,}$", inspect.cleandoc(text), maxsplit=1, flags=re.MULTILINE)[0]
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", body.strip()))
    return re.sub(r":\w+:`(?:[\w.]*\.)?(\w+)`", r"`\1`", "\n\n".join(paragraphs).replace("``", "`"))


def _sources(text: str) -> list[str]:
    """Return the references of a docstring: one ends with its DOI and a remark on it, or with a line after its year."""
    body = re.split(r"\n\w+\n-{3,}\n", text.partition(SOURCES)[2])[0].strip()
    ended = re.sub(r"(\bdoi:\S+?(?:\s\([^)]*\))?[.;])\s+(?=[A-Za-z])", "\\1\0", body)
    ended = re.sub(r"((?:18|19|20)\d\d[^\0]*\.)\n(?=[A-Z])", "\\1\0", ended)
    return [" ".join(one.split()).rstrip(";") for one in ended.split("\0") if one.strip()]


if __name__ == "__main__":
    main()
