"""Hostile texts through every field that somebody else fills in: ``python tests/faults/injection.py --payloads 1000``.

Each round takes its own payloads through study files, layouts, codelists, cells and column names, runs the study, and
reads what it wrote. An audit hook, which cannot be taken off again, fails the run on a socket, a process, a write
outside the round's folder, or a payload that reaches the compiler; a listening socket and a watched folder notice what
the database engine would do behind the hook's back. Refusing a payload with an error of our own is as good as
treating it as text.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import itertools
import os
import re
import socket
import sys
import tempfile
import tomllib
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import tomli_w

CANARY = "c4n4ry"
"""Part of every payload: whatever is compiled or written with it in its name has run."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "sql": (
        "'; copy (select 1) to '{at}'; --",
        "\"; attach '{at}' as c4n4ry; --",
        "') or 1=1 -- c4n4ry",
        "'; install httpfs; load httpfs; select * from '{url}'; --",
        "x' union select * from read_text('{at}') --",
        'c4n4ry"; drop table person; --',
        "'; create table c4n4ry as select 1; export database '{at}'; --",
        "]; select read_csv('{url}'); --",
        "{{c4n4ry: select 1}}",
        "$$; copy person to '{at}'; $$",
    ),
    "python": (
        "__import__('os').system('touch {at}')",
        "{{__import__('os').system('touch {at}')}}",
        'f\'{{open("{at}","w")}}\'',
        "exec(\"open('{at}','w')\")",
        "np.array([open('{at}', 'w')])",
        "I(__import__('pathlib').Path('{at}').touch())",
        "%(c4n4ry)s %n %s",
        "{{0.__class__.__mro__[1].__subclasses__()}} c4n4ry",
        "!!python/object/apply:os.system ['touch {at}']",
        "cos\nsystem\n(S'touch {at}'\ntR.",
    ),
    "jinja": (
        "{{{{ ''.__class__.__mro__[1].__subclasses__() }}}} c4n4ry",
        "{{% include '/etc/passwd' %}} c4n4ry",
        "{{{{ cycler.__init__.__globals__.os.popen('touch {at}').read() }}}}",
        "{{% raw %}}c4n4ry",
        "{{# c4n4ry #}}",
        "{{{{ 1337 * 1337 }}}} c4n4ry",
        "${{{{c4n4ry}}}}",
        "<%= c4n4ry %>",
        "#{{c4n4ry}}",
        "{{% set x = c4n4ry %}}",
    ),
    "html": (
        "<script>fetch('{url}')</script>",
        '"><img src={url} onerror=alert(1)>',
        "<iframe src={url}></iframe>",
        "</style><script src={url}></script>",
        "</title><base href={url}>",
        "' onmouseover='alert(c4n4ry)' x='",
        "<a href=javascript:alert('c4n4ry')>x</a>",
        "<meta http-equiv=refresh content='0;url={url}'>",
        "<form action={url}><input></form>",
        "<!--><script>c4n4ry</script-->",
    ),
    "svg": (
        "<svg onload=alert('c4n4ry')>",
        "]]><svg><script>c4n4ry</script></svg>",
        "<image href='{url}'/>",
        "<foreignObject><body onload=c4n4ry()></foreignObject>",
        "<use href='{url}#x'/> c4n4ry",
        "url({url})",
        "<animate attributeName=href values=javascript:c4n4ry>",
        "<?xml-stylesheet href='{url}'?>",
        "<!DOCTYPE x [<!ENTITY e SYSTEM '{url}'>]>&e;",
        "c4n4ry --><style>@import '{url}';</style>",
    ),
    "shell": (
        "; touch {at}",
        "$(touch {at})",
        "`touch {at}`",
        "| curl {url}",
        "&& touch {at}",
        "\n touch {at}",
        "> {at}",
        "%COMSPEC% /c echo c4n4ry",
        "-o{at}",
        "--out={at}",
    ),
    "path": (
        "../../../c4n4ry",
        "{at}",
        "..\\..\\c4n4ry",
        "/dev/tcp/127.0.0.1/{port}/c4n4ry",
        "file://{at}",
        "c4n4ry\x00.csv",
        "~/c4n4ry",
        "C:\\c4n4ry",
        "....//....//c4n4ry",
        "c4n4ry.csv/../../../c4n4ry.csv",
    ),
    "formula": (
        "=cmd|'/c calc'!c4n4ry",
        "+1+cmd|' /c c4n4ry'!A0",
        "-2+3+cmd|' /c c4n4ry'!A0",
        "@SUM(c4n4ry)",
        "\t=c4n4ry()",
        "\r=c4n4ry()",
        '=HYPERLINK("{url}")',
        '=IMPORTXML("{url}",1)',
        "＝c4n4ry()",
        ' =WEBSERVICE("{url}")',
    ),
    "marks": (
        "\u202ec4n4ry\u202c",
        "\u2066c4n4ry\u2069",
        "c4\u200bn4ry c4n4ry",
        "\u200fc4n4ry",
        "c4n4ry\x1b[31m",
        "\ufeffc4n4ry",
        "c4n4ry\u0000\u0008",
        "\U000e0001c4n4ry",
        "c4n4ry\u0085\u2028x",
        "c4n4ry\ufff9x\ufffb",
    ),
    "mathtext": (
        "$\\frac{{c4n4ry}}{{0}}$",
        "$c4n4ry",
        "\\input{{{at}}}",
        "\\write18{{touch {at}}} c4n4ry",
        "$\\href{{{url}}}{{x}}$",
        "_{{c4n4ry}}^{{2}}",
        "\\catcode`\\$=13 c4n4ry",
        "$$c4n4ry$$",
        "\\usepackage{{c4n4ry}}",
        "_c4n4ry",
    ),
    "toml": (
        'c4n4ry"\n[disclosure]\nminimum = 0\n',
        "c4n4ry'''\nminimum = 0",
        'c4n4ry"""\n[x]\n',
        "c4n4ry\\u0022",
        "[c4n4ry]",
        "c4n4ry = 1 # ",
        "c4n4ry\\",
        "{{c4n4ry = 1}}",
        '"c4n4ry" = 2',
        "c4n4ry\n---\nkey: !!js/function",
    ),
    "markdown": (
        "[c4n4ry](javascript:alert(1))",
        "![c4n4ry]({url})",
        "| c4n4ry | x |",
        "`c4n4ry`",
        "```\nc4n4ry",
        "<{url}>",
        "{url}",
        "**c4n4ry**\n# c4n4ry",
        "[c4n4ry]: {url}",
        "c4n4ry<br><b>",
    ),
}
WRAPPED = ("{}", "x{}", "{}x", '"{}"', "'{}'", "({})", "{} {}", "é{}\u0301", "{}" + " " * 3, "{}" + "a" * 300)
"""How a payload is dressed up: ten dresses of 120 payloads; the first thousand are taken, the kinds in turn."""

STUDY = """
title = "title"
[cohort]
name = "people"
[cohort.entry]
at = "first"
[cohort.entry.record]
table = "diagnosis"
[cohort.entry.record.codes]
name = "mine"
rows = [{system = "icd10cm", code = "M545", term = "term", category = "back", source = "source"}]
[[cohort.rules]]
rule = "exclude"
record = {table = "diagnosis", codes = "active_cancer"}
window = [-365, 0]
because = "cancer"
[cohort.end]
until = 2023-12-31
[outcome]
kind = "first_record"
from_day = 1
record = {table = "diagnosis", codes = "fatigue"}
[[covariates]]
kind = "age"
[[covariates]]
kind = "region"
[[covariates]]
kind = "deprivation"
[[covariates]]
kind = "exposed"
name = "other"
record = {table = "diagnosis", codes = "mood"}
window = [-365, 0]
[[analyses]]
kind = "cumulative_incidence"
by = "deprivation"
[[analyses]]
kind = "incidence_rate"
by = "region"
standard = "european_2013"
[[analyses]]
kind = "cox"
terms = "deprivation + age"
[disclosure]
minimum = 0
"""

LAYOUT = """
name = "layout"
description = "words"
[dialect]
missing = ["NA"]
[tables.person]
files = ["people.csv"]
person = "id"
[tables.person.columns]
birth_date = "born"
sex = {column = "sex", words = {"m" = "male", "f" = "female"}}
region = "region"
deprivation = "deprivation"
[tables.enrolment]
files = ["people.csv"]
person = "id"
[tables.enrolment.columns]
start_date = {constant = 2015-01-01}
end_date = {constant = 2023-12-31}
[tables.diagnosis]
files = ["visits.csv"]
person = "id"
[tables.diagnosis.columns]
date = "day"
system = {constant = "icd10cm"}
code = "code"
"""

Path_ = tuple[str | int, ...]


def payloads(at: Path, port: int) -> list[str]:
    """Return 1,000 different hostile texts, the kinds in turn."""
    url = f"http://127.0.0.1:{port}/{CANARY}"
    kinds = [[text.format(at=at, url=url, port=port) for text in family] for family in FAMILIES.values()]
    plain = [text for texts in zip(*kinds, strict=True) for text in texts]
    dressed = (dress.format(text, text) for dress in WRAPPED for text in plain)
    return list(dict.fromkeys(dressed))[:1000]


# --- what must not happen ---

WATCHED: list[str] = []
"""What the audit hook saw; empty is good."""
_INSIDE: list[str] = []
_FORBIDDEN = (
    "socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.",
    "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.",
)  # fmt: skip
_PATHS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "shutil.")


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _INSIDE:
        return
    if event.startswith(_FORBIDDEN):
        WATCHED.append(f"{event} {args[0]!r}")
    elif event == "open":
        path, mode, flags = args
        writes = bool(set(mode or "") & set("wax+")) or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writes and not isinstance(path, int) and not _is_inside(path):
            WATCHED.append(f"open for writing: {os.fsdecode(path)}")
    elif event.startswith(_PATHS):
        at = args[-1]  # these events end with the descriptor of the folder, -1 without one
        folder = f"/proc/self/fd/{at}" if type(at) is int and at >= 0 else ""
        paths = [Path(folder, os.fsdecode(path)) for path in args if isinstance(path, str | bytes | os.PathLike)]
        if event == "os.symlink":  # its target is relative to where it stands
            paths = [paths[1].parent / os.fsdecode(args[0]), paths[1]]
        WATCHED.extend(f"{event}: {path}" for path in paths if not _is_inside(path))
    elif event == "compile" and args[0] is not None and CANARY in str(args[0]):
        WATCHED.append("a payload was compiled")


def _is_inside(path: Any) -> bool:
    text = os.path.realpath(os.fsdecode(path))
    return text.startswith(_INSIDE[0]) or text == os.devnull


TAGS = """html head meta title style body header main nav section article h1 h2 h3 p a strong span div table caption
thead tbody tr th td ol li dl dt dd code details summary figure figcaption svg g path defs clippath rect use text tspan
line polyline polygon circle ellipse b br"""
"""The elements that a report is made of."""


class Inert(HTMLParser):
    """Collects what on a page could run, load or mislead."""

    ALLOWED = frozenset(re.findall(r"\w+", TAGS))

    def __init__(self, page: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.style = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Judge a tag and its attributes."""
        self.style = tag == "style"
        if tag not in self.ALLOWED:
            self.faults.append(f"tag {tag}")
        for name, value in attrs:
            text = value or ""
            if name.startswith("on") or (name in {"href", "xlink:href", "src", "action"} and not text.startswith("#")):
                self.faults.append(f"attribute {name} of {tag}")
            if name in {"style", "clip-path", "fill", "mask"} and re.search(r"url\((?!#)|@import|expression", text):
                self.faults.append(f"address in {name} of {tag}")
            self._marks(text)

    def handle_endtag(self, tag: str) -> None:
        """Leave the style sheet."""
        self.style = False

    def handle_data(self, data: str) -> None:
        """Judge text; the style sheet is ours, and holds no payload."""
        if self.style and CANARY in data:
            self.faults.append("payload in a style sheet")
        self._marks(data)

    def _marks(self, text: str) -> None:
        found = {char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co"}} - {"\n", "\u2060"}
        if found:
            self.faults.append(f"marks {sorted(map(ascii, found))}")


def faults_of(out: Path) -> Iterator[str]:
    """Yield what is wrong with the files of a report."""
    page = (out / "report.html").read_text("utf-8")
    yield from Inert(page).faults
    if "1787569" in page:
        yield "a template in a text was evaluated: 1337 * 1337"
    for path in out.rglob("*.svg"):
        yield from (f"{path.name}: {element.tag}" for element in _hostile(path))
    for path in out.rglob("*.csv"):
        for row in csv.reader(io.StringIO(path.read_text("utf-8"))):
            yield from (f"{path.name}: formula" for cell in row if _is_formula(cell))
    markdown = (out / "report.md").read_text("utf-8")
    yield from (f"markdown: {found}" for found in re.findall(r"(?<!\\)<\w+|(?<!\\)\]\((?!figures/)", markdown))
    yield from (f"markdown link: {found}" for found in re.findall(r"(?i)\w+://|www\.\w", markdown))


def _hostile(path: Path) -> Iterator[ET.Element]:
    for element in ET.parse(path).iter():  # noqa: S314 -- our own file, and well-formed or it raises
        tag = element.tag.rpartition("}")[2]
        links = [v for k, v in element.attrib.items() if k.endswith("href") and not v.startswith("#")]
        if tag.lower() not in Inert.ALLOWED or links or [k for k in element.attrib if k.lower().startswith("on")]:
            yield element


def _is_formula(cell: str) -> bool:
    return bool(re.match(r"\s*[=+\-@＝＋－＠]", cell)) and not re.fullmatch(r"[+-]?[0-9.,]+(e[+-]?\d+)?", cell)


# --- the ways in ---


def leaves(node: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Yield the path of every text in nested tables, and of every key."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*path, key, "#key")
            yield from leaves(value, (*path, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from leaves(value, (*path, number))
    elif isinstance(node, str):
        yield path


def put(node: Any, path: Path_, payload: str) -> Any:
    """Return nested tables with one text, or one key, replaced."""
    if not path:
        return payload
    if isinstance(node, dict) and path[1:] == ("#key",):
        return {payload if key == path[0] else key: value for key, value in node.items()}
    if isinstance(node, dict):
        return {key: put(value, path[1:], payload) if key == path[0] else value for key, value in node.items()}
    return [put(value, path[1:], payload) if number == path[0] else value for number, value in enumerate(node)]


def write_extract(folder: Path, texts: list[str]) -> None:
    """Write persons whose region, deprivation, codes and further columns are payloads.

    A lone carriage return, a line break in a header and a NUL would have the whole file refused, and the other
    payloads with it.
    """
    texts = [text.replace("\r", " ").replace("\x00", "") for text in texts]
    folder.mkdir()
    people = [["id", "born", "sex", "region", "deprivation", *(" ".join(text.split("\n")) for text in texts)]]
    visits = [["id", "day", "code", texts[0].replace("\n", " ")]]
    for number, text in enumerate(texts * 3):
        deprived = texts[number % 3]
        people.append([f"p{number}", f"19{50 + number % 40}-03-01", "mf"[number % 2], text, deprived, *texts])
        visits += [[f"p{number}", "2020-01-10", "M545", text], [f"p{number}", "2020-02-10", text, ""]]
        visits += [[f"p{number}", f"2020-03-{10 + number % 9}", "R5383", ""]] if number % 2 else []
    for name, rows in (("people.csv", people), ("visits.csv", visits)):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)


def refused_or(make: Any) -> Any:
    """Return what is made, or None where it is refused with an error of our own; any other error passes."""
    from cohort.errors import CohortError

    try:
        return make()
    except CohortError:
        return None


def study_fields(folder: Path, texts: list[str]) -> int:
    """Take each payload through each text and each key of a study file; return how many were taken as text."""
    from cohort.study import Study

    plan, file = tomllib.loads(STUDY), folder / "one.toml"
    taken = 0
    for text, path in itertools.product(texts, [*leaves(plan)]):
        file.write_text(tomli_w.dumps(put(plan, path, text)), "utf-8")
        taken += refused_or(lambda: Study.from_toml(file)) is not None
        if path == ("title",):  # and once pasted into the file as it is
            file.write_text(STUDY.replace('"title"', f'"{text}"'), "utf-8", errors="replace")
            refused_or(lambda: Study.from_toml(file))
    return taken


def layouts(folder: Path, texts: list[str]) -> int:
    """Take each payload through each text and key of a layout, and ingest with those that are taken as text."""
    from cohort.ingest.layouts import Layout
    from cohort.ingest.load import ingest

    plan, home = tomllib.loads(LAYOUT), folder / "layout"
    home.mkdir()
    taken = 0
    for number, (text, path) in enumerate(itertools.product(texts, [*leaves(plan)])):
        (home / "layout.toml").write_text(tomli_w.dumps(put(plan, path, text)), "utf-8")
        if refused_or(lambda: Layout.read(home)) is not None:
            taken += 1
            if number % 37 == 0:  # an ingest takes a hundred times as long as reading a layout
                refused_or(lambda n=number: ingest(folder / "extract", home, folder / f"s{n}"))
    (home / "layout.toml").write_text(LAYOUT, "utf-8")
    return taken


def codelists(folder: Path, texts: list[str]) -> int:
    """Take each payload through each column, the version line and the name of a codelist file."""
    from cohort.codes.codelist import Codelist

    taken = 0
    for text in texts:
        for column in range(5):
            row = ["icd10cm", "M545", "term", "category", "source"]
            row[column] = text
            lines = io.StringIO()
            csv.writer(lines).writerows([["system", "code", "term", "category", "source"], row])
            path = folder / "list.csv"
            path.write_text(f"# version: {text.splitlines()[0]}\n{lines.getvalue()}", "utf-8")
            taken += refused_or(lambda path=path: Codelist.read(path)) is not None
        refused_or(lambda name=text: _by_name(name))
    return taken


def _by_name(name: str) -> Any:
    from cohort.codes.codelist import Codelist
    from cohort.errors import StudyError

    try:
        return Codelist.read(name), Codelist.shipped(name)
    except ValueError:  # a path with a NUL in it
        raise StudyError("no such file") from None


def whole_run(folder: Path, texts: list[str], markers: list[str]) -> None:
    """Ingest payloads as cells and columns, run a study whose texts are payloads, and read the report."""
    from cohort.ingest.load import ingest
    from cohort.study import Study

    plan = tomllib.loads(STUDY)
    plan["title"], plan["cohort"]["name"] = texts[0], texts[-1]
    (rule,) = plan["cohort"]["rules"]
    plan["cohort"]["rules"] = [rule | {"because": text} for text in texts]
    codes = plan["cohort"]["entry"]["record"]["codes"]
    codes["name"] = texts[1]
    codes["rows"] = [row | dict.fromkeys(("term", "category", "source"), t) for row in codes["rows"] for t in texts]
    file = folder / "study.toml"
    file.write_text(tomli_w.dumps(plan), "utf-8")
    store = refused_or(lambda: ingest(folder / "extract", folder / "layout", folder / "store", max_reject_rate=1.0))
    study = refused_or(lambda: Study.from_toml(file))
    if store is None or study is None:
        markers.append("refused")
        return
    out = folder / "out"
    study.run(folder / "store").report(out)
    markers.append("run")
    WATCHED.extend(f"report: {fault}" for fault in sorted(set(faults_of(out))))


def main(arguments: list[str] | None = None) -> int:
    """Run so many payloads through everything; print what was seen and return the number of faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payloads", type=int, default=1000)
    parser.add_argument("--skip", type=int, default=0, help="payloads left out at the beginning")
    parser.add_argument("--round", type=int, default=24, help="payloads of one round")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as base, socket.socket() as listener:
        outside, inside = Path(base) / "outside", Path(base) / "inside"
        outside.mkdir()
        (inside / "tmp").mkdir(parents=True)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        os.environ["TMPDIR"] = str(inside / "tmp")
        tempfile.tempdir = None
        os.chdir(outside)
        harmless = _rounds(inside / "harmless", ["north", "south", "east"], 3)  # libraries fill their caches unwatched
        assert "1 reports" in harmless, harmless
        assert not WATCHED, WATCHED
        texts = payloads(outside / CANARY, listener.getsockname()[1])[options.skip :][: options.payloads]
        sys.addaudithook(_hook)
        _INSIDE.append(os.path.realpath(inside))
        seen = _rounds(inside, texts, options.round)
        _INSIDE.clear()
        WATCHED.extend(f"made outside: {path}" for path in outside.rglob("*"))
        with contextlib.suppress(BlockingIOError):
            listener.accept()
            WATCHED.append("something connected")
    for fault, found in sorted({fault: WATCHED.count(fault) for fault in WATCHED}.items()):
        print(f"FAULT {fault} ({found} times)")
    print(f"{len(texts)} payloads: {seen}; {len(WATCHED)} faults")
    return len(WATCHED)


def _rounds(inside: Path, texts: list[str], size: int) -> str:
    taken = {"study fields": 0, "layout fields": 0, "codelist fields": 0}
    runs: list[str] = []
    for number, start in enumerate(range(0, len(texts), size)):
        folder, some = inside / f"round{number}", texts[start : start + size]
        folder.mkdir(parents=True)
        write_extract(folder / "extract", some)
        taken["study fields"] += study_fields(folder, some)
        taken["layout fields"] += layouts(folder, some)
        taken["codelist fields"] += codelists(folder, some)
        whole_run(folder, some, runs)
    said = ", ".join(f"{count} {name} taken as text" for name, count in taken.items())
    return f"{said}; {runs.count('run')} reports, {runs.count('refused')} refused"


if __name__ == "__main__":
    sys.exit(bool(main()))
