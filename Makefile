# Each target does all its set-up from a bare Python (3.10 or newer).
#   make demo PYTHON=python3.12           another Python
#   make demo PIP_OPTIONS=                any versions that setup.cfg allows, not the tested ones
PYTHON ?= python3
VENV ?= .venv
# The tested versions need Python 3.11; older ones get what setup.cfg allows.
PIP_OPTIONS ?= $(shell $(PYTHON) -c 'import sys; print("-c constraints.txt" * (sys.version_info >= (3, 11)))')
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TEST_ENV := OMP_NUM_THREADS=1

.DELETE_ON_ERROR:
.PHONY: demo test test-slow test-again test-all install clean

demo: $(INSTALLED)
	$(BIN)/recbole-cold --model=Base,DropoutNet,MetaE,MWUF,CVAR --backbone=DeepFM --dataset=ml-100k --seeds=3

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(TEST_ENV) $(BIN)/python -m pytest

# The conformance suites of all methods, then the deliberate defects, on two processes; then, alone,
# what starts processes itself.
CONFORMANCE := tests/model tests/backbone
DEFECTS := tests/test_defects.py
test-slow: $(INSTALLED)
	status=0; \
	$(TEST_ENV) $(BIN)/python -m pytest -m slow -n 2 --dist loadscope $(CONFORMANCE) || status=1; \
	$(TEST_ENV) $(BIN)/python -m pytest -m slow -n 2 $(DEFECTS) || status=1; \
	$(TEST_ENV) $(BIN)/python -m pytest -m slow $(CONFORMANCE:%=--ignore=%) --ignore=$(DEFECTS) || status=1; \
	exit $$status

test-again: $(INSTALLED)
	$(TEST_ENV) $(BIN)/python -m pytest -m slow --last-failed

test-all: test test-slow

install: $(INSTALLED)

$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_OPTIONS) -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
