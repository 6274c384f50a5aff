# make play    the playground on http://127.0.0.1:7860
# make test    every test: units on two processes, whole runs, then the browser
# make check   style, types, walls, documentation
# Plain pip in .venv; stamps there make a second run quick.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: play test check format clean
.DEFAULT_GOAL := play

play: $(VENV)/.base
	$(BIN)/her play

test: $(VENV)/.test
	$(BIN)/python -m pytest -q -n 2 -m "not browser and not whole"
	$(BIN)/python -m pytest -q -n 2 -m "whole and not browser"
	$(BIN)/python -m pytest -q -m browser

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy --strict her app.py
	$(BIN)/python -m pytest -q tests/test_layers.py tests/test_docs.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[dev]'
	@touch $@

# torch first and named again, so that nothing on the second line can move it.
$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(PIP) torch==2.13.0
	$(PIP) torch==2.13.0 -e '.[train,ray,dev]'
	@touch $@
