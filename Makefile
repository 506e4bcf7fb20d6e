PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install -q -c constraints.txt
# One worker takes a whole file, so that what JAX compiles for one test serves the next.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile
TENSORFLOW := .venv-tensorflow/bin
TRAINERS := .venv-trainers/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-all test-tensorflow test-trainers test-versions \
	fuzz coverage docs links lint format clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

demo: .venv/demo.stamp ## train under several budgets and compare the schedules
	$(BIN)/python -m benchmarks.budgeted demo

test: lint ## lint, then run the tests and doctests but for the long ones
	$(PYTEST) -m "not long"

test-long: .venv/dev.stamp ## run the long tests alone
	$(PYTEST) -m long

test-all: lint ## lint, then run every test and doctest, as CI does
	$(PYTEST)

test-tensorflow: .venv-tensorflow/stamp ## run the tests of rex_keras on TensorFlow
	KERAS_BACKEND=tensorflow $(TENSORFLOW)/pytest adapters/rex_keras \
		tests/adapters/test_rex_keras.py tests/adapters/test_rex_keras_fits.py

test-trainers: .venv-trainers/stamp ## run the tests of the guide's trainers with the real ones
	$(TRAINERS)/pytest -rs tests/trainers

test-versions: .venv/dev.stamp ## run the tests on every version that is supported, with nox
	$(BIN)/nox

fuzz: .venv/dev.stamp ## search for faults of the core with 100 times the examples
	REX_FUZZ_EXAMPLES=20000 $(BIN)/pytest tests/core/test_fuzz.py

coverage: .venv/dev.stamp ## which lines of the core and the adapters the tests run
	$(PYTEST) --cov=rex_core --cov=adapters --cov-report=term-missing

docs: .venv/dev.stamp ## build the pages, in docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build/html
	@echo docs/_build/html/index.html

links: .venv/dev.stamp ## check the links of the pages to other sites
	$(BIN)/sphinx-build -b linkcheck -q docs docs/_build/links

lint: .venv/dev.stamp ## check style, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/dev.stamp ## fix what ruff can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove caches and build output; the environments stay
	rm -rf build dist docs/_build .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -path './.venv*' -prune -o -type d -name __pycache__ -exec rm -rf {} +

.venv/demo.stamp: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) -e '.[bench]'
	@touch $@

# torch comes first and by its exact version: a looser request can pull gigabytes of GPU libraries.
# timm would bring a torchvision that asks for another torch; its schedulers do without.
.venv/dev.stamp: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) torch==2.13.0
	$(INSTALL) -e '.[dev]'
	$(INSTALL) --no-deps timm
	@touch $@

# An environment of its own: TensorFlow's bounds would hold back what the others share with it.
.venv-tensorflow/stamp: pyproject.toml constraints.txt | $(TENSORFLOW)/pip
	$(TENSORFLOW)/pip install -q -c constraints.txt -e '.[keras]' \
		tensorflow-cpu hypothesis pytest scikit-learn
	@touch $@

# These ask for a torchvision, or an older torch or datasets; what is tested of them does without.
# torchtune reads a module that later releases of torchao do not have.
.venv-trainers/stamp: pyproject.toml constraints.txt | $(TRAINERS)/pip
	$(TRAINERS)/pip install -q -c constraints.txt torch==2.13.0
	$(TRAINERS)/pip install -q -c constraints.txt -e '.[dev-trainers]'
	$(TRAINERS)/pip install -q -c constraints.txt --no-deps \
		axolotl fastai timm torchtitan torchtune
	$(TRAINERS)/pip install -q --no-deps torchao==0.14.1
	@touch $@

# pip, not python: it is what venv writes last, so a half-made .venv is made again.
$(BIN)/pip $(TENSORFLOW)/pip $(TRAINERS)/pip:
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; \
	sys.exit(sys.version_info < (3, 11) and \
	"Python 3.11 or newer is needed, $(PYTHON) is " + v + "; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(@:/bin/pip=)
