# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# The stamp: what is installed belongs to these files.
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup serve test test-quick check bench docs format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with everything that the other commands need

$(READY): pyproject.toml requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

serve: $(READY) ## Run the service stand-alone, with four demo instances to try
	@cat demo/try.txt
	@exec $(BIN)/python -m peerdata serve --config-file demo/peerdata.conf

test: $(READY) ## Pass every test; builds nova, neutron, PostgreSQL and the other real peers in .peers
	$(BIN)/python -m pytest tests/unit tests/store tests/api tests/test_map.py
	$(BIN)/python -m tests.chain.peers
	$(BIN)/python -m tests.databases
	$(BIN)/python -m pytest tests/live tests/databases tests/chain

test-quick: $(READY) ## Pass the tests that need no peers
	$(BIN)/python -m pytest tests/unit tests/store tests/api tests/test_map.py

check: $(READY) ## ruff, mypy --strict, and the documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check
	$(BIN)/sphinx-build -q -W -b html docs docs/_build

docs: $(READY) ## Generate docs/settings.md, docs/errors.md and the sample, and build the pages into docs/_build
	$(BIN)/python docs/generate.py
	$(BIN)/sphinx-build -q -W -b html docs docs/_build

bench: $(READY) ## Measure beside nginx and nova, on one pinned core; writes docs/benchmarks.md
	$(BIN)/python -m bench

format: $(READY) ## Let ruff put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove all that make made, but not .peers
	rm -rf $(VENV) .state build src/*.egg-info docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
