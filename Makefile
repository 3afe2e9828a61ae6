# FireBot. `make backtest` and `make test` are enough on a fresh machine with Python 3.11 or newer.
# Everything lives in .venv/; its .stamp-* files remember what was installed from which lock.
SHELL  := /bin/sh
BIN    := .venv/bin
UV     := $(BIN)/uv
ARGS   ?=
# FROM_LOCK FILE: install exactly what FILE pins. pip, slower, steps in where uv cannot reach the package index.
FROM_LOCK = $(UV) pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r $(1) || \
	{ echo "uv could not install; pip tries"; $(BIN)/python -m pip install --quiet --require-hashes -r $(1); }
PYTEST = $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: help install backtest test test-all lab dashboard bench lint lock readme prepare
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

install: .venv/.stamp-run ## the environment a run needs, in .venv/

backtest: .venv/.stamp-run ## the main job on the embedded sample
	@$(BIN)/firebot backtest nbs/runs/backtest.yaml $(ARGS)

test: .venv/.stamp-dev ## every notebook, every quick test, the rules of the house, coverage
	@$(BIN)/python scripts/warm.py
	$(PYTEST) --cov $(ARGS)

test-all: .venv/.stamp-dev ## the heavy proofs that `make test` leaves out
	$(PYTEST) -m slow $(ARGS)

lint: .venv/.stamp-dev ## the rules of the house alone, ruff and mypy among them
	@$(BIN)/python scripts/house.py

lab: .venv/.stamp-dev ## JupyterLab on the notebooks
	$(BIN)/jupyter lab --notebook-dir=. nbs/index.ipynb $(ARGS)

dashboard: .venv/.stamp-dev ## runs, paper sessions, taxes, sweeps and data in a browser
	@$(BIN)/firebot dashboard $(ARGS)

bench: .venv/.stamp-dev ## the benchmark books again, on this machine
	@for book in nbs/benchmarks/*.ipynb; do echo "$$book"; \
		$(BIN)/papermill --kernel python3 --cwd nbs/benchmarks --no-progress-bar --log-level WARNING "$$book" "$$book" || exit 1; done
	$(BIN)/nbdev-clean --fname nbs/benchmarks

prepare: .venv/.stamp-dev ## after editing notebooks: export, run and save, clean, README
	$(BIN)/nbdev-export
	find nbs -name '[!_.]*.ipynb' ! -path '*/.*' | sort | xargs -P 2 -n 1 $(BIN)/nbdev-test --save; \
		passed=$$?; $(BIN)/nbdev-clean && $(BIN)/python scripts/readme.py && exit $$passed

readme: .venv/.stamp-dev ## README.md from nbs/index.ipynb
	@$(BIN)/python scripts/readme.py

lock: .venv/.stamp-uv ## pin again what pyproject.toml asks for (ARGS=--upgrade: the newest)
	$(BIN)/python scripts/lock.py $(ARGS)

# ---------------------------------------------------------------- the environment
$(BIN)/python:
	@for p in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
		$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		echo "environment in .venv with $$($$p --version 2>&1)"; \
		$$p -m venv .venv && exit 0; \
		echo "make: $$p cannot make an environment (on Debian and Ubuntu: apt install python3-venv)" >&2; \
		rm -rf .venv; exit 1; \
	done; \
	echo "make: no Python 3.11 or newer found; install one, or name it: make PYTHON=/path/to/python3 ..." >&2; exit 1

.venv/.stamp-uv: requirements-uv.lock | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@touch $@

.venv/.stamp-run: requirements.lock pyproject.toml .venv/.stamp-uv
	@echo "installing from requirements.lock"
	@$(call FROM_LOCK,requirements.lock)
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.stamp-dev: requirements-dev.lock .venv/.stamp-run
	@echo "installing from requirements-dev.lock"
	@$(call FROM_LOCK,requirements-dev.lock)
	@touch $@
