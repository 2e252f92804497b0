# Everything a person runs. Needs only python 3.11 or newer, node >= 20, npm, make and git.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

STAGE ?= dev
REGION ?= $(or $(AWS_REGION),us-east-1)

# The first python that is new enough; PYTHON=… chooses another.
ifndef PYTHON
PYTHON := $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$python; break; fi; done)
endif

UV_VERSION := 0.13.9
MADE := .penstock
UV := $(MADE)/tools/bin/uv
RUN := .venv/bin/python
# Print each check's output in one piece, where this make can.
PIECES := $(if $(filter output-sync,$(.FEATURES)),-Otarget)

export UV_PYTHON = $(PYTHON)
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 18,20,21,22,23
unexport VIRTUAL_ENV

.PHONY: help tools env prepared up down test simulate check bench bench-hub bench-isolation deploy destroy fmt \
	check-format check-lint check-types check-fast check-synth

help: ## What there is to run
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /\1	/' | expand -t 12

tools:
	@[ -n "$(PYTHON)" ] || { echo "penstock: needs python 3.11 or newer, and there is none" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "penstock: $(PYTHON) has no venv module: install python3-venv" >&2; exit 1; }
	@command -v node >/dev/null || { echo "penstock: needs node 20 or newer, and there is none" >&2; exit 1; }
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || { echo "penstock: needs node 20 or newer, and this is $$(node --version)" >&2; exit 1; }
	@command -v npm >/dev/null || { echo "penstock: needs npm, and there is none" >&2; exit 1; }
	@command -v git >/dev/null || { echo "penstock: needs git, and there is none" >&2; exit 1; }

$(UV):
	@echo "penstock: fetching uv $(UV_VERSION)"
	@rm -rf $(MADE)/tools && mkdir -p $(MADE)
	@$(PYTHON) -m venv $(MADE)/tools
	@$(MADE)/tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) || \
		{ rm -rf $(MADE)/tools; echo "penstock: uv $(UV_VERSION) could not be fetched from PyPI" >&2; exit 1; }

.venv/.made: uv.lock pyproject.toml | $(UV)
	@echo "penstock: making .venv from uv.lock"
	@$(UV) sync --frozen --quiet || { echo "penstock: .venv could not be made from uv.lock" >&2; exit 1; }
	@touch $@

# The local cloud, with nothing beside it: its site-packages are importable by the Lambdas it runs.
$(MADE)/cloud-venv/.made: uv.lock | $(UV)
	@echo "penstock: making the local cloud's environment from uv.lock"
	@UV_PROJECT_ENVIRONMENT=$(MADE)/cloud-venv $(UV) sync --frozen --quiet --no-default-groups --only-group local-cloud --no-install-project || \
		{ echo "penstock: the local cloud's environment could not be made from uv.lock" >&2; exit 1; }
	@touch $@

node_modules/.made: package-lock.json
	@echo "penstock: making node_modules from package-lock.json"
	@npm ci --loglevel=error --no-audit --no-fund >/dev/null || { echo "penstock: node_modules could not be made from package-lock.json" >&2; exit 1; }
	@touch $@

prepared: .venv/.made node_modules/.made $(MADE)/cloud-venv/.made
	@:

env: tools ## Make the environment from the lock files
	@$(MAKE) --no-print-directory -j3 prepared

up: env ## Start the whole hub on this machine and send a few events through it
	@$(RUN) -m penstock.local.cli up --no-env

down: env ## Destroy the stacks, look for what is left, stop everything
	@$(RUN) -m penstock.local.cli down --no-env

test: env ## Every test, those end to end on a local cloud of their own included
	@$(RUN) -m pytest -n 2 -m "not e2e"
	@$(RUN) -m pytest tests/e2e

simulate: env ## A simulated hub in which everything fails: a million events, or SEEDS=17 or SEEDS=0-999
	@$(RUN) -m tests.simulation $(SEEDS)

check: env ## Format, lint, types, fast tests, synth
	@$(MAKE) --no-print-directory -j2 $(PIECES) check-format check-lint check-types check-synth check-fast

check-format:
	@.venv/bin/ruff format --check --quiet . || { echo "penstock: run make fmt" >&2; exit 1; }

check-lint:
	@.venv/bin/ruff check --quiet .

check-types:
	@.venv/bin/mypy --no-error-summary

check-fast:
	@$(RUN) -m pytest -n 2 -m "not slow" --hypothesis-profile=quick tests/architecture tests/domain tests/steps

# The synth calls make itself; it is no part of this make's parallel jobs. What it says is shown where it fails.
check-synth: | $(MADE)
	@env -u MAKEFLAGS -u MFLAGS npx --no-install cdk synth --quiet >$(MADE)/synth.log 2>&1 || { cat $(MADE)/synth.log >&2; exit 1; }

$(MADE):
	@mkdir -p $@

bench: env ## Ours, the peers, and the ratios, measured in one run
	@$(RUN) -m benchmarks

bench-hub: env ## Events a second through a local hub of its own, as a table and a plot in docs/ (minutes)
	@$(RUN) -m benchmarks.pipeline_throughput

bench-isolation: env ## What the healthy notice of the sick, on a local hub of its own (minutes)
	@$(RUN) -m benchmarks.isolation

deploy: env ## Deploy to AWS (STAGE=dev REGION=us-east-1)
	@$(RUN) -m infra.deploy --stage "$(STAGE)" --region "$(REGION)"

destroy: env ## Take it off AWS, the data too, and look for what is left (STAGE=, REGION=)
	@$(RUN) -m infra.destroy --stage "$(STAGE)" --region "$(REGION)"

fmt: env ## Format the code
	@.venv/bin/ruff format --quiet .
	@.venv/bin/ruff check --fix --quiet .
