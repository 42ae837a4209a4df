"""R as a contender: one process that reads its input from binary columns and answers each request with numbers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import polars as pl

HAS_R = shutil.which("Rscript") is not None

_SERVER = """
suppressMessages({library(survival); library(cmprsk)})
folder <- commandArgs(TRUE)[1]
columns <- readLines(file.path(folder, "columns"))
d <- as.data.frame(lapply(setNames(columns, columns), function(name) {
  path <- file.path(folder, name)
  readBin(path, "double", file.size(path) / 8)
}))
requests <- file("stdin", "r")
source(file.path(folder, "program.R"))
answer <- function() cat(format(run(), digits = 17), "\\n")
cat("ready\\n")
while (length(readLines(requests, 1))) answer()
"""


class RPeer:
    """An R process holding ``frame`` as the data frame ``d``; calling it runs the program's function ``run()``."""

    def __init__(self, frame: pl.DataFrame, program: str, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for column in frame:
            column.cast(pl.Float64).to_numpy().tofile(folder / column.name)
        (folder / "columns").write_text("\n".join(frame.columns) + "\n")
        (folder / "program.R").write_text(program)
        (folder / "server.R").write_text(_SERVER)
        self._process = subprocess.Popen(
            ["Rscript", "--vanilla", str(folder / "server.R"), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._read()
        self.pid = self._process.pid

    def __call__(self) -> list[float]:
        """Run once and return R's answer."""
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return [float(number) for number in self._read().split()]

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("R stopped; its message is above")
        return line
