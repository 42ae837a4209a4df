"""Hostile texts stay texts: one of each kind here, a thousand by ``python tests/faults/injection.py``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import injection
import pytest

HERE = Path(injection.__file__)


def test_payloads_in_every_field_neither_run_nor_connect_nor_write_outside():
    """In a process of its own: an audit hook cannot be taken off again."""
    done = subprocess.run(
        [sys.executable, str(HERE), "--payloads", "12", "--round", "12"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "12 payloads" in done.stdout
    assert "1 reports, 0 refused; 0 faults" in done.stdout


def test_there_are_a_thousand_payloads_of_every_kind(tmp_path):
    texts = injection.payloads(tmp_path / injection.CANARY, 9)
    assert len(set(texts)) == len(texts) == 1000
    first = [family[0].split("{")[0][:3] for family in injection.FAMILIES.values()]
    assert [text[: len(start)] for text, start in zip(texts, first, strict=False)] == first


def test_the_watch_sees_sockets_processes_writes_and_compiled_payloads(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    code = (
        "import os, socket, subprocess, sys, injection as i; sys.addaudithook(i._hook); i._INSIDE.append(sys.argv[1]);"
        "socket.socket().close(); subprocess.run(['true']); eval('len(\"c4n4ry\")');"
        "open(sys.argv[1] + '/a', 'w').close();"
        "open(sys.argv[2] + '/b', 'w').close(); os.mkdir(sys.argv[2] + '/c'); i._INSIDE.clear(); print(len(i.WATCHED))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(inside), str(outside)],
        capture_output=True, text=True, check=True, cwd=HERE.parent,
    )  # fmt: skip
    assert int(done.stdout) == 5  # all but the write inside


BAD = {
    "report.html": ("<script>", "tag script"),
    "figures/x.svg": ('<svg xmlns="http://www.w3.org/2000/svg" onload="x()"/>', "svg"),
    "tables/x.csv": ('label\n"=1+1"\n', "formula"),
    "report.md": ("[x](javascript:y)", "markdown"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_a_file_may_not_hold_is_found(tmp_path, name):
    for folder in ("figures", "tables"):
        (tmp_path / folder).mkdir()
    for file in ("report.html", "report.md"):
        (tmp_path / file).write_text("")
    text, fault = BAD[name]
    (tmp_path / name).write_text(text)
    assert any(fault in found for found in injection.faults_of(tmp_path))


def test_marks_that_turn_text_round_are_found_on_a_page():
    assert injection.Inert("<p>a\u202eb</p>").faults == ["marks [\"'\\\\u202e'\"]"]
    assert injection.Inert("<p title='a\u202eb'>x</p>").faults
    assert injection.Inert("<a href='http:x'>x</a>").faults == ["attribute href of a"]
