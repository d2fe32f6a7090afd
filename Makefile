# Each target does all its set-up from a bare Python (3.10 or newer).
#   make demo PYTHON=python3.12           another Python
#   make demo PIP_OPTIONS=                any versions that setup.cfg allows, not the tested ones
PYTHON ?= python3
VENV ?= .venv
# The tested versions need Python 3.11; older ones get what setup.cfg allows.
PIP_OPTIONS ?= $(shell $(PYTHON) -c 'import sys; print("-c constraints.txt" * (sys.version_info >= (3, 11)))')
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Byte code is kept even where the environment says otherwise: the rewriting of the tests' asserts
# costs every process some seconds.
TEST_ENV := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=
# Two processes; a class stays in one, so that its tests share the runs that its fixtures keep.
TWO := -n 2 --dist loadscope

.DELETE_ON_ERROR:
.PHONY: demo test test-slow test-again test-all install clean

demo: $(INSTALLED)
	$(BIN)/recbole-cold --model=Base,ItemBias,DropoutNet,MetaE,MWUF,CVAR --backbone=DeepFM --dataset=ml-100k --seeds=3

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(TEST_ENV) $(BIN)/python -m pytest $(TWO)

# On two processes: the conformance suites of all methods, what installs into folders of its own, and
# the deliberate defects. Then, alone, what kills processes of a Ray. Single long tests come first and
# the many short suites last, so that both processes end together.
SIDE_BY_SIDE := tests/experiment tests/equal_tuning tests/sweep/test_sweep.py tests/test_docs_python.py \
	tests/comparison tests/test_benchmarks.py tests/test_wheel.py tests/test_packaging.py tests/test_plugin.py \
	tests/test_recbole_121.py tests/test_register.py tests/test_big.py tests/api tests/cli tests/converters \
	tests/data tests/evaluation tests/examples tests/leaks tests/papers tests/report tests/serving tests/model tests/backbone \
	tests/training/test_captured.py
DEFECTS := tests/test_defects.py
test-slow: $(INSTALLED)
	status=0; \
	$(TEST_ENV) $(BIN)/python -m pytest -m slow $(TWO) --no-loadscope-reorder $(SIDE_BY_SIDE) || status=1; \
	$(TEST_ENV) $(BIN)/python -m pytest -m slow -n 2 --maxschedchunk=1 $(DEFECTS) || status=1; \
	$(TEST_ENV) $(BIN)/python -m pytest -m slow $(SIDE_BY_SIDE:%=--ignore=%) \
		--ignore=$(DEFECTS) || status=1; \
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
