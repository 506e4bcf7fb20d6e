PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install -q -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test lint format clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

demo: .venv/demo.stamp ## train under several budgets and compare the schedules
	$(BIN)/python -m benchmarks.budgeted demo

test: lint ## lint, then run every test and doctest
	$(BIN)/pytest -n 2 --dist loadgroup

lint: .venv/dev.stamp ## check style, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/dev.stamp ## fix what ruff can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove caches and build output; .venv stays
	rm -rf build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -path ./.venv -prune -o -type d -name __pycache__ -exec rm -rf {} +

.venv/demo.stamp: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) -e '.[bench]'
	@touch $@

# torch comes first and by its exact version: a looser request can pull gigabytes of GPU libraries.
.venv/dev.stamp: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) torch==2.13.0
	$(INSTALL) -e '.[dev]'
	@touch $@

# pip, not python: it is what venv writes last, so a half-made .venv is made again.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; \
	sys.exit(sys.version_info < (3, 11) and \
	"Python 3.11 or newer is needed, $(PYTHON) is " + v + "; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
