# make play      the playground on http://127.0.0.1:7860
# make test      every test but the rules of `make check`: units, then whole runs and the browser
# make units     the units alone: one minute on two cores
# make check     style, types, layers, documentation
# make mutants   change 300 places of the code, one at a time: do the tests notice? About 40 minutes
# make lock      write requirements/ anew from pyproject.toml; UPGRADE=--upgrade takes the newest versions
# Plain pip in .venv installs what requirements/ pins, with hashes; stamps there make a second run quick.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# The lock is complete (`make test` asks `pip check`), so pip need not resolve; Python compiles what it imports.
LOCKED := $(PIP) --no-deps --no-compile --require-hashes
HERE   := $(PIP) --no-deps -e .
# torch without CUDA where pip can see that wheel, else PyPI's; say TORCH=cpu or TORCH=cuda to choose.
TORCH  ?= $(shell $(BIN)/python -m pip index versions torch 2>/dev/null | grep -q '2\.13\.0+cpu' && echo cpu || echo cuda)

# An installed package is compiled when it is first imported (see LOCKED): with this set, in every new process again.
unexport PYTHONDONTWRITEBYTECODE

# Rules on the source belong to `make check`; a plain `pytest` runs them as well.
RULES := tests/test_layers.py tests/test_docs.py

.PHONY: play test units units-models units-judging units-services units-rest whole browser check types style page rules format mutants lock clean
.DEFAULT_GOAL := play

play: $(VENV)/.base
	$(BIN)/her play

test: $(VENV)/.test
	$(BIN)/python -m pip check
	@$(MAKE) --no-print-directory units
	@$(MAKE) --no-print-directory --jobs=2 --output-sync whole browser

# Side by side, because each waits now and then: for a page, a file, a process that ends. Not in one process, because Playwright
# and asyncio cannot share a thread. A worker begins with its half of the files, so that a server or a tiny model is made once
# a file, and then takes tests from the other's half.
WORKERS := $(BIN)/python -m pytest -q -n 2 --dist worksteal

whole: $(VENV)/.test
	$(WORKERS) -m "whole and not browser"

browser: $(VENV)/.test
	$(WORKERS) -m browser tests/browser

# Units in four groups side by side, by what they import: torch, scikit-learn, gradio, or none of them; pytest's own workers would
# all import all. Their files are in memory where 1 GB of it is free, because most of them write a database and wait for the disk.
MEMORY   := $(shell df -k --output=avail /dev/shm 2>/dev/null | awk 'NR > 1 && $$1 > 1000000 {print "TMPDIR=/dev/shm"}')
UNITS    := $(MEMORY) $(BIN)/python -m pytest -q -m "not browser and not whole"
MODELS   := $(addprefix tests/pipelines/,models reward rl sft) tests/training_data $(wildcard tests/backends/test_local*.py)
JUDGING  := tests/judging tests/pipelines tests/feedback $(wildcard tests/test_statistics*.py)
SERVICES := tests/backends tests/chat tests/inference tests/store tests/rollouts tests/format
without   = $(foreach path,$(1),--ignore=$(path))

units: $(VENV)/.test
	@$(MAKE) --no-print-directory --jobs=4 --output-sync units-models units-judging units-services units-rest

units-models:
	$(UNITS) $(MODELS)

units-judging:
	$(UNITS) $(JUDGING) $(call without,$(MODELS))

units-services:
	$(UNITS) $(SERVICES) $(call without,$(MODELS))

units-rest:
	$(UNITS) $(call without,$(MODELS) $(JUDGING) $(SERVICES) tests/browser $(RULES))

PAGE := $(if $(wildcard package.json),page)
# Types take the longest, so they come first and the rest runs beside them.
check: $(VENV)/.dev
	@$(MAKE) --no-print-directory --jobs=2 --output-sync types style rules $(PAGE)

types:
	$(BIN)/mypy

style:
	$(BIN)/python -m pip check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

# Formatter, linter and types of the page's scripts: Node 18 or newer with npm, used for nothing else.
page: node_modules/.installed
	npm run --silent check

node_modules/.installed: package-lock.json
	@command -v npm >/dev/null || { echo "make check needs Node 18 or newer with npm: install Debian's nodejs and npm"; exit 1; }
	npm ci --no-audit --no-fund --silent
	@touch $@

rules:
	$(BIN)/python -m pytest -q $(RULES)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

mutants: $(VENV)/.dev
	$(BIN)/python -m tools.mutants --sample 300 --seed 1

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml requirements/base.txt | $(BIN)/python
	$(LOCKED) -r requirements/base.txt
	$(HERE)
	@touch $@

$(VENV)/.dev: pyproject.toml requirements/dev.txt | $(BIN)/python
	$(LOCKED) -r requirements/dev.txt
	$(HERE)
	@touch $@

TRAIN_cpu  := -r requirements/torch-cpu.txt -r requirements/train-cpu.txt
TRAIN_cuda := -r requirements/train-cuda.txt
$(VENV)/.test: pyproject.toml $(wildcard requirements/t*.txt) | $(BIN)/python
	$(LOCKED) $(TRAIN_$(TORCH))
	$(HERE)
	@$(BIN)/python -c "from hypothesis import strategies; strategies.text().validate()"  # its table of letters, 4 s, once and not in each process
	@touch $@

# The Space comes first, because its builder adds packages that move others (gradio's extra `mcp` wants pydantic below 2.13).
# The builder installs pre-requirements.txt by itself, so it may have hashes; requirements.txt in one command with packages that
# have none, so it may not. All other sets are for every platform and Python, and keep the versions of the Space.
UV    := $(BIN)/uv pip compile --quiet --python-version 3.11 --no-annotate --custom-compile-command "make lock" $(UPGRADE)
SPACE := $(UV) --python-platform linux pyproject.toml spaces/builder.txt
HASH  := $(UV) --universal --generate-hashes pyproject.toml
SAME  := -c requirements/train-cuda.txt
TRAIN := --extra train --extra ray --extra dev
lock: $(BIN)/uv
	$(SPACE) -o spaces/requirements.txt
	$(SPACE) --generate-hashes -c spaces/requirements.txt -o spaces/pre-requirements.txt
	$(HASH) $(TRAIN) --extra quantise -c spaces/requirements.txt -o requirements/train-cuda.txt
	$(HASH) $(TRAIN) $(SAME) --excludes requirements/cuda-libraries.txt --no-emit-package torch -o requirements/train-cpu.txt
	$(HASH) --extra dev $(SAME) -o requirements/dev.txt
	$(HASH) $(SAME) -o requirements/base.txt

$(BIN)/uv: | $(BIN)/python
	$(PIP) uv==0.13.9
