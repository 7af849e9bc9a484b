# `make loop` and `make test` each do all set-up; either may be run first, and again.
SHELL := /bin/bash
# A command that fails before a pipe must fail the target.
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
# The project's own environment, whichever the shell has active.
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/$(VENV)
RATCHET := $(VENV)/bin/ratchet
RECIPE ?= fashion-mnist

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.synced data ## Install everything from the lock

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 14); sys.exit(0 if ok else "Ratchet needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d. Give another: make PYTHON=python3.12" % sys.version_info[:2])'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/bin/uv: | $(VENV)/bin/python
	@echo "installing uv"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(VENV)/.synced: pyproject.toml uv.lock | $(VENV)/bin/uv
	@echo "installing the locked environment (about 3 GB)"
	@$(VENV)/bin/python -m uv sync --frozen --compile-bytecode 2> >(grep -v '^ [+-] ' >&2)
	@touch $@

data: $(VENV)/.synced
	@$(VENV)/bin/python -m ratchet.lake.provide $(RECIPE)

loop: setup ## Set up, start the stack, and run the loop once
	@$(RATCHET) up
	@$(RATCHET) loop $(RECIPE)

check: $(VENV)/.synced ## Check format, lint, types and imports; count lines
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo | tail -1
	@git ls-files '*.py' | grep -v '^tests/' | xargs cat | wc -l | xargs printf '%d lines of Python outside tests\n'

# Optional: without Chromium the tests of pages are skipped, and say so.
browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && echo "installing Debian's chromium" && apt-get update -qq >/dev/null \
	  && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
	  || echo "Chromium is not installed, so the tests of pages are skipped"

test: setup check browser ## Run all checks and all tests
	@$(VENV)/bin/pytest -q -n 2 --durations=25

bench-release: setup ## Run twenty releases and rollbacks on three hosts under load
	@$(VENV)/bin/python -m benchmarks.release $(ARGS)

bench-families: setup ## Train every family on every recipe; write the table in docs/benchmarks.md
	@$(VENV)/bin/python -m benchmarks.families --write

bench-loop: setup ## Measure a whole run beside a plain script, and a stack at rest, at the stack that runs
	@$(VENV)/bin/python -m benchmarks.loop $(ARGS)

bench-serving: setup ## Measure one request beside other servers, at the stack that runs (ARGS="--recipe spam")
	@$(VENV)/bin/python -m benchmarks.serving $(ARGS)

bench-pressure: setup ## Measure the service above its capacity and beside large batches, at the stack that runs
	@$(VENV)/bin/python -m benchmarks.pressure $(ARGS)

bench-callers: setup ## Measure what forty slow callers cost the others, at the gateway of the stack that runs
	@$(VENV)/bin/python -m benchmarks.callers $(ARGS)

bench-log: setup ## Measure what the prediction log costs a request, with and without it in one run
	@$(VENV)/bin/python -m benchmarks.prediction_log $(ARGS)

bench-guarantees: setup ## Simulate years without a change, and releases of faulty versions (ARGS="--years 1000")
	@$(VENV)/bin/python -m benchmarks.guarantees $(ARGS)

bench-replay: setup ## Play scenarios and years on a real stack (ARGS="--only fashion-mnist:year --twice --write")
	@$(VENV)/bin/python -m benchmarks.replay $(ARGS)

bench-data: setup ## Take a table of many rows through ingest, validation, admission and snapshot (ARGS="--rows 10000000")
	@$(VENV)/bin/python -m benchmarks.data $(ARGS)

test-chaos: setup ## Kill one process at one stage of a release, for every pair (ARGS="--sample 5")
	@$(VENV)/bin/python -m benchmarks.chaos $(ARGS)

down: ## Stop everything of this home
	@$(RATCHET) down

.PHONY: help setup data loop check browser test bench-release bench-families bench-loop bench-serving bench-pressure bench-callers bench-log bench-guarantees bench-replay bench-data test-chaos down
