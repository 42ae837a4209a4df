# Thin on purpose: each target is one command. PYTHON picks the interpreter (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin

demo: .venv/demo.stamp   ## simulate a small population, ingest it, run the example study, name the report
	$(BIN)/cohort demo --out demo

test: .venv/dev.stamp    ## the whole suite
	$(BIN)/python -m pytest --numprocesses auto

engines: .venv/engines.stamp   ## install PySpark and Dask, so that `make test` tries them too

check: .venv/dev.stamp   ## lint, format and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: .venv/dev.stamp   ## small versions of every benchmark
	$(BIN)/python benchmarks/run.py --quick

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "cohort needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv

.venv/demo.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

.venv/dev.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@ .venv/demo.stamp

.venv/engines.stamp: .venv/dev.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,spark,dask]'
	touch $@

.PHONY: demo test engines check bench
