# Everything here sets itself up: `make demo` and `make test` need python3 (3.11 or newer) and make.
# Another Python: make test PYTHON=python3.13      Another place: make test VENV=/tmp/venv

PYTHON ?= python3
VENV ?= .venv
DEMO ?= release
# Processes that share the tests out; 0 runs them in one, which a debugger needs.
WORKERS ?= auto

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
WITH := $(subst /,-,$(PYTHON))
# One stamp for each step; the Python's name is in it, so that changing PYTHON makes a new environment.
MADE := $(VENV)/.made-with-$(WITH)
RUNS := $(VENV)/.runs-with-$(WITH)
TESTS := $(VENV)/.tests-with-$(WITH)
PEERS := $(VENV)/.peers-with-$(WITH)

.DEFAULT_GOAL := help
.PHONY: help demo test check coverage integration soak bench format clean

help:
	@echo 'make demo         set up, and open the console on a sample plan (DEMO=flaky for another)'
	@echo 'make test         set up, and run the tests'
	@echo 'make check        format, lint, types, import contracts'
	@echo 'make coverage     the tests, measured; the engine must stay at 97 % or more'
	@echo 'make integration  the tests that drive the real command in a real terminal, and Prometheus (needs tmux, prometheus)'
	@echo 'make soak         the property tests with many more examples, and all that takes minutes'
	@echo 'make bench        measure against peers'
	@echo 'make format       let ruff put everything in order'
	@echo 'make clean        remove the environment and every cache'

$(MADE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'plandeck needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...' >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(RUNS): $(MADE) pyproject.toml constraints.txt
	@echo 'Setting up plandeck in $(VENV) ...'
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(TESTS): $(RUNS)
	@echo 'Setting up the tools for its tests ...'
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(RUNS)
	@$(BIN)/plandeck demo $(DEMO)

test: $(TESTS)
	$(BIN)/python -m pytest --numprocesses=$(WORKERS)

check: $(TESTS)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy --strict engine tui
	$(BIN)/lint-imports --no-logo

coverage: $(TESTS)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include='engine/*' --fail-under=97

integration: $(TESTS)
	@for program in tmux prometheus; do \
		command -v $$program >/dev/null || \
			{ apt-get update --quiet && apt-get install --yes --no-install-recommends $$program; } || \
			{ echo "make integration needs $$program" >&2; exit 1; }; \
	done
	$(BIN)/python -m pytest -m integration

soak: $(TESTS)
	$(BIN)/python -m pytest -m 'soak or hypothesis' --hypothesis-profile=soak --timeout=3600

# The peers that come from Python's package index have an environment of their own; one that does not install
# is said to be missing, as are ninja and GNU parallel where the system has none.
$(PEERS): $(MADE) benchmarks/peers.txt
	@echo 'Setting up the peers to measure against ...'
	@$(PYTHON) -m venv $(VENV)-peers
	@for peer in $$(cat benchmarks/peers.txt); do \
		$(VENV)-peers/bin/python -m pip --disable-pip-version-check --quiet install "$$peer" || echo "$$peer is missing" >&2; \
	done
	@touch $@

bench: $(TESTS) $(PEERS)
	PATH="$$PWD/$(VENV)-peers/bin:$$PATH" $(BIN)/python -m benchmarks --peers $(VENV)-peers/bin/python

format: $(TESTS)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) $(VENV)-peers build dist htmlcov .coverage .coverage.* snapshot_report.html \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find engine tui tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +
