# Needs Python >= 3.11, make and a package index; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done
MEMBERS := reporter runner hub bridge client
NPM := $(shell command -v npm)
NPM_STAMP := client/node_modules/.setup-done
TSC := client/node_modules/.bin/tsc

.PHONY: help setup no-npm demo test recipes lint types wheels bench chaos clean

help: ## list what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(STAMP) $(if $(NPM),$(NPM_STAMP),no-npm) ## install everything into .venv (does nothing when it is there already)

$(STAMP): constraints.txt pyproject.toml $(MEMBERS:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Milepost needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		$(MEMBERS:%=--editable ./%) --editable . --group dev
	@touch $(STAMP)

$(NPM_STAMP): client/package-lock.json client/package.json
	cd client && $(NPM) ci --ignore-scripts --loglevel=error
	@touch $@

no-npm:
	@echo "no npm on PATH: tests of the browser's client that need its packages will be skipped"

demo: setup ## run a real job on an embedded nats-server and watch it here (DEMO_ARGS=--once)
	@$(BIN)/milepost demo $(DEMO_ARGS)

test: setup ## run the tests, several at a time (TEST_ARGS="-n 0 -k name" for one after the other)
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

recipes: setup ## run the programs of docs/recipes.md whose language is here, and name those that are left out
	MILEPOST_RECIPES=1 $(BIN)/python -m pytest -n 0 -v tests/recipes

lint: setup ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy and tsc, both strict
	$(BIN)/mypy
	@if [ -x $(TSC) ]; then $(TSC) --project client && echo "tsc: no issues"; else echo "tsc is not installed: left out"; fi

wheels: setup ## build the wheels, install them into an empty environment, run the demo from them
	$(BIN)/python scripts/check_wheels.py

bench: setup ## measure against nats-server's gateway, websockets.broadcast and FastAPI (BENCH_ARGS=--quick)
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

chaos: setup ## kill, cut and overload everything and count what readers get (CHAOS_ARGS=--quick)
	$(BIN)/python -m chaos $(CHAOS_ARGS)

clean: ## remove everything that make made
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis client/node_modules client/types benchmarks/.build benchmarks/results
