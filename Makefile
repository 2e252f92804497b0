# Everything a person runs. Needs only python >= 3.11, node >= 20, npm, make and git.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.9
TOOLS := .penstock/tools
UV := $(TOOLS)/bin/uv

export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 1

.PHONY: help env check test

help: ## What there is to run
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

$(UV):
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.made: uv.lock pyproject.toml | $(UV)
	@$(UV) sync --frozen --quiet
	@touch $@

node_modules/.made: package-lock.json
	@npm ci --silent --no-audit --no-fund
	@touch $@

env: .venv/.made node_modules/.made ## Make the environment from the lock files
