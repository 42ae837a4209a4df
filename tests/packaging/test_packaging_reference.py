"""The pages and the schema that are made from the code say what today's code says."""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import re
import subprocess
import sys
import tomllib

import pytest

import cohort as co

STUBS = [f"src/cohort/{room}__init__.pyi" for room in ("", "survival/", "effects/", "engines/")]
WRITTEN = ("src/cohort/study.schema.json", "docs/study_file.md", "docs/definitions.md", *STUBS)
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}


@pytest.fixture(scope="module")
def again(root, tmp_path_factory):
    """A folder into which the tool has written everything again."""
    spec = importlib.util.spec_from_file_location("build_reference", root / "tools" / "build_reference.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    folder = tmp_path_factory.mktemp("reference")
    for name in WRITTEN:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    tool.main(folder)
    return folder


@pytest.fixture(scope="module")
def schema(root):
    return json.loads((root / "src/cohort/study.schema.json").read_text("utf-8"))


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_committed_is_what_the_tool_writes(root, again, name):
    same = (root / name).read_bytes() == (again / name).read_bytes()
    assert same, f"{name} is stale; run: python tools/build_reference.py"


def faults(value, rule, schema, at="study"):
    """Yield where a value breaks a JSON Schema: the keywords that ours uses, and no others."""
    if "$ref" in rule:
        yield from faults(value, schema["$defs"][rule["$ref"].rpartition("/")[2]], schema, at)
    kind = rule.get("type")
    if kind and (not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        yield f"{at}: not {kind}"
        return
    if value not in rule.get("enum", [value]) or value != rule.get("const", value):
        yield f"{at}: not allowed"
    for choice, most in (("anyOf", len(rule.get("anyOf", []))), ("oneOf", 1)):
        if choice in rule and not 1 <= sum(not list(faults(value, one, schema)) for one in rule[choice]) <= most:
            yield f"{at}: {choice}"
    by_type = {dict: of_table, list: of_list, str: of_text, int: of_number, float: of_number}
    if type(value) in by_type:
        yield from by_type[type(value)](value, rule, schema, at)


def of_table(value, rule, schema, at):
    known = rule.get("properties", {})
    yield from (f"{at}.{key}: missing" for key in rule.get("required", []) if key not in value)
    if rule.get("additionalProperties") is False:
        yield from (f"{at}.{key}: unknown" for key in value if key not in known)
    for key in known.keys() & value.keys():
        yield from faults(value[key], known[key], schema, f"{at}.{key}")


def of_list(value, rule, schema, at):
    if not rule.get("minItems", 0) <= len(value) <= rule.get("maxItems", len(value)):
        yield f"{at}: number of items"
    rules = rule.get("prefixItems") or [rule.get("items", {})] * len(value)
    for number, (item, one) in enumerate(zip(value, rules, strict=False)):
        yield from faults(item, one, schema, f"{at}[{number}]")


def of_text(value, rule, schema, at):
    if len(value) < rule.get("minLength", 0) or not re.search(rule.get("pattern", ""), value):
        yield f"{at}: text"
    if rule.get("format") == "date" and not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        yield f"{at}: not a date"


def of_number(value, rule, schema, at):
    within = rule.get("minimum", value) <= value <= rule.get("maximum", value)
    if not within or not rule.get("exclusiveMinimum", value - 1) < value < rule.get("exclusiveMaximum", value + 1):
        yield f"{at}: out of bounds"


def as_editors_see_it(text):
    """TOML as JSON: a date is its text."""
    return json.loads(json.dumps(tomllib.loads(text), default=dt.date.isoformat))


def studies(root):
    yield from ((path.name, path.read_text("utf-8")) for path in sorted((root / "examples").glob("*.toml")))
    yield "cohorts.md", re.search(r"```toml\n(title.*?)```", (root / "docs/cohorts.md").read_text("utf-8"), re.S)[1]


def test_the_checker_knows_every_keyword_of_the_schema(schema):
    known = {"$ref", "type", "enum", "const", "anyOf", "oneOf", "properties", "required", "additionalProperties"}
    known |= {"minItems", "maxItems", "prefixItems", "items", "minLength", "pattern", "format"}
    known |= {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    notes = {"title", "description", "default", "discriminator", "$schema", "$defs"}

    def keywords(rule):
        yield from rule
        for key in ("anyOf", "oneOf", "prefixItems"):
            for one in rule.get(key, []):
                yield from keywords(one)
        for inside in (*rule.get("properties", {}).values(), *rule.get("$defs", {}).values()):
            yield from keywords(inside)
        if "items" in rule:
            yield from keywords(rule["items"])

    assert set(keywords(schema)) - known - notes == set()


def test_every_study_of_the_repository_is_valid(root, schema):
    texts = dict(studies(root))
    assert len(texts) >= 3
    found = {name: list(faults(as_editors_see_it(text), schema, schema)) for name, text in texts.items()}
    assert [name for name, wrong in found.items() if wrong] == [], found


def test_what_python_writes_is_valid(root, schema, tmp_path):
    for path in (root / "examples").glob("*.toml"):
        co.Study.from_toml(path).to_toml(tmp_path / "again.toml", whole=True)
        assert list(faults(as_editors_see_it((tmp_path / "again.toml").read_text("utf-8")), schema, schema)) == []


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("cohort", "entry", "washout_day"), 180),  # no such key
        (("cohort", "entry", "washout_days"), -1),  # below its bound
        (("cohort", "entry", "record", "codes"), "low_back_pains"),  # no such shipped list
        (("cohort", "rules", 2, "window"), [-365]),  # half a window
        (("cohort", "rules", 0, "start"), "in 2018"),
        (("outcome", "kind"), "chronifikation"),
        (("outcome", "after_days"), "90"),  # text where a number belongs
        (("analyses", 1, "per"), 0),
    ],
)
def test_what_the_reader_refuses_the_schema_refuses(root, schema, keys, value):
    study = as_editors_see_it((root / "examples/low_back_pain.toml").read_text("utf-8"))
    *path, last = keys
    part = study
    for key in path:
        part = part[key]
    part[last] = value
    assert list(faults(study, schema, schema)) != []
    with pytest.raises(co.CohortError):
        co.Study(**study)


def test_every_key_says_what_it_means(schema):
    parts = {"Study": schema} | schema["$defs"]
    silent = [
        f"{name}.{key}"
        for name, part in parts.items()
        for key, value in part.get("properties", {}).items()
        if "description" not in value and "const" not in value
    ]
    assert silent == []


@pytest.mark.parametrize("page", ["docs/study_file.md", "docs/definitions.md"])
def test_every_link_leads_somewhere(root, page):
    text = (root / page).read_text("utf-8")
    headings = re.findall(r"^#+ (.*)$", text, flags=re.M)
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert [link for link in links if link.startswith("#") and anchors.count(link[1:]) != 1] == []
    assert [link for link in links if not link.startswith("#") and not (root / "docs" / link).exists()] == []


def test_the_command_prints_the_schema(root):
    call = [sys.executable, "-m", "cohort.cli", "schema"]
    done = subprocess.run(call, capture_output=True, check=True)
    assert done.stdout == (root / "src/cohort/study.schema.json").read_bytes()
