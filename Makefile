# make run   sets up what the queue needs and runs it; make test   sets up everything and tests it
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := .ci/constraints.txt
QUEUE ?= prompts/lunar.yaml
ARGS ?=

.PHONY: run test quick training sandbox contract sharpness embedded lint bench lunar-results clean

run: $(VENV)/.run
	$(BIN)/promptqueue run $(QUEUE) $(ARGS)

test: lint quick training sandbox contract embedded

quick: $(VENV)/.dev
	$(BIN)/pytest -n auto -m "not training and not embedded and not sandbox and not contract"

training: $(VENV)/.dev
	$(BIN)/pytest -n auto -m training

sandbox: $(VENV)/.dev
	$(BIN)/pytest -m sandbox
	.ci/plain-user $(BIN)/python

# the lunar contract on the reference, the styles and a wrong twin of each requirement
contract: $(VENV)/.dev
	$(BIN)/pytest -n 2 -m contract

# every wrong twin by every requirement: some three hours on two cores; ARGS="--requirement noise" for less
sharpness: $(VENV)/.dev
	$(BIN)/python -m tests.lunar.sharpness $(ARGS)

embedded: $(VENV)/.dev
	$(BIN)/pytest -m embedded

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# hours on two cores; stop it and start it again: make lunar-results DATA=path/to/windows.csv
lunar-results: $(VENV)/.dev
	$(if $(DATA),,$(error name the windows: make lunar-results DATA=path/to/windows.csv))
	$(BIN)/python -m reference_impl.lunar.baseline --manifest $(DATA) --out $(or $(OUT),results)/baseline.json
	$(BIN)/python -m reference_impl.lunar.results --manifest $(DATA) --out $(or $(OUT),results) $(ARGS)

bench: $(VENV)/.dev
	$(BIN)/python -m tests.benchmarks

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[embedded]'
	touch $@

$(VENV)/.dev: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[embedded,lunar,geo,verify,compare,ray,dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
