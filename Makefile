# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# The stamp: what is installed belongs to these files.
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup serve test test-quick torture clusters boots check bench docs zipapp format clean

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
	$(BIN)/python -m pytest tests/unit tests/guest tests/simulation tests/store tests/api tests/test_map.py
	$(BIN)/python -m tests.chain.peers
	$(BIN)/python -m tests.databases
	$(BIN)/python -m tests.clusters.build
	$(BIN)/python -m pytest tests/live tests/databases tests/chain tests/torture tests/boots tests/clusters

test-quick: $(READY) ## Pass the tests that need no peers
	$(BIN)/python -m pytest tests/unit tests/guest tests/simulation tests/store tests/api tests/test_map.py

torture: $(READY) ## Torture servers and databases for 10 minutes on each engine; writes docs/torture.md
	$(BIN)/python -m tests.torture run

boots: $(READY) ## Boot 100 000 clusters in simulation and 1000 of real processes, killed meanwhile; writes docs/boots.md
	$(BIN)/python -m tests.simulation
	$(BIN)/python -m tests.boots

clusters: $(READY) ## Form real clusters 20 times each, and break them; writes docs/clusters-runs.md
	$(BIN)/python -m tests.clusters

check: $(READY) ## ruff, mypy --strict, and the documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check
	$(BIN)/sphinx-build -q -W -b html docs docs/_build

docs: $(READY) ## Generate docs/settings.md, docs/errors.md and the sample, and build the pages into docs/_build
	$(BIN)/python docs/generate.py
	$(BIN)/sphinx-build -q -W -b html docs docs/_build

bench: $(READY) ## Measure beside nginx, haproxy, Redis, etcd and nova, in ten minutes; writes docs/benchmarks.md
	$(BIN)/python -m bench

zipapp: ## Make build/peerdata.pyz: the guest's command as one file to drop into an image, for Python 3.9 and later
	@# In a place of its own, so that two at once do no harm. Bytecode for this Python: it starts in half the time; any
	@# other takes the source beside it.
	@mkdir -p build && place=$$(mktemp -d build/zipapp.XXXXXX) && trap 'rm -rf "$$place"' EXIT && mkdir "$$place/app" "$$place/app/peerdata" && \
	cp -r src/peerdata/__init__.py src/peerdata/__main__.py src/peerdata/guest "$$place/app/peerdata" && \
	printf 'import sys\n\nfrom peerdata.__main__ import main\n\nsys.exit(main())\n' > "$$place/app/__main__.py" && \
	find "$$place/app" -name __pycache__ -prune -exec rm -r {} + && \
	$(PYTHON) -m compileall -q -b -o 2 --invalidation-mode unchecked-hash "$$place/app/peerdata" && \
	$(PYTHON) -m zipapp --compress --python '/usr/bin/env python3' --output "$$place/peerdata.pyz" "$$place/app" && \
	chmod 755 "$$place/peerdata.pyz" && mv "$$place/peerdata.pyz" build/peerdata.pyz && ls -l build/peerdata.pyz

format: $(READY) ## Let ruff put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove all that make made, but not .peers
	rm -rf $(VENV) .state build src/*.egg-info docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
