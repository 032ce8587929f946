# Needs git, make and Python 3.10 to 3.13; each target makes the environment it needs.

PYTHON ?=
CORE_COVERAGE_MIN ?= 90
DEMO_ARGS ?=
PYTEST_ARGS ?=
# A file's tests share fixtures that are dear to make: they stay in one worker, and the longest file comes first.
workers := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Each worker has a core to itself: threads of linear algebra beside it would wait in circles, for twice the time.
test thorough: export OMP_NUM_THREADS := 1

# Packages from elsewhere must not shadow the pinned ones.
unexport PYTHONHOME PYTHONPATH
export PYTHON

environment := Testing/support/environment.sh
python := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help venv demo test thorough lint bench lock clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1  \t/p' Makefile

venv: ## the environment only (.venv), from the lock file with hashes
	@$(environment)

demo: venv ## the whole chain on a digital patient; results in demo-output/
	.venv/bin/netablation demo --out demo-output $(DEMO_ARGS)

test: venv ## the tests, but for the few longest
	$(python) -m pytest $(workers) -m "not thorough" $(PYTEST_ARGS)

thorough: venv ## every test, with the coverage of core
	$(python) -m pytest $(workers) --cov=NETAblationLib.core --cov-report=term --cov-fail-under=$(CORE_COVERAGE_MIN) $(PYTEST_ARGS)

lint: venv ## style, import contracts, types
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	.venv/bin/lint-imports
	$(python) -m mypy

bench: ## accuracy and speed, as tables
	@$(environment) bench
	$(python) Testing/benchmarks

lock: ## resolve the lock files anew (needs uv)
	uv pip compile pyproject.toml --group dev -o requirements.lock \
	    --universal --python-version 3.10 --generate-hashes --custom-compile-command "make lock"
	uv pip compile --group bench -o requirements-bench.lock --constraint requirements.lock \
	    --universal --python-version 3.10 --generate-hashes --custom-compile-command "make lock"

clean: ## remove the environment, results and caches
	rm -rf .venv demo-output build .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf NETAblation/*.egg-info
	find NETAblation Testing -name __pycache__ -type d -prune -exec rm -rf {} +
