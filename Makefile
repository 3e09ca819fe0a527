# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors

# Without PYTHON, tools/setup.sh takes the newest Python from 3.11 to 3.14.
export PYTHON
export VENV ?= .venv
BIN := $(VENV)/bin
# Tests that need no peers.
QUICK := tests/unit tests/guest tests/simulation tests/store tests/api $(wildcard tests/test_*.py)

.DEFAULT_GOAL := help
.PHONY: help setup setup-server serve reset test test-quick torture clusters boots constraints check bench docs examples \
	dist zipapp format clean distclean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make or update .venv with everything that the other commands need
	@tools/setup.sh dev

setup-server:
	@tools/setup.sh server

serve: setup-server ## Run the service stand-alone, with four demo instances to try
	@exec demo/serve.sh $(BIN)/python

reset: ## Empty the store of `make serve`; stop that first
	rm -rf .state

test: setup ## Pass every test; builds nova, neutron, PostgreSQL and the other real peers in .peers
	$(BIN)/python -m pytest $(QUICK)
	$(BIN)/python -m tests.chain.peers
	$(BIN)/python -m tests.databases
	$(BIN)/python -m tests.clusters.build
	$(BIN)/python -m tests.deploy
	$(BIN)/python -m pytest tests/live tests/deploy tests/databases tests/chain tests/torture tests/boots tests/clusters

test-quick: setup ## Pass the tests that need no peers
	$(BIN)/python -m pytest $(QUICK)

torture: setup ## Torture servers and databases for 10 minutes on each engine; writes docs/torture.md
	$(BIN)/python -m tests.torture run

boots: setup ## Boot 100 000 clusters in simulation and 1000 of real processes, killed meanwhile; writes docs/boots.md
	$(BIN)/python -m tests.simulation
	$(BIN)/python -m tests.boots

clusters: setup ## Form real clusters 20 times each, and break them; writes docs/clusters-runs.md
	$(BIN)/python -m tests.clusters

constraints: setup ## Install and run with the libraries of each of OpenStack's releases (make test: oldest and newest)
	PEERDATA_CONSTRAINTS=all $(BIN)/python -m pytest tests/deploy/test_constraints.py

SCRIPTS := $(wildcard tools/*.sh demo/*.sh examples/*/*.sh)

check: setup ## ruff, mypy --strict, shellcheck, shfmt, commit subjects, and the documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/shellcheck $(SCRIPTS)
	$(BIN)/shfmt -i 4 -d $(SCRIPTS)
	tools/check-commits.sh
	$(BIN)/python docs/generate.py --check
	$(BIN)/python examples/generate.py --check
	$(BIN)/sphinx-build -q -W -b html docs docs/_build

docs: setup ## Generate docs/settings.md, docs/errors.md and the sample, and build the pages into docs/_build
	$(BIN)/python docs/generate.py
	$(BIN)/sphinx-build -q -W -b html docs docs/_build

examples: setup ## Generate the user-data of each example from its scripts and its systemd drop-in
	$(BIN)/python examples/generate.py

bench: setup ## Measure beside nginx, haproxy, Redis, etcd and nova, in ten minutes; writes docs/benchmarks.md
	$(BIN)/python -m bench

dist: setup ## Make the wheel, the sdist, the zipapp and their checksums in dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	tools/zipapp.sh dist/peerdata.pyz
	cd dist && sha256sum peerdata* >SHA256SUMS && cat SHA256SUMS

zipapp: ## Make build/peerdata.pyz: the guest's command as one file for an image, for Python 3.9 and later
	@tools/zipapp.sh build/peerdata.pyz

format: setup ## Let ruff put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove what was built and cached, but not .venv, .peers and the demo's store
	rm -rf build dist src/*.egg-info docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis

distclean: clean reset ## Remove everything that make made, .venv and .peers too
	rm -rf $(VENV) .peers
